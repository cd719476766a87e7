/* SPDX-License-Identifier: Apache-2.0 */
/* POST /disconnect: ends the streams of a user, a group or a session, on every host. */
#include "core/name.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>
#include <time.h>

#define BLOCK_MAX (366 * 86400)

typedef struct ending_t {
    sse_request_t *req;
    char kind;
    sse_end_reason_t reason;
    char *name;
    size_t name_len;
} ending_t;

static void on_ended(void *baton, uint32_t streams)
{
    sse_buf_t body = {0};
    sse_buf_printf(&body, "{\"closed\":%u}", streams);
    sse_request_json(baton, 200, &body);
}

/* The broker knows (a block holds, other hubs are told): now the streams here, so that none can
 * come back in between. */
static void on_told(void *baton, apr_status_t status)
{
    ending_t *e = baton;
    if (status != APR_SUCCESS)
        sse_request_failed(e->req, status);
    else
        sse_fanout_end(e->req->hub, e->kind, e->req->realm, (sse_str_t){e->name, e->name_len},
                       e->reason, on_ended, e->req);
    free(e->name);
    free(e);
}

void sse_route_end_streams(sse_request_t *req, char kind, sse_str_t name, sse_end_reason_t reason,
                           int64_t seconds)
{
    ending_t *e = sse_calloc(1, sizeof *e);
    e->req = req;
    e->kind = kind;
    e->reason = reason;
    e->name = sse_strndup(name.p, name.n);
    e->name_len = name.n;
    uint64_t until = seconds ? (uint64_t)time(NULL) + (uint64_t)seconds : 0;
    req->hub->broker->driver->disconnect(req->hub->broker, req->realm, kind, name, (int)reason,
                                         until, on_told, e);
}

static bool read_reason(sse_request_t *req, const sse_json_t *root, sse_end_reason_t *out)
{
    const sse_json_t *v = sse_json_get(root, "reason");
    if (!v)
        return true;
    if (sse_end_reason_parse(sse_json_string(v), out) == APR_SUCCESS &&
        (*out == SSE_END_LOGOUT || *out == SSE_END_EXPIRED || *out == SSE_END_DEACTIVATED ||
         *out == SSE_END_DISCONNECTED))
        return true;
    sse_request_problem(req, 400, "reason",
                        "reason must be one of disconnected, deactivated, logout, expired");
    return false;
}

void sse_route_disconnect(sse_request_t *req)
{
    static const char *const known[] = {"user", "session", "group", "for", "reason", NULL};
    const sse_json_t *root = sse_request_object(req);
    if (!root || !sse_routes_known(req, root, known))
        return;
    const sse_json_t *user = sse_json_get(root, "user"), *group = sse_json_get(root, "group"),
                     *session = sse_json_get(root, "session"), *block = sse_json_get(root, "for");
    int64_t seconds = 0;
    unsigned char hash[SSE_SESSION_HASH_LEN];
    sse_str_t name;
    sse_end_reason_t reason = SSE_END_DISCONNECTED;
    if (!!user + !!group + !!session != 1) {
        sse_request_problem(req, 400, "user", "give one of user, group and session");
        return;
    }
    if (block && (!sse_json_int64(block, &seconds) || seconds < 0 || seconds > BLOCK_MAX)) {
        sse_request_problem(req, 400, "for", "for must be a whole number of seconds from 0 to %d",
                            BLOCK_MAX);
        return;
    }
    if (seconds && !user) {
        sse_request_problem(req, 400, "for", "only a user can be refused for a time");
        return;
    }
    if (!read_reason(req, root, &reason))
        return;
    if (user && sse_routes_name(req, user, "user", sse_name_user_problem, &name))
        sse_route_end_streams(req, 'u', name, reason, seconds);
    else if (group && sse_routes_name(req, group, "group", sse_name_group_problem, &name))
        sse_route_end_streams(req, 'g', name, reason, 0);
    else if (session && sse_routes_session(req, sse_json_string(session), false, hash))
        sse_route_end_streams(req, 's', (sse_str_t){(const char *)hash, sizeof hash}, reason, 0);
}
