/* SPDX-License-Identifier: Apache-2.0 */
/* PUT, PATCH, DELETE and GET /groups/NAME: who belongs to a group. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>

#define MEMBERS_MAX 100000

static bool group_name(sse_request_t *req, sse_str_t *out)
{
    *out = (sse_str_t){req->name, req->name_len};
    const char *what = sse_name_group_problem(*out);
    if (what)
        sse_request_problem(req, 400, "name", "the group's name %s", what);
    return !what;
}

static void on_members(void *baton, apr_status_t status, const sse_str_t *names, size_t n)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    sse_buf_cstr(&body, "{\"users\":[");
    for (size_t i = 0; i < n; i++) {
        sse_buf_cstr(&body, i ? "," : "");
        sse_json_quote(&body, names[i]);
    }
    sse_buf_cstr(&body, "]}");
    sse_request_json(req, 200, &body);
}

static void on_changed(void *baton, apr_status_t status)
{
    sse_request_t *req = baton;
    if (status != APR_SUCCESS)
        sse_request_failed(req, status);
    else
        req->hub->broker->driver->members(req->hub->broker, req->realm,
                                          (sse_str_t){req->name, req->name_len}, on_members, req);
}

void sse_route_group_put(sse_request_t *req)
{
    static const char *const known[] = {"users", NULL};
    sse_str_t group, *users;
    size_t n;
    const sse_json_t *root;
    if (!group_name(req, &group) || !(root = sse_request_object(req)) ||
        !sse_routes_known(req, root, known))
        return;
    const sse_json_t *list = sse_json_get(root, "users");
    if (!list) {
        sse_request_problem(req, 400, "users", "users is missing");
        return;
    }
    if (!sse_routes_names(req, list, "users", sse_name_user_problem, MEMBERS_MAX, &users, &n))
        return;
    req->hub->broker->driver->members_change(req->hub->broker, req->realm, group, true, users, n,
                                             NULL, 0, on_changed, req);
    free(users);
}

void sse_route_group_patch(sse_request_t *req)
{
    static const char *const known[] = {"add", "remove", NULL};
    sse_str_t group, *add = NULL, *removed = NULL;
    size_t n_add = 0, n_removed = 0;
    const sse_json_t *root;
    if (!group_name(req, &group) || !(root = sse_request_object(req)) ||
        !sse_routes_known(req, root, known))
        return;
    const sse_json_t *a = sse_json_get(root, "add"), *r = sse_json_get(root, "remove");
    if (!a && !r) {
        sse_request_problem(req, 400, "add", "give add, remove or both");
        return;
    }
    if (a && !sse_routes_names(req, a, "add", sse_name_user_problem, MEMBERS_MAX, &add, &n_add))
        return;
    if (!r || sse_routes_names(req, r, "remove", sse_name_user_problem, MEMBERS_MAX, &removed,
                               &n_removed))
        req->hub->broker->driver->members_change(req->hub->broker, req->realm, group, false, add,
                                                 n_add, removed, n_removed, on_changed, req);
    free(add);
    free(removed);
}

void sse_route_group_delete(sse_request_t *req)
{
    sse_str_t group;
    if (group_name(req, &group))
        req->hub->broker->driver->forget(req->hub->broker, req->realm,
                                         (sse_channel_t){SSE_CHANNEL_GROUP, group},
                                         sse_request_done, req);
}

void sse_route_group_get(sse_request_t *req)
{
    sse_str_t group;
    if (group_name(req, &group))
        req->hub->broker->driver->members(req->hub->broker, req->realm, group, on_members, req);
}
