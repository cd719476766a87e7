/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses behind a cache server's name, for all threads of a process. getaddrinfo(3) has no
 * time-out: so at most one thread is inside it for each name, and the others go by what was known
 * before, or wait for it no longer than they may. */
#ifndef SSE_STORENAMES_H
#define SSE_STORENAMES_H

#include "core/base.h"
#include <apr_pools.h>
#include <sys/socket.h>

#define SSE_STORENAMES_MAX 8

typedef struct sse_address_t {
    struct sockaddr_storage addr;
    socklen_t len;
} sse_address_t;

typedef struct sse_storenames_t sse_storenames_t;

/* Lives in the pool. A literal address is known at once and for good; a name is looked up when it
 * is first asked for. NULL if there is no memory for a lock. */
sse_storenames_t *sse_storenames_create(const char *host, const char *port, apr_pool_t *pool);

/* Fills `out` (SSE_STORENAMES_MAX). APR_TIMEUP: another thread is asking and the deadline
 * (CLOCK_MONOTONIC, ms) came first; APR_ENOENT: there is no such name, or the resolver does not
 * answer. */
apr_status_t sse_storenames_get(sse_storenames_t *names, int64_t deadline, sse_address_t *out,
                                size_t *out_n);

/* None of the addresses took a connection: the next asker looks the name up again. */
void sse_storenames_doubt(sse_storenames_t *names);

#endif
