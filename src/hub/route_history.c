/* SPDX-License-Identifier: Apache-2.0 */
/* GET /events/NAME/history, GET /users/ID/tracking, and forgetting: DELETE /users/ID, DELETE
 * /events/NAME/history. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>

#define HISTORY_BYTES (4 * 1024 * 1024)

static bool read_name(sse_request_t *req, const char *(*problem)(sse_str_t), const char *of,
                      sse_str_t *out)
{
    *out = (sse_str_t){req->name, req->name_len};
    const char *what = problem(*out);
    if (what)
        sse_request_problem(req, 400, "name", "the name of the %s %s", of, what);
    return !what;
}

/* ---- history ---- */

static void add_message(sse_buf_t *body, const sse_message_t *m)
{
    char id[SSE_EVENTID_MAX];
    sse_eventid_format(m->pos, false, id);
    sse_buf_printf(body, "{\"id\":\"%s\",\"event\":", id);
    sse_json_quote(body, m->event);
    sse_buf_cstr(body, ",\"data\":");
    if (m->raw)
        sse_json_quote(body, m->data);
    else
        sse_buf_str(body, m->data);
    sse_buf_printf(body, "%s,\"published\":%lld.%03lld}", m->raw ? ",\"raw\":true" : "",
                   (long long)(m->published / 1000), (long long)(m->published % 1000));
}

static void on_history(void *baton, apr_status_t status, const sse_history_t *h)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    sse_buf_cstr(&body, "{\"messages\":[");
    for (size_t i = 0; i < h->n_messages; i++) {
        sse_buf_cstr(&body, i ? "," : "");
        add_message(&body, h->messages[i]);
    }
    sse_buf_cstr(&body, "],\"next\":");
    if (h->more && h->n_messages) {
        char id[SSE_EVENTID_MAX];
        sse_eventid_format(h->messages[h->n_messages - 1]->pos, false, id);
        sse_buf_printf(&body, "\"%s\"", id);
    } else {
        sse_buf_cstr(&body, "null");
    }
    sse_buf_char(&body, '}');
    sse_request_json(req, 200, &body);
}

void sse_route_history(sse_request_t *req)
{
    sse_str_t event;
    char *after;
    size_t limit;
    if (!read_name(req, sse_name_event_problem, "event", &event) ||
        !sse_routes_page(req, &after, &limit))
        return;
    sse_pos_t pos = {0, 0};
    bool end_mark,
        bad = *after && sse_eventid_parse(sse_str(after), &pos, &end_mark) != APR_SUCCESS;
    free(after);
    if (bad) {
        sse_request_problem(req, 400, "after", "after must be the id of a message");
        return;
    }
    sse_range_t range = {{SSE_CHANNEL_EVENT, event}, pos.seq};
    req->hub->broker->driver->history(req->hub->broker, req->realm, &range, 1, limit, HISTORY_BYTES,
                                      on_history, req);
}

/* ---- tracking ---- */

static void on_tracking(void *baton, apr_status_t status, const sse_tracking_t *t)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    if (t->last.epoch) {
        char id[SSE_EVENTID_MAX];
        sse_eventid_format(t->last, false, id);
        sse_buf_printf(&body, "{\"last_id\":\"%s\",\"delivered_at\":%lld.%03lld,", id,
                       (long long)(t->delivered_at / 1000), (long long)(t->delivered_at % 1000));
    } else {
        sse_buf_cstr(&body, "{\"last_id\":null,\"delivered_at\":null,");
    }
    sse_buf_printf(&body, "\"pending\":%llu}", (unsigned long long)t->pending);
    sse_request_json(req, 200, &body);
}

void sse_route_tracking(sse_request_t *req)
{
    sse_str_t user;
    if (read_name(req, sse_name_user_problem, "user", &user))
        req->hub->broker->driver->tracking(req->hub->broker, req->realm, user, on_tracking, req);
}

/* ---- forgetting ---- */

void sse_route_user_delete(sse_request_t *req)
{
    sse_str_t user;
    if (read_name(req, sse_name_user_problem, "user", &user))
        req->hub->broker->driver->forget(req->hub->broker, req->realm,
                                         (sse_channel_t){SSE_CHANNEL_USER, user}, sse_request_done,
                                         req);
}

void sse_route_history_delete(sse_request_t *req)
{
    sse_str_t event;
    if (read_name(req, sse_name_event_problem, "event", &event))
        req->hub->broker->driver->forget(req->hub->broker, req->realm,
                                         (sse_channel_t){SSE_CHANNEL_EVENT, event},
                                         sse_request_done, req);
}
