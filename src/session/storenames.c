/* SPDX-License-Identifier: Apache-2.0 */
/* Names of cache servers. Runs in httpd's workers; the state is shared by them under its lock,
 * which nobody holds while asking the resolver. */
#include "session/storenames.h"
#include "session/storeconn.h"
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <netdb.h>

/* How long addresses are good, and how soon a name is looked up again that had none or whose
 * servers took no connection. */
#define GOOD_MS 60000
#define BAD_MS 1000

struct sse_storenames_t {
    apr_thread_mutex_t *lock;
    apr_thread_cond_t *answered;
    const char *host, *port;
    bool literal, busy;
    int64_t asked_at, good_until;
    size_t n;
    sse_address_t address[SSE_STORENAMES_MAX];
};

/* Numeric or by the resolver; how many there are. */
static size_t look_up(const char *host, const char *port, int flags, sse_address_t *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *list;
    size_t n = 0;

    if (getaddrinfo(host, port, &hints, &list) != 0)
        return 0;
    for (const struct addrinfo *a = list; a && n < SSE_STORENAMES_MAX; a = a->ai_next) {
        if (a->ai_addrlen > sizeof out[n].addr)
            continue;
        memcpy(&out[n].addr, a->ai_addr, a->ai_addrlen);
        out[n].len = a->ai_addrlen;
        n++;
    }
    freeaddrinfo(list);
    return n;
}

sse_storenames_t *sse_storenames_create(const char *host, const char *port, apr_pool_t *pool)
{
    sse_storenames_t *names = apr_pcalloc(pool, sizeof *names);

    names->host = host;
    names->port = port;
    if (apr_thread_mutex_create(&names->lock, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS ||
        apr_thread_cond_create(&names->answered, pool) != APR_SUCCESS)
        return NULL;
    names->n = look_up(host, port, AI_NUMERICHOST, names->address);
    names->literal = names->n > 0;
    return names;
}

/* With the lock held: asks the resolver, the lock given up meanwhile. */
static void refresh(sse_storenames_t *names)
{
    sse_address_t found[SSE_STORENAMES_MAX];
    int64_t now;
    size_t n;

    names->busy = true;
    apr_thread_mutex_unlock(names->lock);
    n = look_up(names->host, names->port, 0, found);
    now = sse_storeconn_deadline(0);
    apr_thread_mutex_lock(names->lock);
    names->busy = false;
    names->asked_at = now;
    names->good_until = now + (n > 0 ? GOOD_MS : BAD_MS);
    if (n > 0) { /* without an answer the old addresses are better than none */
        memcpy(names->address, found, n * sizeof *found);
        names->n = n;
    }
    apr_thread_cond_broadcast(names->answered);
}

apr_status_t sse_storenames_get(sse_storenames_t *names, int64_t deadline, sse_address_t *out,
                                size_t *out_n)
{
    apr_status_t rv = APR_SUCCESS;

    apr_thread_mutex_lock(names->lock);
    if (!names->literal && !names->busy && sse_storeconn_deadline(0) >= names->good_until)
        refresh(names);
    while (names->n == 0 && names->busy && rv == APR_SUCCESS) {
        int64_t left = deadline - sse_storeconn_deadline(0);
        rv = left <= 0 ? APR_TIMEUP
                       : apr_thread_cond_timedwait(names->answered, names->lock, left * 1000);
    }
    if (names->n > 0) {
        memcpy(out, names->address, names->n * sizeof *out);
        *out_n = names->n;
        rv = APR_SUCCESS;
    } else if (rv == APR_SUCCESS) {
        rv = APR_ENOENT;
    }
    apr_thread_mutex_unlock(names->lock);
    return rv;
}

void sse_storenames_doubt(sse_storenames_t *names)
{
    apr_thread_mutex_lock(names->lock);
    if (names->good_until > names->asked_at + BAD_MS)
        names->good_until = names->asked_at + BAD_MS;
    apr_thread_mutex_unlock(names->lock);
}
