/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's line to the hub: private channels, made when they are needed and kept for the next
 * request. Each has one request under way. Any thread may call; every wait ends. */
#ifndef SSE_HTTPD_HUBLINK_H
#define SSE_HTTPD_HUBLINK_H

#include "core/wire.h"

#include <apr_pools.h>

/* One private channel, on loan from sse_hublink_call until sse_hublink_done. */
typedef struct sse_channel_t sse_channel_t;

typedef struct sse_answer_t {
    sse_wire_in_t in;       /* the reply; its strings live until sse_hublink_done */
    sse_channel_t *channel; /* for attach and release */
    bool broken;            /* a message could not be sent: the channel serves no other request */
} sse_answer_t;

/* How long a worker waits for the hub. */
#define SSE_HUBLINK_RESERVE_MS 5000
#define SSE_HUBLINK_ADMIN_MS 15000

/* child_init: rendezvous is the workers' end that the parent made. */
void sse_hublink_child_init(apr_pool_t *child_pool, int rendezvous);

/* Sends req and waits for a reply of the wanted type. `repeatable`: the request may be sent again
 * when the hub went away in the middle of it. APR_SUCCESS: the caller calls sse_hublink_done.
 * APR_TIMEUP: no answer in time, or none is to be expected. APR_EOF: the hub went away; whether it
 * did what was asked is unknown. */
apr_status_t sse_hublink_call(sse_wire_msg_t *req, sse_wire_type_t wanted, bool repeatable,
                              int timeout_ms, sse_answer_t *out);

/* Hands a descriptor over: success is the point after which it, and what it leads to, is the hub's.
 * On failure the hub has got nothing, and the ticket is still to be released. */
apr_status_t sse_hublink_attach(sse_answer_t *answer, const sse_wire_attach_t *attach, int fd);
/* Gives the ticket back. Where that cannot be said the channel is closed, which says it. */
void sse_hublink_release(sse_answer_t *answer, uint64_t ticket);
/* Gives the channel to the next request; a second time does nothing. */
void sse_hublink_done(sse_answer_t *answer);

#endif
