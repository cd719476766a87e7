/* SPDX-License-Identifier: Apache-2.0 */
/* The admin handler: key, body, and the request as it is to the hub; its reply as it is to the
 * client. Runs in a worker thread. */
#include "httpd/handler_admin.h"

#include "core/crypto.h"
#include "core/wire.h"
#include "httpd/config.h"
#include "httpd/handoff.h"
#include "httpd/hublink.h"
#include "httpd/reply.h"
#include "httpd/sections.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>

#define HEADER_MAX 1024

static const char *key_of(const request_rec *r)
{
    const char *key = apr_table_get(r->headers_in, "X-SSE-Key");
    if (key)
        return key;
    const char *header = apr_table_get(r->headers_in, "Authorization");
    if (!header || strncasecmp(header, "Bearer", 6) || (header[6] != ' ' && header[6] != '\t'))
        return NULL;
    key = header + 6;
    while (*key == ' ' || *key == '\t')
        key++;
    return key;
}

/* Compares with every key, so that the time tells nothing about which one was near. */
static bool key_is_good(const request_rec *r, const sse_dir_conf_t *conf)
{
    const sse_adminkeys_t *keys = conf->keys ? conf->keys : sse_config_global()->default_keys;
    const char *key = key_of(r);
    if (!keys || !key)
        return false;
    unsigned char digest[SSE_DIGEST_MAX];
    sse_str_t given = sse_str(key);
    bool good = false;
    sse_digest(SSE_SHA256, &given, 1, digest);
    for (size_t i = 0; i < keys->n; i++)
        good |= sse_crypto_equal((sse_str_t){(const char *)digest, sizeof(digest)},
                                 (sse_str_t){(const char *)keys->digest[i], SSE_DIGEST_MAX});
    return good;
}

/* The health probe. */
static bool is_open_to_all(const request_rec *r, const char *path)
{
    return r->method_number == M_GET && !strcmp(path, "/health");
}

/* OK with the body in *out (malloc), or an HTTP status. */
static int read_body(request_rec *r, sse_buf_t *out)
{
    int rc = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);
    if (rc != OK)
        return rc;
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    if (length && apr_atoi64(length) > (apr_int64_t)SSE_BATCH_BYTES_MAX)
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    if (!ap_should_client_block(r))
        return OK;
    char block[16384];
    long n;
    while ((n = ap_get_client_block(r, block, sizeof(block))) > 0) {
        if (out->n + (size_t)n > SSE_BATCH_BYTES_MAX)
            return HTTP_REQUEST_ENTITY_TOO_LARGE;
        sse_buf_add(out, block, (size_t)n);
    }
    return n < 0 ? HTTP_BAD_REQUEST : OK;
}

static int answer_body_problem(request_rec *r, int status)
{
    if (r->connection->aborted)
        return DONE;
    r->connection->keepalive = AP_CONN_CLOSE;
    if (status == HTTP_REQUEST_ENTITY_TOO_LARGE)
        return sse_reply_problem(r, status, "The body is longer than 16 MiB.");
    return sse_reply_problem(r, HTTP_BAD_REQUEST, "The body could not be read.");
}

static int answer_hub_away(request_rec *r, bool outcome_open)
{
    apr_table_setn(r->err_headers_out, "Retry-After", "1");
    if (outcome_open)
        return sse_reply_problem(r, HTTP_SERVICE_UNAVAILABLE,
                                 "The hub went away while it worked on this; whether it was done "
                                 "is unknown. Repeat it (a publish with the same key).");
    return sse_reply_problem(r, HTTP_SERVICE_UNAVAILABLE, "The hub is away. Repeat the request.");
}

/* Header lines of the hub, "Name: value\n" each. A line that could not stand in a head is left out.
 */
static void add_headers(request_rec *r, sse_str_t lines)
{
    const char *at = lines.p, *end = lines.p + lines.n;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        const char *colon = memchr(at, ':', n);
        bool good = colon && colon > at && n <= HEADER_MAX;
        for (size_t i = 0; good && i < n; i++)
            good = !apr_iscntrl(at[i]);
        if (good) {
            const char *name = apr_pstrmemdup(r->pool, at, (size_t)(colon - at));
            char *value = apr_pstrmemdup(r->pool, colon + 1, n - (size_t)(colon + 1 - at));
            while (*value == ' ')
                value++;
            apr_table_setn(r->err_headers_out, name, value);
        }
        at += n + 1;
    }
}

static int send_reply(request_rec *r, const sse_wire_admin_reply_t *reply)
{
    r->status = (int)reply->status;
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (reply->content_type.n)
        ap_set_content_type(r,
                            apr_pstrmemdup(r->pool, reply->content_type.p, reply->content_type.n));
    ap_set_content_length(r, (apr_off_t)reply->body.n);
    if (reply->body.n)
        ap_rwrite(reply->body.p, (int)reply->body.n, r);
    return OK;
}

static int answer_reply(request_rec *r, sse_answer_t *answer)
{
    const sse_wire_admin_reply_t *reply = &answer->in.msg.u.admin_reply;
    if (reply->status < 200 || reply->status > 599) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "SSE0122: the hub answered with status %u",
                      reply->status);
        return sse_reply_problem(r, HTTP_INTERNAL_SERVER_ERROR, "The hub's answer is broken.");
    }
    add_headers(r, reply->headers);
    if (!reply->ticket)
        return send_reply(r, reply);
    if (r->header_only) {
        sse_hublink_release(answer, reply->ticket);
        sse_handoff_set_head(r);
        return sse_handoff_send(r, SSE_STR_NONE);
    }
    return sse_handoff_stream(r, answer, reply->ticket, sse_handoff_choose(r));
}

static sse_str_t header_of(const request_rec *r, const char *name)
{
    const char *value = apr_table_get(r->headers_in, name);
    sse_str_t s = sse_str(value ? value : "");
    if (s.n > HEADER_MAX)
        s.n = HEADER_MAX;
    return s;
}

static int pass_to_hub(request_rec *r, const sse_dir_conf_t *conf, const char *path, sse_str_t body)
{
    sse_wire_msg_t msg = {.type = SSE_WIRE_ADMIN};
    msg.u.admin = (sse_wire_admin_t){.realm = sse_str(sse_config_realm(conf)),
                                     .method = r->header_only ? SSE_STR("GET") : sse_str(r->method),
                                     .path = sse_str(path),
                                     .query = sse_str(r->args ? r->args : ""),
                                     .content_type = header_of(r, "Content-Type"),
                                     .accept = header_of(r, "Accept"),
                                     .last_id = header_of(r, "Last-Event-ID"),
                                     .address = sse_str(r->useragent_ip),
                                     .body = body};
    sse_answer_t answer = {.channel = NULL};
    apr_status_t rv = sse_hublink_call(&msg, SSE_WIRE_ADMIN_REPLY, r->method_number == M_GET,
                                       SSE_HUBLINK_ADMIN_MS, &answer);
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "the hub does not answer");
        return answer_hub_away(r, rv == APR_EOF || APR_STATUS_IS_TIMEUP(rv));
    }
    int rc = answer_reply(r, &answer);
    sse_hublink_done(&answer);
    return rc;
}

int sse_handler_admin(request_rec *r)
{
    const sse_section_t *section;
    if (!r->handler || strcmp(r->handler, SSE_HANDLER_ADMIN) || !(section = sse_sections_find(r)))
        return DECLINED;
    const sse_dir_conf_t *conf = sse_config_of(r);
    const char *path = sse_sections_path_below(section, r);
    bool trusted = key_is_good(r, conf);
    if (!trusted && !is_open_to_all(r, path)) {
        apr_table_setn(r->err_headers_out, "WWW-Authenticate", "Bearer realm=\"mod_sse\"");
        return sse_reply_problem(r, HTTP_UNAUTHORIZED,
                                 "A key is needed: Authorization: Bearer KEY, or X-SSE-Key: KEY.");
    }
    sse_buf_t body = {0};
    /* Nobody without a key has memory held for what it sends. */
    int rc = trusted ? read_body(r, &body) : ap_discard_request_body(r);
    if (rc != OK)
        rc = answer_body_problem(r, rc);
    else
        rc = pass_to_hub(r, conf, path, sse_buf_slice(&body));
    sse_buf_clear(&body);
    return rc;
}
