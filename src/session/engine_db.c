/* SPDX-License-Identifier: Apache-2.0 */
/* django.contrib.sessions.backends.db: a row of django_session with signed text. The time inside
 * the signature is never looked at, as Django does not; the row's expire_date decides. Runs in
 * httpd's workers. */
#include "session/sql.h"
#include <apr_strings.h>

apr_status_t sse_engine_db_load(sse_lookup_t *l, sse_str_t key, sse_loaded_t *out)
{
    sse_loaded_t loaded = {0};
    sse_row_t *rows;
    size_t n;
    bool more;
    apr_status_t rv;

    rv = sse_sql_ask(l, SSE_QUERY_SESSION, apr_pstrmemdup(l->pool, key.p, key.n), 2, 1, &rows, &n,
                     &more);
    if (rv != APR_SUCCESS)
        return rv;
    if (n == 0 || !rows[0].col[0]) {
        l->detail = "no such session";
        return APR_NOTFOUND;
    }
    if (!sse_sql_time_after_now(l, rows[0].col[1], &loaded.expires)) {
        l->detail = "session expired";
        return APR_NOTFOUND;
    }
    rv = sse_lookup_decode(l, sse_str(l->conf->django->session_salt), sse_str(rows[0].col[0]),
                           &loaded.data, NULL);
    if (rv == APR_SUCCESS)
        *out = loaded;
    return rv;
}
