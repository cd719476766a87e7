/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to a cache server: blocking for the caller, but never beyond a deadline, and pooled
 * by the process. */
#ifndef SSE_STORECONN_H
#define SSE_STORECONN_H

#include "core/base.h"
#include "session/storenames.h"
#include <apr_pools.h>

typedef struct sse_endpoint_t {
    const char *path; /* a UNIX socket; else NULL */
    const char *host;
    const char *port;        /* decimal */
    sse_storenames_t *names; /* of host and port */
} sse_endpoint_t;

/* A moment of CLOCK_MONOTONIC, in milliseconds. */
int64_t sse_storeconn_deadline(int timeout_ms);

/* APR_SUCCESS, APR_TIMEUP, or what the system said. The descriptor is non-blocking and
 * close-on-exec. */
apr_status_t sse_storeconn_open(const sse_endpoint_t *to, int64_t deadline, int *out_fd);
apr_status_t sse_storeconn_send(int fd, sse_str_t data, int64_t deadline);
/* At least one byte; APR_EOF when the server has closed. */
apr_status_t sse_storeconn_recv(int fd, void *buf, size_t cap, int64_t deadline, size_t *out_n);

/* Idle connections, for all threads of the process. Lives and dies (closing them) with the pool it
 * was made in. */
typedef struct sse_idle_t sse_idle_t;
sse_idle_t *sse_idle_create(apr_pool_t *pool);
int sse_idle_take(sse_idle_t *idle);          /* -1: none that is still good */
void sse_idle_give(sse_idle_t *idle, int fd); /* takes ownership */

#endif
