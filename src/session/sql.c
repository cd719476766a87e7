/* SPDX-License-Identifier: Apache-2.0 */
/* Statements and their execution. Identifiers come from the configuration, were checked when it was
 * read and are quoted; everything that a client can influence is a bound parameter. Runs in httpd's
 * workers (statements: in the parent too). */
#include "session/sql.h"
#include "core/crypto.h"
#include "core/log.h"
#include "session/store.h"
#include "session/zone.h"
#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>

/* Django's database cache is named in the engine's argument: "db:table". */
#define CACHE_TABLE_SCHEME "db:"

typedef struct dialect_t {
    const char *driver;
    char quote;
    const char *time_from, *time_to; /* before and after a column that holds a time */
    const char *as_int;              /* the parameter where the key is an integer */
    const char *as_uuid;             /* the parameter where the key is a UUID */
} dialect_t;

/* PostgreSQL keeps an instant (timestamptz) whatever USE_TZ says: it is read as the seconds since
 * the epoch. */
static const dialect_t dialects[] = {
    {"sqlite3", '"', "", "", "%s", "%s"},
    {"pgsql", '"', "extract(epoch FROM ", ")", "CAST(%s AS bigint)", "CAST(%s AS uuid)"},
    {"mysql", '`', "CAST(", " AS CHAR)", "%s", "%s"},
};

static const dialect_t *dialect_of(const char *driver)
{
    for (size_t i = 0; i < SSE_ARRAY_LEN(dialects); i++)
        if (strcmp(dialects[i].driver, driver) == 0)
            return &dialects[i];
    return NULL;
}

static const char *quoted(const dialect_t *d, const char *name, apr_pool_t *pool)
{
    return apr_psprintf(pool, "%c%s%c", d->quote, name, d->quote);
}

static const char *time_column(const dialect_t *d, const char *name, apr_pool_t *pool)
{
    return apr_pstrcat(pool, d->time_from, quoted(d, name, pool), d->time_to, NULL);
}

static const char *session_sql(const dialect_t *d, const sse_django_t *dj, apr_pool_t *pool)
{
    return apr_psprintf(pool, "SELECT %s, %s FROM %s WHERE %s = %%s",
                        quoted(d, "session_data", pool), time_column(d, "expire_date", pool),
                        quoted(d, dj->session_table, pool), quoted(d, "session_key", pool));
}

static const char *cache_sql(const dialect_t *d, const char *table, apr_pool_t *pool)
{
    return apr_psprintf(pool, "SELECT %s, %s FROM %s WHERE %s = %%s", quoted(d, "value", pool),
                        time_column(d, "expires", pool), quoted(d, table, pool),
                        quoted(d, "cache_key", pool));
}

static const char *user_sql(const dialect_t *d, const sse_django_t *dj, apr_pool_t *pool)
{
    const char *pk = quoted(d, dj->user_pk, pool), *parameter = "%s", *active = "1";
    const char *groups = "NULL", *join = "", *order = "";

    if (strcmp(dj->user_pk_type, "int") == 0)
        parameter = d->as_int;
    else if (strcmp(dj->user_pk_type, "uuid") == 0)
        parameter = d->as_uuid;
    if (dj->user_is_active)
        active = apr_pstrcat(pool, "u.", quoted(d, dj->user_is_active, pool), NULL);
    if (dj->membership_table) {
        groups = apr_pstrcat(pool, "g.", quoted(d, dj->group_name, pool), NULL);
        join =
            apr_psprintf(pool, " LEFT JOIN %s m ON m.%s = u.%s LEFT JOIN %s g ON g.%s = m.%s",
                         quoted(d, dj->membership_table, pool),
                         quoted(d, dj->membership_user, pool), pk, quoted(d, dj->group_table, pool),
                         quoted(d, dj->group_pk, pool), quoted(d, dj->membership_group, pool));
        order = " ORDER BY 4";
    }
    return apr_psprintf(pool, "SELECT u.%s, u.%s, %s, %s FROM %s u%s WHERE u.%s = %s%s", pk,
                        quoted(d, dj->user_password, pool), active, groups,
                        quoted(d, dj->user_table, pool), join, pk, parameter, order);
}

static const char *query_sql(const sse_session_conf_t *conf, const dialect_t *d, sse_query_t query,
                             apr_pool_t *pool)
{
    const char *table;

    switch (query) {
    case SSE_QUERY_SESSION:
        return session_sql(d, conf->django, pool);
    case SSE_QUERY_USER:
        return user_sql(d, conf->django, pool);
    case SSE_QUERY_CACHE: /* without its "?prefix=…" */
        table = conf->argument + sizeof CACHE_TABLE_SCHEME - 1;
        return cache_sql(d, apr_pstrmemdup(pool, table, strcspn(table, "?")), pool);
    case SSE_QUERIES:
        break;
    }
    return NULL;
}

static bool query_needed(const sse_session_conf_t *conf, sse_query_t query)
{
    switch (query) {
    case SSE_QUERY_SESSION:
        return conf->engine == SSE_ENGINE_DB || conf->engine == SSE_ENGINE_CACHED_DB;
    case SSE_QUERY_USER:
        return sse_engine_needs_db(conf->engine);
    case SSE_QUERY_CACHE:
        return (conf->engine == SSE_ENGINE_CACHE || conf->engine == SSE_ENGINE_CACHED_DB) &&
               conf->argument && strncmp(conf->argument, CACHE_TABLE_SCHEME, 3) == 0;
    case SSE_QUERIES:
        break;
    }
    return false;
}

/* Equal SQL has an equal label, so two locations share a prepared statement and two sites never do
 * by mistake. */
static const char *label_of(const char *sql, apr_pool_t *pool)
{
    unsigned char hash[SSE_DIGEST_MAX];
    char hex[2 * 10 + 1];
    sse_str_t part = sse_str(sql);

    sse_digest(SSE_SHA256, &part, 1, hash);
    sse_crypto_hex(hash, 10, hex);
    return apr_pstrcat(pool, "sse_", hex, NULL);
}

/* By dialect and query; sql NULL: not needed. */
typedef struct sse_sqltexts_t {
    sse_statement_t of[SSE_ARRAY_LEN(dialects)][SSE_QUERIES];
} sse_sqltexts_t;

const sse_sqltexts_t *sse_sqltexts_make(const sse_session_conf_t *conf, apr_pool_t *pool)
{
    sse_sqltexts_t *texts = apr_pcalloc(pool, sizeof *texts);

    for (size_t d = 0; d < SSE_ARRAY_LEN(dialects); d++) {
        for (sse_query_t q = 0; q < SSE_QUERIES; q++) {
            sse_statement_t *st = &texts->of[d][q];
            if (!query_needed(conf, q))
                continue;
            st->sql = query_sql(conf, &dialects[d], q, pool);
            st->label = label_of(st->sql, pool);
        }
    }
    return texts;
}

static const sse_statement_t *statements_of(const sse_session_conf_t *conf, const char *driver,
                                            apr_pool_t *pool)
{
    const dialect_t *d = dialect_of(driver);
    const sse_sqltexts_t *texts;

    if (!d)
        return NULL;
    texts = conf->sql ? conf->sql : sse_sqltexts_make(conf, pool);
    return texts->of[d - dialects];
}

apr_status_t sse_session_statements(const sse_session_conf_t *conf, const char *driver,
                                    apr_pool_t *pool, const sse_statement_t **out_statements,
                                    size_t *out_n)
{
    const sse_statement_t *all = statements_of(conf, driver, pool);
    sse_statement_t *st = apr_pcalloc(pool, SSE_QUERIES * sizeof *st);
    size_t n = 0;

    if (!all)
        return APR_ENOTIMPL;
    for (size_t q = 0; q < SSE_QUERIES; q++) {
        if (all[q].sql)
            st[n++] = all[q];
    }
    *out_statements = st;
    *out_n = n;
    return APR_SUCCESS;
}

/* A copy: the mysql driver uses its buffers again for the next row. Not by apr_dbd_get_entry, which
 * for that driver leaves a value that fills its buffer (fldsz) without an end. */
static bool take_column(const sse_session_db_t *db, apr_dbd_row_t *row, int column,
                        apr_pool_t *pool, const char **out)
{
    const char *text = NULL;
    apr_status_t rv = apr_dbd_datum_get(db->driver, row, column, APR_DBD_TYPE_STRING, &text);

    if (rv == APR_SUCCESS && text)
        *out = apr_pstrdup(pool, text);
    return rv == APR_SUCCESS || rv == APR_ENOENT; /* NULL */
}

static apr_status_t read_rows(sse_lookup_t *l, const sse_session_db_t *db, apr_dbd_results_t *res,
                              int columns, size_t max_rows, sse_row_t **out_rows, size_t *out_n,
                              bool *out_more)
{
    apr_dbd_row_t *row = NULL;
    sse_row_t *rows = NULL;
    size_t n = 0, cap = 0;
    bool more = false;
    int rc, number = 1;

    /* To the end in any case: drivers free a result when its last row was passed. By number, since
     * the mysql driver takes "the next one" (-1) of a result with random access for its end. */
    while ((rc = apr_dbd_get_row(db->driver, l->pool, res, &row, number++)) == 0) {
        if (n == max_rows) {
            more = true;
            continue;
        }
        if (n == cap) {
            sse_row_t *wider = apr_pcalloc(l->pool, (cap ? cap * 4 : 4) * sizeof *rows);
            if (n > 0)
                memcpy(wider, rows, n * sizeof *rows);
            rows = wider;
            cap = cap ? cap * 4 : 4;
        }
        for (int c = 0; c < columns; c++)
            if (!take_column(db, row, c, l->pool, &rows[n].col[c]))
                return APR_EGENERAL;
        n++;
    }
    if (rc != -1)
        return APR_EGENERAL;
    *out_rows = rows;
    *out_n = n;
    *out_more = more;
    return APR_SUCCESS;
}

apr_status_t sse_sql_ask(sse_lookup_t *l, sse_query_t query, const char *parameter, int columns,
                         size_t max_rows, sse_row_t **out_rows, size_t *out_n, bool *out_more)
{
    const sse_session_db_t *db = sse_lookup_db(l);
    const sse_statement_t *all;
    const char *label, *args[] = {parameter};
    apr_dbd_prepared_t *statement;
    apr_dbd_results_t *res = NULL;
    int rc;

    if (!db) {
        l->detail = "no database connection";
        return APR_TIMEUP;
    }
    all = statements_of(l->conf, apr_dbd_name(db->driver), l->pool);
    label = all && all[query].sql ? all[query].label : "";
    statement = apr_hash_get(db->prepared, label, APR_HASH_KEY_STRING);
    if (!statement) {
        if (sse_store_may_warn(l->conf->store, SSE_COMPLAINT_DATABASE))
            sse_log(SSE_LOG_ERR, "SSE0501: the database connection has no prepared statement %s",
                    label);
        l->detail = "statement not prepared";
        return APR_EGENERAL;
    }
    /* "Random access": the result is whole before the first row, and an error is told now. */
    rc = apr_dbd_pselect(db->driver, l->pool, db->handle, &res, statement, 1, 1, args);
    if (rc == 0 && res &&
        read_rows(l, db, res, columns, max_rows, out_rows, out_n, out_more) == APR_SUCCESS)
        return APR_SUCCESS;
    if (sse_store_may_warn(l->conf->store, SSE_COMPLAINT_DATABASE))
        sse_log(SSE_LOG_ERR, "SSE0502: the database did not answer statement %s: %s", label,
                apr_dbd_error(db->driver, db->handle, rc));
    l->detail = "database error";
    return APR_EGENERAL;
}

/* "1751209600.123456" in microseconds. */
static bool epoch_micros(const char *text, int64_t *out)
{
    char *end;
    int64_t v, scale = 100000;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno || end == text || v > INT64_MAX / 2000000 || v < 0)
        return false;
    v *= 1000000;
    if (*end == '.')
        for (end++; *end >= '0' && *end <= '9'; end++, scale /= 10)
            v += (*end - '0') * scale;
    *out = v;
    return !*end;
}

bool sse_sql_time_after_now(const sse_lookup_t *l, const char *text, int64_t *out_unix)
{
    const sse_zone_t *zone = l->conf->django->use_tz ? NULL : l->conf->django->zone;
    int64_t now = l->req->now, at, seconds;
    bool has_offset;
    int offset;

    if (!text)
        return false;
    if (epoch_micros(text, &at)) {
        *out_unix = at / 1000000;
        return at > now;
    }
    if (sse_civil_parse(sse_str(text), &at, &has_offset, &offset) != APR_SUCCESS)
        return false;
    if (has_offset) {
        at -= (int64_t)offset * 1000000;
        zone = NULL;
    }
    seconds = (at - ((at % 1000000) + 1000000) % 1000000) / 1000000;
    *out_unix = sse_zone_to_unix(zone, seconds);
    /* Clocks that are set back make local times ambiguous; Django compares them as they are, and so
     * do we. */
    return at > now + (int64_t)sse_zone_offset(zone, now / 1000000) * 1000000;
}
