/* SPDX-License-Identifier: Apache-2.0 */
/* Cache URLs. Runs while httpd reads its configuration and at the start of each child. */
#include "session/store.h"
#include "core/log.h"
#include "core/percent.h"
#include "session/sql.h"
#include <apr_strings.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ALLOWED                                                                                    \
    "redis://[[user]:password@]host[:port][/db], unix:///socket[?db=N], memcached://host[:port], " \
    "memcached:///socket, file:///directory (Django's file-based cache) or db:table (its "         \
    "database "                                                                                    \
    "cache), with ?prefix=P&version=N&timeout=MS behind where Django's KEY_PREFIX and VERSION "    \
    "are "                                                                                         \
    "set"

typedef struct kind_t {
    const char *scheme;
    sse_store_get_fn *get;
    const char *port;
} kind_t;

static const kind_t kinds[] = {
    {"redis://", sse_store_redis_get, "6379"},
    {"unix://", sse_store_redis_get, NULL},
    {"memcached://", sse_store_memcached_get, "11211"},
    {"file://", sse_store_filecache_get, NULL},
    {"db:", sse_store_dbcache_get, NULL},
};

/* Percent-decoded copy; NULL when an escape is broken or stands for NUL. */
static const char *decoded(apr_pool_t *pool, const char *p, size_t n)
{
    char *out = apr_palloc(pool, n + 1);
    size_t k;

    if (sse_percent_decode((sse_str_t){p, n}, false, out, &k) != APR_SUCCESS || memchr(out, 0, k))
        return NULL;
    out[k] = '\0';
    return out;
}

static bool number(const char *s, long min, long max, long *out)
{
    char *end;

    if (*s < '0' || *s > '9')
        return false;
    *out = strtol(s, &end, 10);
    return !*end && *out >= min && *out <= max;
}

static const char *take_query(const char *query, apr_pool_t *pool, sse_store_t *out)
{
    while (*query) {
        size_t n = strcspn(query, "&"), name_n = strcspn(query, "=&");
        const char *value = name_n < n ? decoded(pool, query + name_n + 1, n - name_n - 1) : NULL;
        sse_str_t name = {query, name_n};
        long v;

        if (!value)
            return "its query must be name=value pairs joined by '&'";
        if (sse_str_eq(name, SSE_STR("prefix"))) {
            for (const char *p = value; *p; p++)
                if ((unsigned char)*p <= 0x20 || *p == 0x7f)
                    return "prefix has a blank or a control character";
            if (strlen(value) > 150)
                return "prefix is longer than 150 bytes";
            out->prefix = value;
            out->keyed = true;
        } else if (sse_str_eq(name, SSE_STR("version"))) {
            if (!number(value, 0, 1000000000, &v))
                return "version is not a number from 0 to 1000000000";
            out->version = value;
            out->keyed = true;
        } else if (sse_str_eq(name, SSE_STR("timeout"))) {
            if (!number(value, 10, 10000, &v))
                return "timeout is not a number of milliseconds from 10 to 10000";
            out->timeout_ms = (int)v;
        } else if (sse_str_eq(name, SSE_STR("db")) && out->get == sse_store_redis_get) {
            if (!number(value, 0, 1000000, &v))
                return "db is not a number from 0 to 1000000";
            out->database = value;
        } else {
            return "its query has another name than prefix, version, timeout and db";
        }
        query += n + (query[n] == '&');
    }
    return NULL;
}

/* "[[user]:password@]host[:port]" */
static const char *take_authority(const char *p, size_t n, const kind_t *kind, apr_pool_t *pool,
                                  sse_store_t *out)
{
    const char *at = n > 0 ? memrchr(p, '@', n) : NULL, *colon;
    long v;

    if (at) {
        size_t user_n = (size_t)(at - p);
        colon = memchr(p, ':', user_n);
        if (colon) {
            out->user = decoded(pool, p, (size_t)(colon - p));
            out->password = decoded(pool, colon + 1, (size_t)(at - colon - 1));
        }
        if (!colon || !out->user || !out->password || !*out->password)
            return "what stands before '@' is not [user]:password";
        n -= user_n + 1;
        p = at + 1;
    }
    if (n > 0 && *p == '[') {
        const char *close = memchr(p, ']', n);
        if (!close)
            return "the address lacks its ']'";
        out->endpoint.host = apr_pstrmemdup(pool, p + 1, (size_t)(close - p - 1));
        n -= (size_t)(close + 1 - p);
        p = close + 1;
        if (n > 0 && *p != ':')
            return "something other than a port follows the address";
        colon = n > 0 ? p : NULL;
    } else {
        colon = n > 0 ? memchr(p, ':', n) : NULL;
        out->endpoint.host = apr_pstrmemdup(pool, p, colon ? (size_t)(colon - p) : n);
    }
    out->endpoint.port =
        colon ? apr_pstrmemdup(pool, colon + 1, (size_t)(p + n - colon - 1)) : kind->port;
    if (!*out->endpoint.host)
        return "it names no host";
    if (!number(out->endpoint.port, 1, 65535, &v))
        return "its port is not a number from 1 to 65535";
    return NULL;
}

static bool identifier(const char *s)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    size_t n = strlen(s);

    return n > 0 && n <= 64 && strspn(s, allowed) == n && (*s < '0' || *s > '9');
}

static const char *take_socket(const char *path, sse_store_t *out)
{
    if (*path != '/')
        return "the socket's path is not absolute";
    if (strlen(path) >= 108)
        return "the socket's path has 108 bytes or more";
    out->endpoint.path = path;
    return NULL;
}

static const char *take_place(const kind_t *kind, const char *place, apr_pool_t *pool,
                              sse_store_t *out)
{
    size_t slash = strcspn(place, "/");
    const char *problem;
    long v;

    if (kind->get == sse_store_dbcache_get)
        return identifier(place) ? NULL
                                 : "the table is not a name of letters, digits and underscores";
    if (kind->get == sse_store_filecache_get) {
        out->directory = place;
        return *place == '/' ? NULL : "the directory's path is not absolute";
    }
    if (!kind->port || (kind->get == sse_store_memcached_get && *place == '/'))
        return take_socket(place, out);
    problem = take_authority(place, slash, kind, pool, out);
    if (problem)
        return problem;
    if (place[slash] && place[slash + 1]) {
        out->database = place + slash + 1;
        if (kind->get != sse_store_redis_get || !number(out->database, 0, 1000000, &v))
            return "what follows the host is not a database number";
    }
    if (out->password && kind->get != sse_store_redis_get)
        return "memcached takes no password here";
    return NULL;
}

/* The URL with its password starred out. */
static const char *without_password(const char *url, apr_pool_t *pool)
{
    const char *slashes = strstr(url, "://"), *from = slashes ? slashes + 3 : url;
    size_t n = strcspn(from, "/?");
    const char *at = n > 0 ? memrchr(from, '@', n) : NULL;

    if (!at)
        return url;
    return apr_pstrcat(pool, apr_pstrmemdup(pool, url, (apr_size_t)(from - url)), "***", at, NULL);
}

const char *sse_store_parse(const char *url, apr_pool_t *pool, sse_store_t *out)
{
    const kind_t *kind = NULL;
    const char *query, *problem = NULL, *place;
    sse_store_t store = {.timeout_ms = 1000, .prefix = "", .version = "1"};

    for (size_t i = 0; i < SSE_ARRAY_LEN(kinds) && !kind; i++)
        if (strncmp(url, kinds[i].scheme, strlen(kinds[i].scheme)) == 0)
            kind = &kinds[i];
    store.shown = without_password(url, pool);
    if (!kind)
        return apr_psprintf(pool, "\"%s\" is no cache URL; allowed is %s", store.shown, ALLOWED);
    store.get = kind->get;
    query = strchr(url, '?');
    place = url + strlen(kind->scheme);
    place = apr_pstrmemdup(pool, place, query ? (apr_size_t)(query - place) : strlen(place));
    problem = take_place(kind, place, pool, &store);
    if (!problem && query)
        problem = take_query(query + 1, pool, &store);
    if (problem)
        return apr_psprintf(pool, "\"%s\": %s; allowed is %s", store.shown, problem, ALLOWED);
    *out = store;
    return NULL;
}

apr_status_t sse_session_open(sse_session_conf_t *conf, apr_pool_t *pool)
{
    sse_store_t *store;

    store = apr_pcalloc(pool, sizeof *store);
    if (conf->engine == SSE_ENGINE_CACHE || conf->engine == SSE_ENGINE_CACHED_DB) {
        if (!conf->argument || sse_store_parse(conf->argument, pool, store))
            return APR_EINVAL;
    }
    store->idle = sse_idle_create(pool);
    if (!store->idle)
        return APR_ENOMEM;
    if (store->endpoint.host) {
        store->endpoint.names =
            sse_storenames_create(store->endpoint.host, store->endpoint.port, pool);
        if (!store->endpoint.names)
            return APR_ENOMEM;
    }
    conf->store = store;
    conf->sql = sse_sqltexts_make(conf, pool);
    return APR_SUCCESS;
}

const char *sse_engine_argument_problem(sse_engine_t engine, const char *argument, apr_pool_t *pool)
{
    sse_store_t store;
    struct stat st;

    switch (engine) {
    case SSE_ENGINE_CACHE:
    case SSE_ENGINE_CACHED_DB:
        if (!argument)
            return "needs the URL of the cache; allowed is " ALLOWED;
        return sse_store_parse(argument, pool, &store);
    case SSE_ENGINE_FILE:
        if (!argument || *argument != '/')
            return apr_psprintf(pool,
                                "\"%s\" is not the absolute path of a directory; it is Django's "
                                "SESSION_FILE_PATH, whose default is the temporary directory",
                                argument ? argument : "");
        /* Django itself refuses to run without it. */
        if (stat(argument, &st) != 0 || !S_ISDIR(st.st_mode))
            return apr_psprintf(pool,
                                "\"%s\" is not a directory; allowed is Django's "
                                "SESSION_FILE_PATH",
                                argument);
        return NULL;
    default:
        return argument ? "takes no argument" : NULL;
    }
}

bool sse_store_may_warn(sse_store_t *store, sse_complaint_t what)
{
    struct timespec ts;
    int64_t now, last;

    if (!store)
        return true;
    last = __atomic_load_n(&store->last_complaint[what], __ATOMIC_RELAXED);
    clock_gettime(CLOCK_MONOTONIC, &ts);
    now = (int64_t)ts.tv_sec;
    if (last != 0 && now - last < 10)
        return false;
    return __atomic_compare_exchange_n(&store->last_complaint[what], &last, now, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

apr_status_t sse_store_failed(sse_store_t *store, sse_lookup_t *l, apr_status_t rv, const char *why)
{
    char text[120];

    if (!why && (rv == APR_EINVAL || rv == APR_EGENERAL))
        why = "its answer makes no sense";
    l->detail = "the session cache did not answer";
    if (sse_store_may_warn(store, SSE_COMPLAINT_STORE))
        sse_log(SSE_LOG_ERR, "SSE0506: the session cache %s did not answer: %s", store->shown,
                why ? why : apr_strerror(rv, text, sizeof text));
    return rv;
}

static bool answered(apr_status_t rv)
{
    return rv == APR_SUCCESS || rv == APR_NOTFOUND || rv == APR_ENOSPC;
}

apr_status_t sse_store_ask(sse_store_t *store, sse_lookup_t *l, const char *key,
                           sse_store_talk_fn *talk, sse_stored_t *out)
{
    int64_t deadline = sse_storeconn_deadline(store->timeout_ms);
    const char *why = NULL;
    apr_status_t rv;
    bool fresh = false;

    for (;;) {
        bool in_step = false;
        int fd = fresh ? -1 : sse_idle_take(store->idle);

        fresh = fd < 0;
        rv = fresh ? sse_storeconn_open(&store->endpoint, deadline, &fd) : APR_SUCCESS;
        if (rv != APR_SUCCESS)
            break;
        rv = talk(store, l, key, fd, fresh, deadline, out, &in_step, &why);
        if (in_step && (rv == APR_SUCCESS || rv == APR_NOTFOUND))
            sse_idle_give(store->idle, fd);
        else
            close(fd);
        if (fresh || answered(rv) || rv == APR_TIMEUP)
            break;
        fresh = true;
    }
    return answered(rv) ? rv : sse_store_failed(store, l, rv, why);
}
