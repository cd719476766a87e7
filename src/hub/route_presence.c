/* SPDX-License-Identifier: Apache-2.0 */
/* GET /presence and what lies below it. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>

/* Each answer has two sources: the broker where it joins several hubs, this hub's own table where
 * it does not. */

static bool shared(const sse_request_t *req)
{
    return req->hub->broker->driver->presence_counts != NULL;
}

static void on_counts(void *baton, apr_status_t status, uint64_t streams, uint64_t users,
                      uint64_t hubs)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    sse_buf_printf(&body, "{\"streams\":%llu,\"users\":%llu,\"hubs\":%llu}",
                   (unsigned long long)streams, (unsigned long long)users,
                   (unsigned long long)hubs);
    sse_request_json(req, 200, &body);
}

void sse_route_presence(sse_request_t *req)
{
    if (shared(req)) {
        req->hub->broker->driver->presence_counts(req->hub->broker, req->realm, on_counts, req);
        return;
    }
    const sse_presence_realm_t *realm = sse_presence_realm(&req->hub->presence, req->realm);
    on_counts(req, APR_SUCCESS, realm ? realm->streams : 0, realm ? realm->users.count : 0, 1);
}

/* {"users" or "online": [ids], "next": id|null} */
static void on_page(void *baton, apr_status_t status, const sse_str_t *users, size_t n, bool more)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    sse_buf_cstr(&body,
                 req->name_len ? "{\"online\":[" : "{\"users\":["); /* a named group, or all */
    for (size_t i = 0; i < n; i++) {
        sse_buf_cstr(&body, i ? "," : "");
        sse_json_quote(&body, users[i]);
    }
    sse_buf_cstr(&body, "],\"next\":");
    if (more && n)
        sse_json_quote(&body, users[n - 1]);
    else
        sse_buf_cstr(&body, "null");
    sse_buf_char(&body, '}');
    sse_request_json(req, 200, &body);
}

/* A page of this hub's own users, of all or of those named. */
static void local_page(sse_request_t *req, const sse_str_t *only, size_t n_only)
{
    char *after;
    size_t limit, n;
    bool more;
    const sse_present_t **users;
    if (!sse_routes_page(req, &after, &limit))
        return;
    sse_presence_page(&req->hub->presence, req->realm, only, n_only, sse_str(after), limit, &users,
                      &n, &more);
    sse_str_t *names = sse_calloc(n + 1, sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = (sse_str_t){users[i]->user, users[i]->link.n};
    on_page(req, APR_SUCCESS, names, n, more);
    free(names);
    free(users);
    free(after);
}

static void shared_page(sse_request_t *req, sse_str_t group)
{
    char *after;
    size_t limit;
    if (!sse_routes_page(req, &after, &limit))
        return;
    req->hub->broker->driver->presence_page(req->hub->broker, req->realm, group, sse_str(after),
                                            limit, on_page, req);
    free(after);
}

void sse_route_presence_users(sse_request_t *req)
{
    if (shared(req))
        shared_page(req, SSE_STR_NONE);
    else
        local_page(req, NULL, 0);
}

static void on_user(void *baton, apr_status_t status, bool online, uint64_t streams, int64_t since)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    if (online)
        sse_buf_printf(&body, "{\"online\":true,\"streams\":%llu,\"since\":%lld}",
                       (unsigned long long)streams, (long long)since);
    else
        sse_buf_cstr(&body, "{\"online\":false,\"streams\":0,\"since\":null}");
    sse_request_json(req, 200, &body);
}

void sse_route_presence_user(sse_request_t *req)
{
    sse_str_t user = {req->name, req->name_len};
    const char *what = sse_name_user_problem(user);
    if (what) {
        sse_request_problem(req, 400, "name", "the user's id %s", what);
        return;
    }
    if (shared(req)) {
        req->hub->broker->driver->presence_user(req->hub->broker, req->realm, user, on_user, req);
        return;
    }
    const sse_present_t *present = sse_presence_find(&req->hub->presence, req->realm, user);
    on_user(req, APR_SUCCESS, present != NULL, present ? present->streams : 0,
            present ? present->since : 0);
}

static void on_members(void *baton, apr_status_t status, const sse_str_t *names, size_t n)
{
    sse_request_t *req = baton;
    static const sse_str_t none;
    if (status != APR_SUCCESS)
        sse_request_failed(req, status);
    else
        local_page(req, n ? names : &none, n);
}

void sse_route_presence_group(sse_request_t *req)
{
    sse_str_t group = {req->name, req->name_len};
    const char *what = sse_name_group_problem(group);
    if (what)
        sse_request_problem(req, 400, "name", "the group's name %s", what);
    else if (shared(req))
        shared_page(req, group);
    else
        req->hub->broker->driver->members(req->hub->broker, req->realm, group, on_members, req);
}

void sse_route_presence_feed(sse_request_t *req)
{
    sse_answer_t answer = {.status = 200, .content_type = "text/event-stream"};
    if (!req->socket)
        answer.ticket = sse_admission_feed(req->hub, req->realm, req->address, req->source);
    sse_request_answer(req, &answer);
}
