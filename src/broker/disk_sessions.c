/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that the application mirrors (SSESession hub): who each is, and until when. Writer
 * thread, inside a transaction. */
#include "broker/disk_impl.h"

apr_status_t sse_disk_session_put(sse_disk_t *s, sse_job_t *job)
{
    return sse_disk_fail(s,
                         sse_sql_run(&s->sql, SSE_SQL_SESSION_PUT, "sbsi", job->realm, job->session,
                                     job->owner.name, (int64_t)job->session_expires));
}

apr_status_t sse_disk_session_get(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_SESSION_GET, "sbi", job->realm,
                                       job->session, now_ms / 1000);
    if (!stmt)
        return rc == SQLITE_OK ? APR_NOTFOUND : sse_disk_fail(s, rc);
    job->session_user = sse_arena_str(&job->arena, sse_sql_str(stmt, 0));
    job->session_expires = (uint64_t)sqlite3_column_int64(stmt, 1);
    sse_sql_done(stmt);
    return APR_SUCCESS;
}

apr_status_t sse_disk_session_delete(sse_disk_t *s, sse_str_t realm, sse_str_t session)
{
    return sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_SESSION_DELETE, "sb", realm, session));
}

apr_status_t sse_disk_session_forget(sse_disk_t *s, sse_str_t realm, sse_str_t user)
{
    return sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_SESSION_DELETE_USER, "ss", realm, user));
}

apr_status_t sse_disk_session_expire(sse_disk_t *s, int64_t now_ms, size_t limit)
{
    return sse_disk_fail(
        s, sse_sql_run(&s->sql, SSE_SQL_SESSION_EXPIRE, "ii", now_ms / 1000, (int64_t)limit));
}
