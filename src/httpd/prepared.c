/* SPDX-License-Identifier: Apache-2.0 */
/* See prepared.h. What is known of a connection lives in its own pool, under a name of ours. */
#include "httpd/prepared.h"

#include <apr_strings.h>

#define USERDATA_KEY "mod_sse:prepared"
/* Dropping costs: PostgreSQL holds statements until it is told, the driver of SQLite to the end of
 * the connection. A database that refuses for hours must not be asked to prepare as often as
 * somebody comes. */
#define DROP_PAUSE apr_time_from_sec(10)

typedef struct prepared_t {
    apr_pool_t *pool;          /* of the statements */
    apr_array_header_t *names; /* name_t */
    apr_time_t dropped_at;     /* 0: what was prepared since has worked */
} prepared_t;

typedef struct name_t {
    const char *label, *name;
} name_t;

static prepared_t *prepared_of(ap_dbd_t *dbd)
{
    void *found = NULL;
    apr_pool_userdata_get(&found, USERDATA_KEY, dbd->pool);
    if (found)
        return found;
    prepared_t *made = apr_pcalloc(dbd->pool, sizeof(*made));
    apr_pool_create(&made->pool, dbd->pool);
    made->names = apr_array_make(made->pool, 4, sizeof(name_t));
    /* This call copies the key, which lies in code that a restart unloads. */
    apr_pool_userdata_set(made, USERDATA_KEY, NULL, dbd->pool);
    return made;
}

/* Under a name of its own each time: the server may still have, or have lost, what this connection
 * prepared before. */
static int prepare(ap_dbd_t *dbd, prepared_t *known, const sse_statement_t *statement)
{
    static unsigned counter;
    apr_dbd_prepared_t *prepared = NULL;
    apr_pool_t *pool; /* a refusal leaves nothing behind */
    apr_pool_create(&pool, known->pool);
    name_t own = {apr_pstrdup(pool, statement->label),
                  apr_psprintf(pool, "%s_%u", statement->label,
                               __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED))};
    int rc = apr_dbd_prepare(dbd->driver, pool, dbd->handle, statement->sql, own.name, &prepared);
    if (rc) {
        apr_pool_destroy(pool);
        return rc;
    }
    *(name_t *)apr_array_push(known->names) = own;
    apr_hash_set(dbd->prepared, own.label, APR_HASH_KEY_STRING, prepared);
    return 0;
}

/* tell: the server may still have it. Where it has not it says so, and that is all. */
static void drop_all(ap_dbd_t *dbd, prepared_t *known, bool tell)
{
    tell = tell && !strcmp(apr_dbd_name(dbd->driver), "pgsql");
    for (int i = 0; i < known->names->nelts; i++) {
        const name_t *own = &APR_ARRAY_IDX(known->names, i, name_t);
        int rows;
        apr_hash_set(dbd->prepared, own->label, APR_HASH_KEY_STRING, NULL);
        if (tell)
            apr_dbd_query(dbd->driver, dbd->handle, &rows,
                          apr_pstrcat(known->pool, "DEALLOCATE ", own->name, NULL));
    }
    apr_pool_clear(known->pool);
    known->names = apr_array_make(known->pool, 4, sizeof(name_t));
}

bool sse_prepared_ensure(ap_dbd_t *dbd, const sse_statement_t *statements, size_t n,
                         bool *out_reused, const char **out_error)
{
    prepared_t *known = prepared_of(dbd);
    *out_reused = false;
    for (size_t i = 0; i < n; i++) {
        int rc = 0;
        if (apr_hash_get(dbd->prepared, statements[i].label, APR_HASH_KEY_STRING))
            *out_reused = true;
        else
            rc = prepare(dbd, known, &statements[i]);
        if (rc) {
            *out_error = apr_dbd_error(dbd->driver, dbd->handle, rc);
            return false;
        }
    }
    return true;
}

bool sse_prepared_drop(ap_dbd_t *dbd)
{
    prepared_t *known = prepared_of(dbd);
    apr_time_t now = apr_time_now();
    if (known->dropped_at && now - known->dropped_at < DROP_PAUSE && now >= known->dropped_at)
        return false;
    drop_all(dbd, known, true);
    known->dropped_at = now;
    return true;
}

void sse_prepared_lost(ap_dbd_t *dbd)
{
    drop_all(dbd, prepared_of(dbd), false);
}

void sse_prepared_proven(ap_dbd_t *dbd)
{
    prepared_of(dbd)->dropped_at = 0;
}
