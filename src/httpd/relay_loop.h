/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's thread of a child: one epoll loop over all relayed connections. It starts with the
 * child's first relayed stream. When the child stops, streams end with what they had. */
#ifndef SSE_HTTPD_RELAY_LOOP_H
#define SSE_HTTPD_RELAY_LOOP_H

#include "httpd/relay.h"

#include <apr_buckets.h>

typedef enum sse_relay_state_t {
    SSE_RELAY_OPEN,
    SSE_RELAY_DRAINING, /* the hub has said all; some of it waits for the client */
    SSE_RELAY_DEAD      /* out of the loop; its pool is destroyed when the MPM is done with it */
} sse_relay_state_t;

/* One relayed stream; lives in its connection's pool. */
typedef struct sse_relay_t {
    conn_rec *c;
    request_rec *r;
    int hub, client;
    apr_bucket_brigade *bb;
    sse_relay_state_t state;
    uint32_t heartbeat;    /* seconds: bytes stay unacknowledged no longer */
    bool stalled;          /* see tcppeer.h */
    bool handed;           /* the MPM has suspended the connection */
    bool stopped;          /* the child stops: the hub was told so */
    size_t input;          /* bytes that the client sent behind its request */
    apr_time_t settles_at; /* from when on its pool may be destroyed; 0: not known yet */
    apr_time_t give_up_at;
    struct sse_relay_t *next, **prev;
} sse_relay_t;

void sse_relay_loop_child_init(apr_pool_t *child_pool);
/* Starts the thread if it does not run. Any worker. */
apr_status_t sse_relay_loop_start(void);
/* The connection is the loop's. Called by a worker, which does not touch it any more. */
void sse_relay_loop_take_post(sse_relay_t *relay);

#endif
