/* SPDX-License-Identifier: Apache-2.0 */
/* See routes.h. */
#include "hub/routes.h"

#include "core/crypto.h"
#include "core/name.h"
#include "hub/hub.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct route_t {
    const char *method;
    const char *path; /* "*" stands for a name */
    void (*fn)(sse_request_t *req);
} route_t;

static const route_t routes[] = {
    {"POST", "/publish", sse_route_publish},
    {"POST", "/broadcast", sse_route_broadcast},
    {"POST", "/subscribe", sse_route_subscribe},
    {"POST", "/unsubscribe", sse_route_unsubscribe},
    {"GET", "/subscriptions", sse_route_subscriptions},
    {"GET", "/presence", sse_route_presence},
    {"GET", "/presence/users", sse_route_presence_users},
    {"GET", "/presence/users/*", sse_route_presence_user},
    {"GET", "/presence/groups/*", sse_route_presence_group},
    {"GET", "/presence/feed", sse_route_presence_feed},
    {"PUT", "/groups/*", sse_route_group_put},
    {"PATCH", "/groups/*", sse_route_group_patch},
    {"DELETE", "/groups/*", sse_route_group_delete},
    {"GET", "/groups/*", sse_route_group_get},
    {"PUT", "/sessions/*", sse_route_session_put},
    {"GET", "/sessions/*", sse_route_session_get},
    {"DELETE", "/sessions/*", sse_route_session_delete},
    {"POST", "/disconnect", sse_route_disconnect},
    {"GET", "/users/*/tracking", sse_route_tracking},
    {"DELETE", "/users/*", sse_route_user_delete},
    {"GET", "/events/*/history", sse_route_history},
    {"DELETE", "/events/*/history", sse_route_history_delete},
    {"GET", "/status", sse_route_status},
    {"GET", "/health", sse_route_health},
    {"GET", "/metrics", sse_route_metrics},
};

/* ---- matching ---- */

static sse_str_t next_segment(sse_str_t *path)
{
    const char *slash = memchr(path->p, '/', path->n);
    size_t n = slash ? (size_t)(slash - path->p) : path->n;
    sse_str_t segment = {path->p, n};
    path->p += n + (slash != NULL);
    path->n -= n + (slash != NULL);
    return segment;
}

/* True when the path is the route's. With `by_query` the name stands in the query and the path
 * lacks its segment; otherwise the segment goes to out_name. */
static bool matches(const route_t *route, sse_str_t path, bool by_query, sse_str_t *out_name)
{
    sse_str_t pattern = sse_str(route->path);
    if (by_query && !strchr(route->path, '*'))
        return false;
    while (pattern.n) {
        sse_str_t want = next_segment(&pattern);
        bool star = sse_str_eq(want, SSE_STR("*"));
        if (star && by_query)
            continue;
        if (!path.n && want.n)
            return false;
        sse_str_t have = next_segment(&path);
        if (star && have.n)
            *out_name = have;
        else if (star || !sse_str_eq(want, have))
            return false;
    }
    return path.n == 0;
}

typedef struct found_t {
    const route_t *route;
    sse_str_t name;
    bool path_known;
    char allow[64];
} found_t;

static void add_allow(found_t *found, const char *method)
{
    size_t n = strlen(found->allow);
    if (!strstr(found->allow, method))
        snprintf(found->allow + n, sizeof found->allow - n, "%s%s", n ? ", " : "", method);
}

static void find(const sse_request_t *req, sse_str_t path, bool by_query, found_t *found)
{
    sse_str_t method = sse_str_eq(req->method, SSE_STR("HEAD")) ? SSE_STR("GET") : req->method;
    for (size_t i = 0; i < SSE_ARRAY_LEN(routes) && !found->route; i++) {
        sse_str_t name = SSE_STR_NONE;
        if (!matches(&routes[i], path, by_query, &name))
            continue;
        found->path_known = true;
        if (sse_str_eq(method, sse_str(routes[i].method))) {
            found->route = &routes[i];
            found->name = name;
        } else {
            add_allow(found, routes[i].method);
        }
    }
}

void sse_routes_dispatch(sse_request_t *req)
{
    found_t found = {0};
    char *name = NULL;
    size_t name_len = 0;
    sse_str_t path = req->path;
    req->hub->counters.requests++;
    if (req->hub->state != SSE_HUB_RUNNING) {
        sse_request_failed(req, APR_EOF);
        return;
    }
    if (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    apr_status_t rv = sse_request_param(req, "name", &name, &name_len);
    if (rv == APR_EINVAL) {
        sse_request_problem(req, 400, "name", "the query's name is not percent-encoded UTF-8");
        return;
    }
    if (rv == APR_SUCCESS) {
        find(req, path, true, &found);
        req->name = name;
        req->name_len = name_len;
    }
    if (!found.route)
        find(req, path, false, &found);
    if (found.route && found.name.n) {
        sse_buf_t decoded = {0};
        if (sse_request_decode(found.name, false, &decoded) != APR_SUCCESS) {
            sse_buf_clear(&decoded);
            sse_request_problem(req, 400, NULL,
                                "the name in the path is not percent-encoded UTF-8");
            return;
        }
        free(req->name);
        req->name_len = decoded.n;
        sse_buf_char(&decoded, '\0');
        req->name = decoded.p;
    }
    if (found.route)
        found.route->fn(req);
    else if (found.path_known)
        sse_request_not_allowed(req, found.allow);
    else
        sse_request_problem(req, 404, NULL,
                            "there is no %.*s here; docs/admin-api.md lists the paths",
                            (int)(path.n < 200 ? path.n : 200), path.p);
}

/* ---- members ---- */

bool sse_routes_known(sse_request_t *req, const sse_json_t *object, const char *const *known)
{
    for (size_t i = 0; i < sse_json_count(object); i++) {
        sse_str_t name;
        sse_json_member(object, i, &name);
        const char *const *k = known;
        while (*k && !sse_str_eq(name, sse_str(*k)))
            k++;
        if (*k)
            continue;
        sse_buf_t allowed = {0};
        for (k = known; *k; k++)
            sse_buf_printf(&allowed, "%s%s", k == known ? "" : ", ", *k);
        char member[80];
        snprintf(member, sizeof member, "%.*s", (int)(name.n < 79 ? name.n : 79), name.p);
        sse_request_problem(req, 400, member, "is not a member of this request; allowed: %s",
                            allowed.p);
        sse_buf_clear(&allowed);
        return false;
    }
    return true;
}

bool sse_routes_name(sse_request_t *req, const sse_json_t *v, const char *member,
                     const char *(*problem)(sse_str_t), sse_str_t *out)
{
    sse_str_t s;
    if (v && sse_json_type(v) == SSE_JSON_STRING) {
        s = sse_json_string(v);
    } else if (v && sse_json_type(v) == SSE_JSON_NUMBER) {
        s = sse_json_source(v);
    } else {
        sse_request_problem(req, 400, member,
                            "%s must be a string (or a number, taken as its text)", member);
        return false;
    }
    const char *wrong = problem(s);
    if (wrong) {
        sse_request_problem(req, 400, member, "%s %s", member, wrong);
        return false;
    }
    *out = s;
    return true;
}

bool sse_routes_names(sse_request_t *req, const sse_json_t *v, const char *member,
                      const char *(*problem)(sse_str_t), size_t max, sse_str_t **out_names,
                      size_t *out_n)
{
    if (sse_json_type(v) != SSE_JSON_ARRAY) {
        sse_request_problem(req, 400, member, "%s must be an array", member);
        return false;
    }
    size_t n = sse_json_count(v);
    if (n > max) {
        sse_request_problem(req, 400, member, "%s has %zu entries; at most %zu are allowed", member,
                            n, max);
        return false;
    }
    sse_str_t *names = sse_calloc(n + 1, sizeof *names);
    for (size_t i = 0; i < n; i++) {
        char where[80];
        snprintf(where, sizeof where, "%s[%zu]", member, i);
        if (!sse_routes_name(req, sse_json_at(v, i), where, problem, &names[i])) {
            free(names);
            return false;
        }
    }
    *out_names = names;
    *out_n = n;
    return true;
}

bool sse_routes_page(sse_request_t *req, char **out_after, size_t *out_limit)
{
    char *after = NULL, *limit = NULL;
    size_t n;
    long number = 100;
    if (sse_request_param(req, "limit", &limit, &n) == APR_SUCCESS) {
        char *end;
        number = strtol(limit, &end, 10);
        bool bad = !n || *end || number < 1 || number > 1000;
        free(limit);
        if (bad) {
            sse_request_problem(req, 400, "limit", "limit must be a number from 1 to 1000");
            return false;
        }
    }
    if (sse_request_param(req, "after", &after, &n) == APR_EINVAL) {
        sse_request_problem(req, 400, "after", "the query's after is not percent-encoded UTF-8");
        return false;
    }
    *out_after = after ? after : sse_strndup("", 0);
    *out_limit = (size_t)number;
    return true;
}

bool sse_routes_session(sse_request_t *req, sse_str_t text, bool in_path,
                        unsigned char out[SSE_SESSION_HASH_LEN])
{
    static const char prefix[] = "sha256:";
    size_t n = sizeof prefix - 1;
    if (text.n > n && !memcmp(text.p, prefix, n)) {
        if (sse_crypto_unhex((sse_str_t){text.p + n, text.n - n}, out, SSE_SESSION_HASH_LEN) ==
            APR_SUCCESS)
            return true;
        sse_request_problem(req, 400, "session",
                            "after sha256: come the 64 hex digits of the session key's SHA-256");
        return false;
    }
    if (in_path) {
        sse_request_problem(req, 400, "session",
                            "a session is named sha256:HEX in a URL; keys never stand there");
        return false;
    }
    if (!text.n || text.n > 8192) {
        sse_request_problem(req, 400, "session",
                            "session must be the session key or sha256:HEX of it");
        return false;
    }
    sse_digest(SSE_SHA256, &text, 1, out);
    return true;
}
