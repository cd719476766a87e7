/* SPDX-License-Identifier: Apache-2.0 */
/* django.contrib.sessions.backends.cache and cached_db. A cache holds the session's dict as its own
 * serializer wrote it, unsigned: what stops somebody who can write to it is the password hash that
 * identity.c checks. Runs in httpd's workers. */
#include "core/log.h"
#include "session/inflate.h"
#include "session/pickle.h"
#include "session/store.h"
#include <apr_strings.h>

typedef struct magic_t {
    const char *bytes;
    size_t n;
    const char *what;
} magic_t;

/* What django-redis can be told to write and this module does not read. */
static const magic_t foreign[] = {
    {"\x1f\x8b", 2, "gzip compression"},
    {"\xfd"
     "7zXZ",
     5, "xz compression"},
    {"\x04\x22\x4d\x18", 4, "lz4 compression"},
    {"\x28\xb5\x2f\xfd", 4, "zstd compression"},
};

static const char *foreign_format(sse_str_t v)
{
    for (size_t i = 0; i < SSE_ARRAY_LEN(foreign); i++)
        if (v.n >= foreign[i].n && memcmp(v.p, foreign[i].bytes, foreign[i].n) == 0)
            return foreign[i].what;
    /* A msgpack map of up to 15 entries; a pickle begins with 0x80 and its protocol, at most 5. */
    if (v.n > 1 && (unsigned char)v.p[0] >= 0x81 && (unsigned char)v.p[0] <= 0x8f)
        return "the msgpack serializer";
    return NULL;
}

/* Pickle, zlib around it (django-redis, pylibmc), or JSON (django-redis). */
static apr_status_t read_value(sse_lookup_t *l, sse_str_t v, sse_session_data_t *out)
{
    const char *what = foreign_format(v);

    if (what) {
        if (sse_store_may_warn(l->conf->store, SSE_COMPLAINT_FORMAT))
            sse_log(SSE_LOG_WARNING,
                    "SSE0507: sessions in %s are written with %s, which cannot be read",
                    l->conf->store->shown, what);
        l->detail = "session in a format that cannot be read";
        return APR_NOTFOUND;
    }
    if (v.n >= 2 && v.p[0] == 0x78 &&
        ((unsigned char)v.p[0] * 256 + (unsigned char)v.p[1]) % 31 == 0 &&
        sse_inflate(v, SSE_SESSION_DATA_MAX, l->pool, &v) != APR_SUCCESS) {
        l->detail = "session does not inflate";
        return APR_NOTFOUND;
    }
    if ((v.n > 0 && v.p[0] == '{' ? sse_session_json_read : sse_pickle_read)(v, l->pool, out) !=
        APR_SUCCESS) {
        l->detail = "session is no pickle or JSON of a dict";
        return APR_NOTFOUND;
    }
    return APR_SUCCESS;
}

static apr_status_t load(sse_lookup_t *l, sse_str_t key, const char *base, const char *prefix,
                         sse_loaded_t *out)
{
    sse_store_t *store = l->conf->store;
    sse_stored_t stored;
    sse_loaded_t loaded = {0};
    const char *full;
    apr_status_t rv;

    if (!store || !store->get) {
        l->detail = "the cache was not opened";
        return APR_EGENERAL;
    }
    if (store->keyed)
        prefix = apr_pstrcat(l->pool, store->prefix, ":", store->version, ":", base, NULL);
    full = apr_psprintf(l->pool, "%s%.*s", prefix, (int)key.n, key.p);
    rv = store->get(store, l, full, &stored);
    if (rv == APR_ENOSPC) {
        l->detail = "session too large";
        return APR_NOTFOUND;
    }
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        l->detail = "no such session";
        return rv;
    }
    if (rv != APR_SUCCESS)
        return rv;
    rv = read_value(l, stored.value, &loaded.data);
    if (rv != APR_SUCCESS)
        return rv;
    loaded.expires = stored.expires;
    *out = loaded;
    return APR_SUCCESS;
}

apr_status_t sse_engine_cache_load(sse_lookup_t *l, sse_str_t key, sse_loaded_t *out)
{
    return load(l, key, "django.contrib.sessions.cache", l->conf->django->cache_prefix, out);
}

/* Whatever goes wrong with the cache, Django asks the database. */
apr_status_t sse_engine_cached_db_load(sse_lookup_t *l, sse_str_t key, sse_loaded_t *out)
{
    apr_status_t rv =
        load(l, key, "django.contrib.sessions.cached_db", l->conf->django->cached_db_prefix, out);

    return rv == APR_SUCCESS ? rv : sse_engine_db_load(l, key, out);
}
