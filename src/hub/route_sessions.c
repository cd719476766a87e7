/* SPDX-License-Identifier: Apache-2.0 */
/* PUT, GET and DELETE /sessions/KEY: sessions that the application mirrors for SSESession hub, and
 * their ends for every engine. GET is how a worker looks one up. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <time.h>

static bool read_key(sse_request_t *req, unsigned char hash[SSE_SESSION_HASH_LEN])
{
    return sse_routes_session(req, (sse_str_t){req->name, req->name_len}, true, hash);
}

void sse_route_session_put(sse_request_t *req)
{
    static const char *const known[] = {"user", "expires", NULL};
    unsigned char hash[SSE_SESSION_HASH_LEN];
    const sse_json_t *root;
    sse_str_t user;
    int64_t expires;
    if (!read_key(req, hash) || !(root = sse_request_object(req)) ||
        !sse_routes_known(req, root, known) ||
        !sse_routes_name(req, sse_json_get(root, "user"), "user", sse_name_user_problem, &user))
        return;
    const sse_json_t *v = sse_json_get(root, "expires");
    if (!v || !sse_json_int64(v, &expires) || expires <= (int64_t)time(NULL)) {
        sse_request_problem(req, 400, "expires",
                            "expires must be a whole number of UNIX seconds in the future");
        return;
    }
    req->hub->broker->driver->session_put(req->hub->broker, req->realm,
                                          (sse_str_t){(const char *)hash, sizeof hash}, user,
                                          (uint64_t)expires, sse_request_done, req);
}

static void on_session(void *baton, apr_status_t status, sse_str_t user, uint64_t expires)
{
    sse_request_t *req = baton;
    if (status == APR_NOTFOUND) {
        sse_request_problem(req, 404, NULL, "there is no such session");
        return;
    }
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_t body = {0};
    sse_buf_cstr(&body, "{\"user\":");
    sse_json_quote(&body, user);
    sse_buf_printf(&body, ",\"expires\":%llu}", (unsigned long long)expires);
    sse_request_json(req, 200, &body);
}

void sse_route_session_get(sse_request_t *req)
{
    unsigned char hash[SSE_SESSION_HASH_LEN];
    if (read_key(req, hash))
        req->hub->broker->driver->session_get(req->hub->broker, req->realm,
                                              (sse_str_t){(const char *)hash, sizeof hash},
                                              on_session, req);
}

void sse_route_session_delete(sse_request_t *req)
{
    unsigned char hash[SSE_SESSION_HASH_LEN];
    if (read_key(req, hash))
        sse_route_end_streams(req, 's', (sse_str_t){(const char *)hash, sizeof hash},
                              SSE_END_LOGOUT, 0);
}
