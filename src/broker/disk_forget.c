/* SPDX-License-Identifier: Apache-2.0 */
/* Forgetting a user, a group or an event's history. Messages are only marked here, trimming takes
 * them away. Writer thread, inside a transaction. */
#include "broker/disk_impl.h"

#include <stdlib.h>

/* Names of a user in the addressees of messages that others keep. */
static apr_status_t strike_out(sse_disk_t *s, sse_job_t *job)
{
    int64_t id;
    int rc;
    apr_status_t status = sse_disk_channel_id(s, job->realm, job->owner, false, &id);
    if (status != APR_SUCCESS || !id)
        return status;
    uint64_t after = 0, seqs[256];
    for (;;) {
        size_t n = 0;
        sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_DELIVERY_AFTER, "iii", id,
                                           (int64_t)after, (int64_t)256);
        for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc))
            seqs[n++] = (uint64_t)sqlite3_column_int64(stmt, 0);
        for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
            sse_buf_t kept = {0};
            sse_channel_t target;
            stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_MESSAGE_TARGETS, "i", (int64_t)seqs[i]);
            if (!stmt)
                continue;
            sse_str_t packed = sse_sql_str(stmt, 1);
            while (sse_disk_targets_next(&packed, &target))
                if (target.kind != job->owner.kind || !sse_str_eq(target.name, job->owner.name))
                    sse_disk_targets_pack(&target, 1, &kept);
            sse_sql_done(stmt);
            if (kept.n)
                rc = sse_sql_run(&s->sql, SSE_SQL_MESSAGE_RETARGET, "bi", sse_buf_slice(&kept),
                                 (int64_t)seqs[i]);
            sse_buf_clear(&kept);
        }
        if (rc != SQLITE_OK || n < 256)
            return sse_disk_fail(s, rc);
        after = seqs[n - 1];
    }
}

apr_status_t sse_disk_forget(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    int rc = SQLITE_OK;
    int64_t id, kind = (int64_t)job->owner.kind;
    apr_status_t status = APR_SUCCESS;
    if (job->owner.kind == SSE_CHANNEL_USER)
        status = strike_out(s, job);
    if (status == APR_SUCCESS)
        status = sse_disk_channel_id(s, job->realm, job->owner, false, &id);
    if (status == APR_SUCCESS && id) {
        rc = sse_sql_run(&s->sql, SSE_SQL_CHANNEL_FORGOTTEN, "iii", id, (int64_t)s->seq,
                         now_ms / 1000);
        sse_disk_dirty_push(s, id);
    }
    if (status != APR_SUCCESS || rc != SQLITE_OK)
        return status != APR_SUCCESS ? status : sse_disk_fail(s, rc);
    job->forget = s->seq;
    if (job->owner.kind != SSE_CHANNEL_USER && job->owner.kind != SSE_CHANNEL_GROUP)
        return APR_SUCCESS;
    rc = sse_sql_run(&s->sql, SSE_SQL_SUB_DELETE_OWNER, "sis", job->realm, kind, job->owner.name);
    if (rc == SQLITE_OK)
        rc = sse_sql_run(&s->sql, SSE_SQL_OWNER_DELETE, "sis", job->realm, kind, job->owner.name);
    if (rc != SQLITE_OK)
        return sse_disk_fail(s, rc);
    if (job->owner.kind == SSE_CHANNEL_USER) {
        rc = sse_sql_run(&s->sql, SSE_SQL_MEMBER_DELETE_USER, "ss", job->realm, job->owner.name);
        status = sse_disk_fail(s, rc);
        if (status == APR_SUCCESS)
            status = sse_disk_session_forget(s, job->realm, job->owner.name);
    } else {
        sse_str_t *users = NULL;
        size_t n;
        status = sse_disk_members_list(s, job, &users, &n);
        for (size_t i = 0; status == APR_SUCCESS && i < n; i++)
            status = sse_disk_member_set(s, job, users[i], false, now_ms);
        free(users);
    }
    return status == APR_SUCCESS ? sse_disk_record_tell(s, job, job->realm, job->owner, now_ms)
                                 : status;
}
