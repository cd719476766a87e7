/* SPDX-License-Identifier: Apache-2.0 */
/* Django's caches as the cache and cached_db engines read them: one key, one value. The kinds stand
 * in one table, by URL scheme. */
#ifndef SSE_STORE_H
#define SSE_STORE_H

#include "session/lookup.h"
#include "session/storeconn.h"

/* What a cache may answer for one key; a larger answer is broken off. */
#define SSE_STORE_VALUE_MAX (2 * 1024 * 1024)

typedef struct sse_store_t sse_store_t;

/* What the log is told of at most once in ten seconds, so that a crowd of look-ups cannot fill it.
 */
typedef enum sse_complaint_t {
    SSE_COMPLAINT_STORE,
    SSE_COMPLAINT_DATABASE,
    SSE_COMPLAINT_FORMAT,
    SSE_COMPLAINT_GROUP_NAME,
    SSE_COMPLAINT_GROUP_COUNT,
    SSE_COMPLAINT_COUNT
} sse_complaint_t;

typedef struct sse_stored_t {
    sse_str_t value;
    int64_t expires; /* UNIX seconds; 0 = not known */
} sse_stored_t;

/* APR_NOTFOUND: the cache has no such key (or it has expired). APR_ENOSPC: its value is too large.
 * Anything else: no answer. */
typedef apr_status_t sse_store_get_fn(sse_store_t *store, sse_lookup_t *l, const char *key,
                                      sse_stored_t *out);

sse_store_get_fn sse_store_redis_get, sse_store_memcached_get, sse_store_filecache_get,
    sse_store_dbcache_get;

/* Read by threads at once, never written after sse_session_open but for `idle` (locked) and
 * `last_complaint` (atomic). */
struct sse_store_t {
    sse_store_get_fn *get;   /* NULL: the engine has no cache */
    sse_endpoint_t endpoint; /* redis, memcached */
    const char *user, *password;
    const char *database;
    int timeout_ms;
    const char *directory; /* file caches */
    const char *shown;     /* for messages: the URL without its password */
    bool keyed;            /* prefix or version were given */
    const char *prefix, *version;
    sse_idle_t *idle;
    int64_t last_complaint[SSE_COMPLAINT_COUNT]; /* seconds of CLOCK_MONOTONIC */
};

/* One question over a connection; `fresh`: nothing was said on it yet. *out_in_step: all of the
 * answer was read and nothing behind it, so that the connection may be used again. *out_why may be
 * set on failure, to what the server said (in l->pool). */
typedef apr_status_t sse_store_talk_fn(sse_store_t *store, sse_lookup_t *l, const char *key, int fd,
                                       bool fresh, int64_t deadline, sse_stored_t *out,
                                       bool *out_in_step, const char **out_why);

/* A store's `get` over a connection from its pool or a new one, within its time-out. Once more over
 * a new one if an idle connection turned out to be none. */
apr_status_t sse_store_ask(sse_store_t *store, sse_lookup_t *l, const char *key,
                           sse_store_talk_fn *talk, sse_stored_t *out);

/* Reads a cache URL. NULL, or a sentence about what is wrong and what is allowed. */
const char *sse_store_parse(const char *url, apr_pool_t *pool, sse_store_t *out);

/* True at most once in ten seconds for each store and complaint; always while there is no store. */
bool sse_store_may_warn(sse_store_t *store, sse_complaint_t what);

/* The store did not answer: tells the log so (with `why`, or what rv means if that is NULL) and the
 * look-up. Returns rv. */
apr_status_t sse_store_failed(sse_store_t *store, sse_lookup_t *l, apr_status_t rv,
                              const char *why);

#endif
