/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in the two caches that Django itself keeps: django.core.cache.backends.filebased (a file
 * of two pickles, the second compressed) and .db (a table with base64 of a pickle). Runs in httpd's
 * workers. */
#include "session/inflate.h"
#include "session/pickle.h"
#include "session/signing.h"
#include "session/sql.h"
#include "session/store.h"
#include <apr_md5.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *cache_path(sse_store_t *s, apr_pool_t *pool, const char *key)
{
    unsigned char md5[APR_MD5_DIGESTSIZE];
    char hex[2 * APR_MD5_DIGESTSIZE + 1];

    apr_md5(md5, key, strlen(key));
    sse_crypto_hex(md5, sizeof md5, hex);
    return apr_pstrcat(pool, s->directory, "/", hex, ".djcache", NULL);
}

static apr_status_t read_file(sse_store_t *s, apr_pool_t *pool, const char *path, sse_str_t *out)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = errno;
    struct stat st;
    char *p;
    ssize_t n;

    if (fd < 0) {
        if (err == ENOENT && stat(s->directory, &st) == 0 && S_ISDIR(st.st_mode))
            return APR_NOTFOUND;
        return err;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > SSE_STORE_VALUE_MAX) {
        close(fd);
        return APR_ENOSPC;
    }
    p = apr_palloc(pool, (apr_size_t)st.st_size + 1);
    do /* Django writes a temporary file and renames it: what is there is whole */
        n = read(fd, p, (size_t)st.st_size);
    while (n < 0 && errno == EINTR);
    err = errno;
    close(fd);
    if (n < 0)
        return err;
    *out = (sse_str_t){p, (size_t)n};
    return APR_SUCCESS;
}

apr_status_t sse_store_filecache_get(sse_store_t *s, sse_lookup_t *l, const char *key,
                                     sse_stored_t *out)
{
    sse_str_t file;
    double expires;
    size_t used;
    apr_status_t rv = read_file(s, l->pool, cache_path(s, l->pool, key), &file);

    if (rv == APR_NOTFOUND || rv == APR_ENOSPC)
        return rv;
    if (rv != APR_SUCCESS)
        return sse_store_failed(s, l, rv, NULL);
    if (sse_pickle_read_float(file, &expires, &used) != APR_SUCCESS || isnan(expires) ||
        expires < (double)l->req->now / 1e6)
        return APR_NOTFOUND;
    out->value = (sse_str_t){file.p + used, file.n - used};
    out->expires = expires < 9e15 ? (int64_t)expires : 0;
    return APR_SUCCESS;
}

apr_status_t sse_store_dbcache_get(sse_store_t *s, sse_lookup_t *l, const char *key,
                                   sse_stored_t *out)
{
    sse_row_t *rows;
    size_t n;
    bool more;
    int64_t expires;
    apr_status_t rv = sse_sql_ask(l, SSE_QUERY_CACHE, key, 2, 1, &rows, &n, &more);

    if (rv != APR_SUCCESS)
        return rv;
    if (n == 0 || !rows[0].col[0] || !sse_sql_time_after_now(l, rows[0].col[1], &expires) ||
        sse_base64_std_decode(sse_str(rows[0].col[0]), l->pool, &out->value) != APR_SUCCESS)
        return APR_NOTFOUND;
    out->expires = expires;
    return APR_SUCCESS;
}
