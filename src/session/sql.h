/* SPDX-License-Identifier: Apache-2.0 */
/* The project's questions to Django's database, in each driver's SQL, and asking them through
 * apr_dbd. A connection belongs to one look-up while it lasts. */
#ifndef SSE_SQL_H
#define SSE_SQL_H

#include "session/lookup.h"

/* One row of text columns, copied into the look-up's pool; NULL = SQL NULL. */
#define SSE_SQL_COLUMNS_MAX 4
typedef struct sse_row_t {
    const char *col[SSE_SQL_COLUMNS_MAX];
} sse_row_t;

typedef enum sse_query_t {
    SSE_QUERY_SESSION, /* session key -> session_data, expire_date (sse_sql_time reads it) */
    SSE_QUERY_USER,    /* pk -> pk, password, is_active, group name or NULL; one row a group */
    SSE_QUERY_CACHE,   /* cache key -> value, expires (Django's database cache) */
    SSE_QUERIES
} sse_query_t;

/* All texts of queries that the configuration can need, made once: they do not change. */
const struct sse_sqltexts_t *sse_sqltexts_make(const sse_session_conf_t *conf, apr_pool_t *pool);

/* Runs a prepared query with one parameter. APR_SUCCESS with up to max_rows rows in *out_rows
 * (allocated in the look-up's pool; *out_more: there were others), or an error that has been logged
 * with a code. */
apr_status_t sse_sql_ask(sse_lookup_t *l, sse_query_t query, const char *parameter, int columns,
                         size_t max_rows, sse_row_t **out_rows, size_t *out_n, bool *out_more);

/* A column that holds a time: true when it lies after the request's now, *out_unix its whole second
 * in UNIX time. False as well for a text that is no time. The comparison is that of Django: to the
 * microsecond, strict, and of local times where USE_TZ is false. */
bool sse_sql_time_after_now(const sse_lookup_t *l, const char *text, int64_t *out_unix);

#endif
