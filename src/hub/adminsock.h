/* SPDX-License-Identifier: Apache-2.0 */
/* The admin socket: the admin handler's requests as one JSON object a line, answered by one line
 * each, in order (interface.md, section 3). A connection that asked for the presence feed gets one
 * line a change from then on. Control loop only. */
#ifndef SSE_ADMINSOCK_H
#define SSE_ADMINSOCK_H

#include "core/base.h"

struct sse_hub_t;
typedef struct sse_adminsock_t sse_adminsock_t;

sse_adminsock_t *sse_adminsock_create(struct sse_hub_t *hub);
/* Begins to accept on conf.admin_fd (none if -1). */
void sse_adminsock_listen(sse_adminsock_t *sock);
void sse_adminsock_feed(sse_adminsock_t *sock, sse_str_t realm, sse_str_t json);
void sse_adminsock_close(sse_adminsock_t *sock);
void sse_adminsock_free(sse_adminsock_t *sock);

#endif
