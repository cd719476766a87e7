/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in memcached, by its text protocol: the meta command of 1.6, which tells the time to
 * live, else "get". APR-util's apr_memcache is not used: it reads without any time-out and takes a
 * value of whatever length the server announces (docs/decisions). Runs in httpd's workers. */
#include "core/buf.h"
#include "session/store.h"
#include <apr_strings.h>
#include <stdlib.h>

#define LINE_MAX_BYTES 512

typedef struct memcached_t {
    int fd;
    int64_t deadline;
    sse_buf_t in; /* what came and is not used yet begins at `used` */
    size_t used;
} memcached_t;

static apr_status_t fill(memcached_t *m)
{
    size_t n;
    apr_status_t rv;

    sse_buf_reserve(&m->in, 16 * 1024);
    rv = sse_storeconn_recv(m->fd, m->in.p + m->in.n, 16 * 1024, m->deadline, &n);
    if (rv == APR_SUCCESS)
        m->in.n += n;
    return rv;
}

/* A line without its CR LF, NUL-terminated in `line` (LINE_MAX_BYTES). */
static apr_status_t read_line(memcached_t *m, char *line)
{
    for (;;) {
        const char *from = m->in.p + m->used;
        const char *nl = m->in.n > m->used ? memchr(from, '\n', m->in.n - m->used) : NULL;
        apr_status_t rv;

        if (nl) {
            size_t n = (size_t)(nl - from);
            if (n == 0 || nl[-1] != '\r' || n > LINE_MAX_BYTES || memchr(from, 0, n))
                return APR_EINVAL;
            memcpy(line, from, n - 1);
            line[n - 1] = '\0';
            m->used += n + 1;
            return APR_SUCCESS;
        }
        if (m->in.n - m->used > LINE_MAX_BYTES)
            return APR_EINVAL;
        rv = fill(m);
        if (rv != APR_SUCCESS)
            return rv;
    }
}

static apr_status_t read_data(memcached_t *m, apr_pool_t *pool, size_t n, sse_str_t *out)
{
    while (m->in.n - m->used < n + 2) {
        apr_status_t rv = fill(m);
        if (rv != APR_SUCCESS)
            return rv;
    }
    if (memcmp(m->in.p + m->used + n, "\r\n", 2) != 0)
        return APR_EINVAL;
    *out = (sse_str_t){apr_pmemdup(pool, m->in.p + m->used, n), n};
    m->used += n + 2;
    return APR_SUCCESS;
}

static bool take_number(const char **p, int64_t *out)
{
    char *end;

    if (**p != '-' && (**p < '0' || **p > '9'))
        return false;
    *out = strtoll(*p, &end, 10);
    *p = end;
    return *end == ' ' || *end == '\0';
}

static apr_status_t send_text(memcached_t *m, const char *text)
{
    return sse_storeconn_send(m->fd, sse_str(text), m->deadline);
}

/* "VA <bytes> t<seconds>" and the data, or "EN". APR_ENOTIMPL: a server without meta commands. */
static apr_status_t meta_get(memcached_t *m, sse_lookup_t *l, const char *key, sse_stored_t *out)
{
    char line[LINE_MAX_BYTES];
    const char *p;
    int64_t size, ttl = -1;
    apr_status_t rv = send_text(m, apr_pstrcat(l->pool, "mg ", key, " t v\r\n", NULL));

    if (rv == APR_SUCCESS)
        rv = read_line(m, line);
    if (rv != APR_SUCCESS)
        return rv;
    if (strcmp(line, "EN") == 0)
        return APR_NOTFOUND;
    if (strcmp(line, "ERROR") == 0)
        return APR_ENOTIMPL;
    p = line + 3;
    if (strncmp(line, "VA ", 3) != 0 || !take_number(&p, &size) || size < 0)
        return APR_EGENERAL;
    if (size > SSE_STORE_VALUE_MAX)
        return APR_ENOSPC;
    while (*p == ' ') {
        p++;
        if (*p == 't') {
            p++;
            if (!take_number(&p, &ttl))
                return APR_EGENERAL;
        } else {
            p += strcspn(p, " ");
        }
    }
    out->expires = ttl >= 0 && ttl < INT32_MAX ? l->req->now / 1000000 + ttl : 0;
    return read_data(m, l->pool, (size_t)size, &out->value);
}

/* "VALUE <key> <flags> <bytes>", the data, "END"; or "END" alone. */
static apr_status_t plain_get(memcached_t *m, sse_lookup_t *l, const char *key, sse_stored_t *out)
{
    char line[LINE_MAX_BYTES];
    const char *p;
    int64_t flags, size;
    apr_status_t rv = send_text(m, apr_pstrcat(l->pool, "get ", key, "\r\n", NULL));

    if (rv == APR_SUCCESS)
        rv = read_line(m, line);
    if (rv != APR_SUCCESS)
        return rv;
    if (strcmp(line, "END") == 0)
        return APR_NOTFOUND;
    if (strncmp(line, "VALUE ", 6) != 0)
        return APR_EGENERAL;
    p = line + 6 + strcspn(line + 6, " ");
    if (*p++ != ' ' || !take_number(&p, &flags) || *p++ != ' ' || !take_number(&p, &size) ||
        size < 0)
        return APR_EGENERAL;
    if (size > SSE_STORE_VALUE_MAX)
        return APR_ENOSPC;
    out->expires = 0;
    rv = read_data(m, l->pool, (size_t)size, &out->value);
    if (rv == APR_SUCCESS)
        rv = read_line(m, line);
    if (rv == APR_SUCCESS && strcmp(line, "END") != 0)
        rv = APR_EINVAL;
    return rv;
}

static apr_status_t talk(sse_store_t *s, sse_lookup_t *l, const char *key, int fd, bool fresh,
                         int64_t deadline, sse_stored_t *out, bool *out_in_step,
                         const char **out_why)
{
    memcached_t m = {.fd = fd, .deadline = deadline};
    apr_status_t rv = meta_get(&m, l, key, out);

    if (rv == APR_ENOTIMPL)
        rv = plain_get(&m, l, key, out);
    *out_in_step = m.used == m.in.n;
    sse_buf_clear(&m.in);
    return rv;
}

apr_status_t sse_store_memcached_get(sse_store_t *s, sse_lookup_t *l, const char *key,
                                     sse_stored_t *out)
{
    if (strlen(key) > 250)
        return APR_NOTFOUND; /* memcached cannot hold it, so nobody has written it */
    return sse_store_ask(s, l, key, talk, out);
}
