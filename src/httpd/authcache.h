/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of positive look-ups (SSESessionCache), from the name of a session to the user behind
 * it, which all of httpd's children share. Bounded; any thread of any child, none of which ever
 * waits for another. What a logout or a disconnect makes wrong the hub refuses by the time of the
 * look-up, and the caller asks past it. */
#ifndef SSE_HTTPD_AUTHCACHE_H
#define SSE_HTTPD_AUTHCACHE_H

#include "session/session.h"

typedef struct sse_authcache_t sse_authcache_t;

/* What distinguishes look-ups: the same session may mean another user by another source. The same
 * in every child. */
typedef struct sse_authcache_key_t {
    unsigned char source[SSE_SESSION_HASH_LEN]; /* digest of the session configuration */
    const void *server;                         /* whose mod_dbd was asked */
    unsigned char session[SSE_SESSION_HASH_LEN];
} sse_authcache_key_t;

/* Shared memory that children inherit: to be made before they are forked. NULL when there is none
 * to be had: then nothing is remembered. */
sse_authcache_t *sse_authcache_create(apr_pool_t *pool);

/* True with a copy of the identity in pool and the time of its look-up (CLOCK_MONOTONIC
 * microseconds), when it is younger than max_age seconds and its session has not ended. cache may
 * be NULL in all three. */
bool sse_authcache_get(sse_authcache_t *cache, const sse_authcache_key_t *key, int64_t max_age,
                       apr_pool_t *pool, sse_identity_t *out, uint64_t *out_looked_up);
/* Remembers a user; other identities are passed over, and those with more names of groups than
 * there is room for. */
void sse_authcache_put(sse_authcache_t *cache, const sse_authcache_key_t *key,
                       const sse_identity_t *identity, uint64_t looked_up);
void sse_authcache_forget(sse_authcache_t *cache, const sse_authcache_key_t *key);

/* CLOCK_MONOTONIC in microseconds. */
uint64_t sse_authcache_now(void);

#endif
