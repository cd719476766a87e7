/* SPDX-License-Identifier: Apache-2.0 */
/* POST /subscribe, POST /unsubscribe, GET /subscriptions. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* {"events": [...]}: each once, in byte order. */
static void on_record(void *baton, apr_status_t status, sse_record_t *record)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    char **events = sse_calloc(record->n_subs + 1, sizeof *events);
    for (size_t i = 0; i < record->n_subs; i++)
        events[i] = record->subs[i].event;
    qsort(events, record->n_subs, sizeof *events, by_text);
    sse_buf_t body = {0};
    sse_buf_cstr(&body, "{\"events\":[");
    for (size_t i = 0; i < record->n_subs; i++) {
        if (i && !strcmp(events[i], events[i - 1]))
            continue;
        sse_buf_cstr(&body, i ? "," : "");
        sse_json_quote(&body, sse_str(events[i]));
    }
    sse_buf_cstr(&body, "]}");
    free(events);
    sse_request_json(req, 200, &body);
}

/* "events": an array of names, or several in one string with spaces between. Caller frees. */
static bool read_events(sse_request_t *req, const sse_json_t *v, sse_str_t **out_events,
                        size_t *out_n)
{
    if (!v) {
        sse_request_problem(req, 400, "events", "events is missing");
        return false;
    }
    if (sse_json_type(v) != SSE_JSON_STRING)
        return sse_routes_names(req, v, "events", sse_name_event_problem, SSE_OWNER_SUBS_MAX,
                                out_events, out_n);
    sse_str_t text = sse_json_string(v);
    sse_str_t *events = sse_calloc(text.n / 2 + 1, sizeof *events);
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        size_t start = i;
        while (i < text.n && text.p[i] != ' ')
            i++;
        if (i > start) {
            events[n] = (sse_str_t){text.p + start, i - start};
            const char *what = sse_name_event_problem(events[n]);
            if (what || n >= SSE_OWNER_SUBS_MAX) {
                sse_request_problem(req, 400, "events", "an event's name %s",
                                    what ? what : "is one too many: at most 1024 are allowed");
                free(events);
                return false;
            }
            n++;
        }
        i++;
    }
    *out_events = events;
    *out_n = n;
    return true;
}

static bool read_owner(sse_request_t *req, const sse_json_t *root, sse_channel_t *out_owner)
{
    const sse_json_t *user = sse_json_get(root, "user"), *group = sse_json_get(root, "group");
    if (!user == !group) {
        sse_request_problem(req, 400, user ? "group" : "user", "give either user or group");
        return false;
    }
    out_owner->kind = user ? SSE_CHANNEL_USER : SSE_CHANNEL_GROUP;
    return user ? sse_routes_name(req, user, "user", sse_name_user_problem, &out_owner->name)
                : sse_routes_name(req, group, "group", sse_name_group_problem, &out_owner->name);
}

static void change(sse_request_t *req, bool subscribe)
{
    static const char *const known[] = {"user", "group", "events", "session", NULL};
    const sse_json_t *root = sse_request_object(req);
    sse_channel_t owner;
    unsigned char hash[SSE_SESSION_HASH_LEN];
    sse_str_t session = SSE_STR_NONE, *events;
    size_t n;
    if (!root || !sse_routes_known(req, root, known) || !read_owner(req, root, &owner))
        return;
    const sse_json_t *v = sse_json_get(root, "session");
    if (v && sse_json_type(v) != SSE_JSON_NULL) {
        if (owner.kind == SSE_CHANNEL_GROUP) {
            sse_request_problem(req, 400, "session",
                                "a group's subscription does not belong to a session");
            return;
        }
        if (!sse_routes_session(req, sse_json_string(v), false, hash))
            return;
        session = (sse_str_t){(const char *)hash, sizeof hash};
    }
    if (!read_events(req, sse_json_get(root, "events"), &events, &n))
        return;
    sse_broker_t *broker = req->hub->broker;
    (subscribe ? broker->driver->subscribe : broker->driver->unsubscribe)(
        broker, req->realm, owner, events, n, session, on_record, req);
    free(events);
}

void sse_route_subscribe(sse_request_t *req)
{
    change(req, true);
}

void sse_route_unsubscribe(sse_request_t *req)
{
    change(req, false);
}

void sse_route_subscriptions(sse_request_t *req)
{
    char *user = NULL, *group = NULL;
    size_t user_len = 0, group_len = 0;
    apr_status_t u = sse_request_param(req, "user", &user, &user_len);
    apr_status_t g = sse_request_param(req, "group", &group, &group_len);
    sse_channel_t owner = {user ? SSE_CHANNEL_USER : SSE_CHANNEL_GROUP,
                           user ? (sse_str_t){user, user_len} : (sse_str_t){group, group_len}};
    const char *what = NULL;
    if (u == APR_EINVAL || g == APR_EINVAL || !user == !group)
        what = "must name either ?user= or ?group=";
    else
        what = user ? sse_name_user_problem(owner.name) : sse_name_group_problem(owner.name);
    if (what)
        sse_request_problem(req, 400, group && !user ? "group" : "user", "the query %s", what);
    else
        req->hub->broker->driver->record(req->hub->broker, req->realm, owner, on_record, req);
    free(user);
    free(group);
}
