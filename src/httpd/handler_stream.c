/* SPDX-License-Identifier: Apache-2.0 */
/* The stream handler: method, origin, end mark, names, identity, reservation, hand-off, in the
 * order of the contract. Runs in a worker thread, which it leaves within seconds. */
#include "httpd/handler_stream.h"

#include "core/eventid.h"
#include "core/name.h"
#include "core/wire.h"
#include "httpd/authcache.h"
#include "httpd/authn.h"
#include "httpd/handoff.h"
#include "httpd/hublink.h"
#include "httpd/logsink.h"
#include "httpd/origin.h"
#include "httpd/reply.h"
#include "httpd/sections.h"
#include "httpd/streamquery.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>

/* How often a look-up that the hub calls stale is made again. */
#define STALE_MAX 3

/* Nothing is to be returned yet. */
#define GO_ON (-100)

static int refuse_method(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Allow", "GET, HEAD, OPTIONS");
    return sse_reply_text(r, HTTP_METHOD_NOT_ALLOWED, "A stream is read by GET.");
}

static bool origin_allowed(const request_rec *r, const sse_dir_conf_t *conf, const char *origin)
{
    for (int i = 0; conf->allow_origins && i < conf->allow_origins->nelts; i++)
        if (!strcmp(APR_ARRAY_IDX(conf->allow_origins, i, const char *), origin))
            return true;
    return false;
}

/* Browsers name the page that asks; other clients may, and gain nothing by it. */
static int check_origin(request_rec *r, const sse_dir_conf_t *conf)
{
    const char *header = apr_table_get(r->headers_in, "Origin");
    if (!header)
        return GO_ON;
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *own = host ? sse_origin_of_site(ap_http_scheme(r), host, r->pool) : NULL;
    const char *origin = sse_origin_normalize(header, r->pool);
    if (origin && own && !strcmp(origin, own))
        return GO_ON;
    apr_table_mergen(r->err_headers_out, "Vary", "Origin");
    if (!origin || !origin_allowed(r, conf, origin)) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "the origin \"%s\" is not allowed", header);
        return sse_reply_text(r, HTTP_FORBIDDEN, "This origin may not open the stream.");
    }
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Origin", header);
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Credentials", "true");
    return GO_ON;
}

/* Answers the browser's question before a request with headers of its own. */
static int answer_options(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Allow", "GET, HEAD, OPTIONS");
    if (apr_table_get(r->err_headers_out, "Access-Control-Allow-Origin")) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Methods", "GET, HEAD");
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Headers",
                       "Last-Event-ID, Authorization, Cache-Control");
        apr_table_setn(r->err_headers_out, "Access-Control-Max-Age", "600");
    }
    r->status = HTTP_NO_CONTENT;
    return OK;
}

static bool has_end_mark(const char *last_id)
{
    sse_pos_t pos;
    bool end_mark;
    return last_id && sse_eventid_parse(sse_str(last_id), &pos, &end_mark) == APR_SUCCESS &&
           end_mark;
}

/* Bytes after the head would be taken for what they are not once the hub has the socket. */
static bool has_body(const request_rec *r)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    return apr_table_get(r->headers_in, "Transfer-Encoding") || (length && strcmp(length, "0"));
}

static bool event_allowed(const sse_dir_conf_t *conf, sse_str_t user, sse_str_t event)
{
    for (int i = 0; conf->allow_events && i < conf->allow_events->nelts; i++)
        if (sse_name_pattern_match(sse_str(APR_ARRAY_IDX(conf->allow_events, i, const char *)),
                                   user, event))
            return true;
    return false;
}

static int check_events(request_rec *r, const sse_dir_conf_t *conf, const sse_streamquery_t *query,
                        const char *user)
{
    for (size_t i = 0; i < query->n_events; i++)
        if (!event_allowed(conf, sse_str(user), query->events[i])) {
            ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "the event \"%s\" is not allowed",
                          query->events[i].p);
            return sse_reply_text(r, HTTP_FORBIDDEN, "One of the events is not allowed.");
        }
    return GO_ON;
}

/* GO_ON with *out filled, or an answer given. */
static int identify(request_rec *r, const sse_dir_conf_t *conf, bool fresh, sse_caller_t *out)
{
    sse_authn_identify(r, conf, fresh, out);
    const sse_identity_t *who = &out->identity;
    if (who->who == SSE_WHO_UNAVAILABLE) {
        static apr_time_t last_complaint;
        if (sse_logsink_due(&last_complaint))
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                          "SSE0120: who asks for a stream cannot be found out now: %s",
                          who->detail ? who->detail : "the session store does not answer");
        return sse_handoff_send_unavailable(r);
    }
    if (who->who == SSE_WHO_ANONYMOUS) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "no user: %s",
                      who->detail ? who->detail : "no session");
        if (conf->anonymous != 1)
            return sse_reply_text(r, HTTP_FORBIDDEN, "Log in first.");
        return GO_ON;
    }
    const char *problem = sse_name_user_problem(sse_str(who->user));
    if (problem) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "the user's name %s", problem);
        return sse_reply_text(r, HTTP_FORBIDDEN, "This user cannot have streams.");
    }
    if (!r->user)
        r->user = apr_pstrdup(r->pool, who->user); /* for the access log */
    return GO_ON;
}

static void fill_reserve(request_rec *r, const sse_dir_conf_t *conf, const sse_caller_t *caller,
                         const sse_streamquery_t *query, sse_wire_msg_t *msg)
{
    sse_wire_reserve_t *req = &msg->u.reserve;
    const sse_identity_t *who = &caller->identity;
    const char *header = apr_table_get(r->headers_in, "Last-Event-ID");
    msg->type = SSE_WIRE_RESERVE;
    req->realm = sse_str(sse_config_realm(conf));
    req->address = sse_str(r->useragent_ip);
    if (header && *header) {
        size_t n = strlen(header);
        req->last_id = (sse_str_t){header, n < SSE_LAST_ID_MAX ? n : SSE_LAST_ID_MAX};
    } else if (query->last_id.n) {
        req->last_id = query->last_id;
        req->flags |= SSE_RESERVE_ID_IN_QUERY;
    } else if (query->resume_user) {
        req->flags |= SSE_RESERVE_RESUME_USER;
    }
    req->n_events = (uint32_t)query->n_events;
    req->events = query->events;
    req->looked_up = caller->looked_up;
    if (who->has_session) {
        req->session = (sse_str_t){(const char *)who->session, sizeof(who->session)};
        req->session_expires = (uint64_t)who->session_expires;
    }
    if (who->who != SSE_WHO_USER)
        return;
    req->user = sse_str(who->user);
    if (!who->groups_known)
        return;
    req->flags |= SSE_RESERVE_GROUPS_KNOWN;
    sse_str_t *groups = apr_palloc(r->pool, (who->n_groups + 1) * sizeof(*groups));
    for (size_t i = 0; i < who->n_groups; i++)
        groups[i] = sse_str(who->groups[i]);
    req->groups = groups;
    req->n_groups = (uint32_t)who->n_groups;
}

static int answer_reserved(request_rec *r, sse_answer_t *answer, sse_carriage_t carriage)
{
    const sse_wire_reserved_t *reserved = &answer->in.msg.u.reserved;
    switch ((sse_wire_verdict_t)reserved->verdict) {
    case SSE_RESERVED_OK:
        return sse_handoff_stream(r, answer, reserved->ticket, carriage);
    case SSE_RESERVED_REFUSED:
        return sse_reply_text(r, HTTP_FORBIDDEN, "Streams of this user are refused for now.");
    case SSE_RESERVED_BUSY:
    case SSE_RESERVED_UNAVAILABLE:
    case SSE_RESERVED_POLL:
        sse_handoff_set_head(r);
        if (reserved->verdict != SSE_RESERVED_POLL)
            apr_table_setn(r->headers_out, "Retry-After",
                           apr_psprintf(r->pool, "%u", reserved->retry_after));
        return sse_handoff_send(r, reserved->body);
    default:
        return sse_handoff_send_unavailable(r);
    }
}

/* From an identity to an answer; GO_ON when the identity is out of date. */
static int reserve(request_rec *r, const sse_dir_conf_t *conf, const sse_caller_t *caller,
                   const sse_streamquery_t *query, sse_carriage_t carriage)
{
    sse_wire_msg_t msg = {.id = 0};
    sse_answer_t answer = {.channel = NULL};
    fill_reserve(r, conf, caller, query, &msg);
    if (carriage == SSE_CARRIED_PARKED)
        msg.u.reserve.flags |= SSE_RESERVE_PARKED;
    apr_status_t rv =
        sse_hublink_call(&msg, SSE_WIRE_RESERVED, true, SSE_HUBLINK_RESERVE_MS, &answer);
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "the hub does not answer");
        return sse_handoff_send_unavailable(r);
    }
    int rc = GO_ON;
    if (answer.in.msg.u.reserved.verdict != SSE_RESERVED_STALE)
        rc = answer_reserved(r, &answer, carriage);
    sse_hublink_done(&answer);
    return rc;
}

static int open_stream(request_rec *r, const sse_dir_conf_t *conf, const sse_streamquery_t *query)
{
    sse_carriage_t carriage = sse_handoff_choose(r);
    for (int attempt = 0; attempt < STALE_MAX; attempt++) {
        sse_caller_t caller;
        int rc = identify(r, conf, attempt > 0, &caller);
        if (rc == GO_ON)
            rc = check_events(r, conf, query, caller.identity.user);
        if (rc == GO_ON && r->header_only) {
            sse_handoff_set_head(r);
            return sse_handoff_send(r, SSE_STR_NONE);
        }
        if (rc == GO_ON)
            rc = reserve(r, conf, &caller, query, carriage);
        if (rc != GO_ON)
            return rc;
    }
    return sse_handoff_send_unavailable(r);
}

int sse_handler_stream(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, SSE_HANDLER_STREAM) || !sse_sections_find(r))
        return DECLINED;
    const sse_dir_conf_t *conf = sse_config_of(r);
    if (r->method_number != M_GET && r->method_number != M_OPTIONS)
        return refuse_method(r);
    int rc = check_origin(r, conf);
    if (rc != GO_ON)
        return rc;
    if (r->method_number == M_OPTIONS)
        return answer_options(r);
    if (has_body(r))
        return sse_reply_text(r, HTTP_BAD_REQUEST, "A request for a stream has no body.");
    if (has_end_mark(apr_table_get(r->headers_in, "Last-Event-ID"))) {
        r->status = HTTP_NO_CONTENT;
        return OK;
    }
    sse_streamquery_t query;
    const char *problem;
    if (sse_streamquery_parse(r->args, r->pool, &query, &problem) != APR_SUCCESS)
        return sse_reply_text(r, HTTP_BAD_REQUEST, problem);
    return open_stream(r, conf, &query);
}
