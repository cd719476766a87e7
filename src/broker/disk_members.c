/* SPDX-License-Identifier: Apache-2.0 */
/* Who belongs to which group: as told when a user connects, and by changes of a group. Writer
 * thread, inside a transaction. */
#include "broker/disk_impl.h"

#include <stdlib.h>

#define USER(str) ((sse_channel_t){SSE_CHANNEL_USER, (str)})

/* ---- connecting ---- */

static bool listed(const sse_str_t *names, size_t n, sse_str_t name)
{
    for (size_t i = 0; i < n; i++)
        if (sse_str_eq(names[i], name))
            return true;
    return false;
}

/* Makes the user's groups those that the caller named. */
static apr_status_t set_groups(sse_disk_t *s, sse_job_t *job, bool *out_changed)
{
    sse_disk_groups_t now = {0};
    int64_t start = (int64_t)(job->behind ? job->start : s->seq);
    int rc =
        job->fresh ? SQLITE_OK : sse_disk_groups_load(&s->sql, job->realm, job->owner.name, &now);
    *out_changed = false;
    for (size_t i = 0; rc == SQLITE_OK && i < now.n; i++) {
        if (!listed(job->names, job->n_names, sse_str(now.groups[i].group))) {
            rc = sse_sql_run(&s->sql, SSE_SQL_MEMBER_DELETE, "sss", job->realm, job->owner.name,
                             sse_str(now.groups[i].group));
            *out_changed = true;
        }
    }
    for (size_t i = 0; rc == SQLITE_OK && i < job->n_names; i++) {
        bool known = false;
        for (size_t j = 0; j < now.n && !known; j++)
            known = sse_str_eq(sse_str(now.groups[j].group), job->names[i]);
        if (!known) {
            rc = sse_sql_run(&s->sql, SSE_SQL_MEMBER_ADD, "sssi", job->realm, job->owner.name,
                             job->names[i], start);
            *out_changed |= sqlite3_changes(s->sql.db) > 0;
        }
    }
    for (size_t i = 0; i < now.n; i++)
        free(now.groups[i].group);
    free(now.groups);
    return sse_disk_fail(s, rc);
}

/* Where nothing can be written, the named groups hold for this record only: those that are known
 * keep their start. */
static void overlay_groups(sse_disk_t *s, sse_job_t *job, sse_record_t *record)
{
    sse_disk_groups_t list = {0};
    for (size_t i = 0; i < job->n_names; i++) {
        uint64_t start = s->seq;
        if (listed(job->names, i, job->names[i]))
            continue;
        for (size_t j = 0; j < record->n_memberships; j++)
            if (sse_str_eq(sse_str(record->memberships[j].group), job->names[i]))
                start = record->memberships[j].start;
        sse_disk_groups_add(&list, job->names[i], start);
    }
    for (size_t i = 0; i < record->n_memberships; i++)
        free(record->memberships[i].group);
    free(record->memberships);
    record->memberships = list.groups;
    record->n_memberships = list.n;
    job->overlaid = true;
}

apr_status_t sse_disk_connect(sse_disk_t *s, sse_job_t *job, int64_t now_ms, bool no_writes)
{
    if (!job->owner.name.n)
        return APR_SUCCESS;
    bool changed = false;
    apr_status_t status = APR_SUCCESS;
    if (job->behind)
        return no_writes ? APR_EAGAIN : set_groups(s, job, &changed);
    if (job->names_given && !no_writes)
        status = set_groups(s, job, &changed);
    if (status == APR_SUCCESS && job->session.n && job->session_expires && !no_writes)
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_SUB_REFRESH, "sbsii", job->realm,
                                              job->session, job->owner.name,
                                              (int64_t)job->session_expires, now_ms / 1000));
    if (status == APR_SUCCESS)
        status = sse_disk_record_answer(s, job, changed, now_ms);
    if (status == APR_SUCCESS && job->names_given && no_writes)
        overlay_groups(s, job, job->record);
    if (status == APR_SUCCESS)
        status = sse_disk_record_groups(s, job->record, now_ms, &job->groups);
    if (status == APR_SUCCESS)
        job->n_groups = job->record->n_memberships;
    return status;
}

/* ---- groups ---- */

apr_status_t sse_disk_members_list(sse_disk_t *s, sse_job_t *job, sse_str_t **out_users,
                                   size_t *out_n)
{
    int rc;
    size_t n = 0, cap = 0;
    sse_str_t *users = NULL;
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_MEMBER_USERS, "ss", job->realm, job->owner.name);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc)) {
        if (n == cap) {
            cap = cap ? 2 * cap : 16;
            users = sse_realloc(users, cap * sizeof(*users));
        }
        users[n++] = sse_arena_str(&job->arena, sse_sql_str(stmt, 0));
    }
    *out_users = users;
    *out_n = n;
    return sse_disk_fail(s, rc);
}

static int compare_strs(const void *a, const void *b)
{
    const sse_str_t *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int d = n ? memcmp(x->p, y->p, n) : 0;
    return d ? d : (x->n > y->n) - (x->n < y->n);
}

apr_status_t sse_disk_member_set(sse_disk_t *s, sse_job_t *job, sse_str_t user, bool in,
                                 int64_t now_ms)
{
    int rc =
        in ? sse_sql_run(&s->sql, SSE_SQL_MEMBER_ADD, "sssi", job->realm, user, job->owner.name,
                         (int64_t)s->seq)
           : sse_sql_run(&s->sql, SSE_SQL_MEMBER_DELETE, "sss", job->realm, user, job->owner.name);
    if (rc != SQLITE_OK)
        return sse_disk_fail(s, rc);
    return sqlite3_changes(s->sql.db) > 0
               ? sse_disk_record_tell(s, job, job->realm, USER(user), now_ms)
               : APR_SUCCESS;
}

apr_status_t sse_disk_members_change(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    apr_status_t status = APR_SUCCESS;
    if (job->names_given) {
        sse_str_t *now = NULL;
        size_t n;
        sse_str_t *wanted = sse_arena_alloc(&job->arena, (job->n_names + 1) * sizeof(*wanted));
        if (job->n_names)
            memcpy(wanted, job->names, job->n_names * sizeof(*wanted));
        qsort(wanted, job->n_names, sizeof(*wanted), compare_strs);
        status = sse_disk_members_list(s, job, &now, &n);
        for (size_t i = 0; status == APR_SUCCESS && i < n; i++)
            if (!bsearch(&now[i], wanted, job->n_names, sizeof(*wanted), compare_strs))
                status = sse_disk_member_set(s, job, now[i], false, now_ms);
        free(now);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < job->n_removed; i++)
        status = sse_disk_member_set(s, job, job->removed[i], false, now_ms);
    for (size_t i = 0; status == APR_SUCCESS && i < job->n_names; i++)
        status = sse_disk_member_set(s, job, job->names[i], true, now_ms);
    return status;
}

apr_status_t sse_disk_members(sse_disk_t *s, sse_job_t *job)
{
    sse_str_t *users = NULL;
    size_t n;
    apr_status_t status = sse_disk_members_list(s, job, &users, &n);
    if (status == APR_SUCCESS && n) {
        job->found = sse_arena_alloc(&job->arena, n * sizeof(*users));
        memcpy(job->found, users, n * sizeof(*users));
        job->n_found = n;
    }
    free(users);
    return status;
}
