/* SPDX-License-Identifier: Apache-2.0 */
/* GET /presence and what lies below it. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>

void sse_route_presence(sse_request_t *req)
{
    const sse_presence_realm_t *realm = sse_presence_realm(&req->hub->presence, req->realm);
    sse_buf_t body = {0};
    sse_buf_printf(&body, "{\"streams\":%llu,\"users\":%u,\"hubs\":1}",
                   realm ? (unsigned long long)realm->streams : 0,
                   realm ? HASH_COUNT(realm->users) : 0);
    sse_request_json(req, 200, &body);
}

/* {member: [ids], "next": id|null} */
static void answer_page(sse_request_t *req, const char *member, const sse_str_t *only,
                        size_t n_only)
{
    char *after;
    size_t limit, n;
    bool more;
    const sse_present_t **users;
    if (!sse_routes_page(req, &after, &limit))
        return;
    sse_presence_page(&req->hub->presence, req->realm, only, n_only, sse_str(after), limit, &users,
                      &n, &more);
    sse_buf_t body = {0};
    sse_buf_printf(&body, "{\"%s\":[", member);
    for (size_t i = 0; i < n; i++) {
        sse_buf_cstr(&body, i ? "," : "");
        sse_json_quote(&body, (sse_str_t){users[i]->user, users[i]->n});
    }
    sse_buf_cstr(&body, "],\"next\":");
    if (more && n)
        sse_json_quote(&body, (sse_str_t){users[n - 1]->user, users[n - 1]->n});
    else
        sse_buf_cstr(&body, "null");
    sse_buf_char(&body, '}');
    free(users);
    free(after);
    sse_request_json(req, 200, &body);
}

void sse_route_presence_users(sse_request_t *req)
{
    answer_page(req, "users", NULL, 0);
}

void sse_route_presence_user(sse_request_t *req)
{
    sse_str_t user = {req->name, req->name_len};
    const char *what = sse_name_user_problem(user);
    if (what) {
        sse_request_problem(req, 400, "name", "the user's id %s", what);
        return;
    }
    const sse_present_t *present = sse_presence_find(&req->hub->presence, req->realm, user);
    sse_buf_t body = {0};
    if (present)
        sse_buf_printf(&body, "{\"online\":true,\"streams\":%u,\"since\":%lld}", present->streams,
                       (long long)present->since);
    else
        sse_buf_cstr(&body, "{\"online\":false,\"streams\":0,\"since\":null}");
    sse_request_json(req, 200, &body);
}

static void on_members(void *baton, apr_status_t status, const sse_str_t *names, size_t n)
{
    sse_request_t *req = baton;
    static const sse_str_t none;
    if (status != APR_SUCCESS)
        sse_request_failed(req, status);
    else
        answer_page(req, "online", n ? names : &none, n);
}

void sse_route_presence_group(sse_request_t *req)
{
    sse_str_t group = {req->name, req->name_len};
    const char *what = sse_name_group_problem(group);
    if (what)
        sse_request_problem(req, 400, "name", "the group's name %s", what);
    else
        req->hub->broker->driver->members(req->hub->broker, req->realm, group, on_members, req);
}

void sse_route_presence_feed(sse_request_t *req)
{
    sse_answer_t answer = {.status = 200, .content_type = "text/event-stream"};
    if (!req->socket)
        answer.ticket = sse_admission_feed(req->hub, req->realm, req->address);
    sse_request_answer(req, &answer);
}
