/* SPDX-License-Identifier: Apache-2.0 */
/* The table of admin requests, one for handler and socket: method and path to the function that
 * answers. docs/admin-api.md is its description. Control loop only. */
#ifndef SSE_ROUTES_H
#define SSE_ROUTES_H

#include "core/render.h"
#include "hub/request.h"

/* Answers the request, at once or later. */
void sse_routes_dispatch(sse_request_t *req);

/* The functions behind the table, by file. Each answers and frees the request. */

/* route_publish.c */
void sse_route_publish(sse_request_t *req);
void sse_route_broadcast(sse_request_t *req);

/* route_subscriptions.c */
void sse_route_subscribe(sse_request_t *req);
void sse_route_unsubscribe(sse_request_t *req);
void sse_route_subscriptions(sse_request_t *req);

/* route_groups.c */
void sse_route_group_put(sse_request_t *req);
void sse_route_group_patch(sse_request_t *req);
void sse_route_group_delete(sse_request_t *req);
void sse_route_group_get(sse_request_t *req);

/* route_presence.c */
void sse_route_presence(sse_request_t *req);
void sse_route_presence_users(sse_request_t *req);
void sse_route_presence_user(sse_request_t *req);
void sse_route_presence_group(sse_request_t *req);
void sse_route_presence_feed(sse_request_t *req);

/* route_disconnect.c */
void sse_route_disconnect(sse_request_t *req);
/* Also for others: tells the broker, then ends the streams here and answers {"closed"}. For
 * `seconds` new streams are refused. */
void sse_route_end_streams(sse_request_t *req, char kind, sse_str_t name, sse_end_reason_t reason,
                           int64_t seconds);

/* route_sessions.c */
void sse_route_session_put(sse_request_t *req);
void sse_route_session_get(sse_request_t *req);
void sse_route_session_delete(sse_request_t *req);

/* route_history.c */
void sse_route_tracking(sse_request_t *req);
void sse_route_history(sse_request_t *req);
void sse_route_user_delete(sse_request_t *req);
void sse_route_history_delete(sse_request_t *req);

/* route_status.c */
void sse_route_status(sse_request_t *req);
void sse_route_health(sse_request_t *req);

/* route_metrics.c */
void sse_route_metrics(sse_request_t *req);

/* ---- reading members, for the functions above ---- */

/* Each returns false after having answered 400. */

/* Refuses members that are not in `known` (NULL-terminated). */
bool sse_routes_known(sse_request_t *req, const sse_json_t *object, const char *const *known);
/* A name (user, group): a string, or a number taken as its text. */
bool sse_routes_name(sse_request_t *req, const sse_json_t *v, const char *member,
                     const char *(*problem)(sse_str_t), sse_str_t *out);
/* An array of names. Caller frees *out_names. */
bool sse_routes_names(sse_request_t *req, const sse_json_t *v, const char *member,
                      const char *(*problem)(sse_str_t), size_t max, sse_str_t **out_names,
                      size_t *out_n);
/* "after" and "limit" of the query; limit is 1-1000, default 100. Caller frees *out_after. */
bool sse_routes_page(sse_request_t *req, char **out_after, size_t *out_limit);
/* "sha256:HEX" (either place) or, in a body, the session key itself. */
bool sse_routes_session(sse_request_t *req, sse_str_t text, bool in_path,
                        unsigned char out[SSE_SESSION_HASH_LEN]);

#endif
