/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of users and groups: loading it, subscriptions, blocks, cursors. Writer
 * thread, inside a transaction; loading a record also serves the reader. */
#include "broker/disk_impl.h"

#include <stdlib.h>

#define GROUP(str) ((sse_channel_t){SSE_CHANNEL_GROUP, (str)})

/* ---- loading ---- */

typedef struct sub_list_t {
    sse_sub_t *subs;
    size_t n, cap;
} sub_list_t;

static int load_subs(sse_sql_t *sql, sse_str_t realm, sse_channel_t owner, int64_t now_ms,
                     sub_list_t *out)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(sql, &rc, SSE_SQL_SUB_LIST, "sisi", realm,
                                       (int64_t)owner.kind, owner.name, now_ms / 1000);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc)) {
        if (out->n == out->cap) {
            out->cap = out->cap ? 2 * out->cap : 8;
            out->subs = sse_realloc(out->subs, out->cap * sizeof(*out->subs));
        }
        sse_sub_t *sub = &out->subs[out->n++];
        memset(sub, 0, sizeof(*sub));
        sse_str_t event = sse_sql_str(stmt, 0);
        sub->event = sse_strndup(event.p, event.n);
        sse_str_t session = sse_sql_str(stmt, 1);
        if (session.n == SSE_SESSION_HASH_LEN)
            memcpy(sub->session, session.p, session.n);
        sub->start = (uint64_t)sqlite3_column_int64(stmt, 2);
        sub->session_expires = (uint64_t)sqlite3_column_int64(stmt, 3);
    }
    return rc;
}

void sse_disk_groups_add(sse_disk_groups_t *list, sse_str_t name, uint64_t start)
{
    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 8;
        list->groups = sse_realloc(list->groups, list->cap * sizeof(*list->groups));
    }
    list->groups[list->n++] = (sse_membership_t){sse_strndup(name.p, name.n), start};
}

int sse_disk_groups_load(sse_sql_t *sql, sse_str_t realm, sse_str_t user, sse_disk_groups_t *out)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(sql, &rc, SSE_SQL_MEMBER_GROUPS, "ss", realm, user);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc))
        sse_disk_groups_add(out, sse_sql_str(stmt, 0), (uint64_t)sqlite3_column_int64(stmt, 1));
    return rc;
}

sse_record_t *sse_disk_record_load(sse_sql_t *sql, int *out_rc, sse_str_t realm,
                                   sse_channel_t owner, int64_t now_ms)
{
    sub_list_t subs = {0};
    sse_disk_groups_t groups = {0};
    uint64_t blocked = 0;
    int rc = load_subs(sql, realm, owner, now_ms, &subs);
    if (rc == SQLITE_OK && owner.kind == SSE_CHANNEL_USER)
        rc = sse_disk_groups_load(sql, realm, owner.name, &groups);
    if (rc == SQLITE_OK) {
        sqlite3_stmt *stmt = sse_sql_first(sql, &rc, SSE_SQL_OWNER_GET, "sis", realm,
                                           (int64_t)owner.kind, owner.name);
        if (stmt) {
            blocked = (uint64_t)sqlite3_column_int64(stmt, 0);
            sse_sql_done(stmt);
        }
    }
    sse_record_t *record = sse_record_create(owner.kind, realm, owner.name, 0, 0);
    record->subs = subs.subs;
    record->n_subs = subs.n;
    record->memberships = groups.groups;
    record->n_memberships = groups.n;
    record->blocked_until = blocked;
    *out_rc = rc;
    if (rc == SQLITE_OK)
        return record;
    sse_record_unref(record);
    return NULL;
}

apr_status_t sse_disk_record_groups(sse_disk_t *s, const sse_record_t *user, int64_t now_ms,
                                    sse_record_t ***out_groups)
{
    int rc = SQLITE_OK;
    size_t n = 0;
    sse_record_t **groups =
        user->n_memberships ? sse_calloc(user->n_memberships, sizeof(sse_record_t *)) : NULL;
    while (n < user->n_memberships &&
           (groups[n] = sse_disk_record_load(&s->sql, &rc, sse_str(user->realm),
                                             GROUP(sse_str(user->memberships[n].group)), now_ms)))
        n++;
    if (n == user->n_memberships) {
        *out_groups = groups;
        return APR_SUCCESS;
    }
    while (n)
        sse_record_unref(groups[--n]);
    free(groups);
    return sse_disk_fail(s, rc);
}

apr_status_t sse_disk_record_tell(sse_disk_t *s, sse_job_t *job, sse_str_t realm,
                                  sse_channel_t owner, int64_t now_ms)
{
    int rc;
    sse_record_t **groups = NULL;
    sse_record_t *record = sse_disk_record_load(&s->sql, &rc, realm, owner, now_ms);
    if (!record)
        return sse_disk_fail(s, rc);
    if (owner.kind == SSE_CHANNEL_USER) {
        apr_status_t status = sse_disk_record_groups(s, record, now_ms, &groups);
        if (status != APR_SUCCESS) {
            sse_record_unref(record);
            return status;
        }
    }
    sse_job_add_change(job, record, groups, groups ? record->n_memberships : 0);
    return APR_SUCCESS;
}

apr_status_t sse_disk_record_answer(sse_disk_t *s, sse_job_t *job, bool changed, int64_t now_ms)
{
    int rc;
    job->record = sse_disk_record_load(&s->sql, &rc, job->realm, job->owner, now_ms);
    if (!job->record)
        return sse_disk_fail(s, rc);
    return changed ? sse_disk_record_tell(s, job, job->realm, job->owner, now_ms) : APR_SUCCESS;
}

apr_status_t sse_disk_record(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    return sse_disk_record_answer(s, job, false, now_ms);
}

apr_status_t sse_disk_tell(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    return sse_disk_record_tell(s, job, job->realm, job->owner, now_ms);
}

/* ---- subscriptions ---- */

/* SQLite's status; *out_count: the owner's subscriptions of both kinds. */
static int count_subs(sse_disk_t *s, const sse_job_t *job, int64_t *out_count)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_SUB_COUNT, "sis", job->realm,
                                       (int64_t)job->owner.kind, job->owner.name);
    *out_count = 0;
    if (stmt) {
        *out_count = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    return rc;
}

/* Whether too many were added; then they are taken back. Ends the savepoint. */
static int end_near_limit(sse_disk_t *s, const sse_job_t *job, bool *out_refused)
{
    int64_t count;
    int rc = count_subs(s, job, &count);
    *out_refused = rc == SQLITE_OK && count > SSE_OWNER_SUBS_MAX;
    if (*out_refused)
        rc = sse_sql_run(&s->sql, SSE_SQL_SAVEPOINT_UNDO, "");
    return rc == SQLITE_OK ? sse_sql_run(&s->sql, SSE_SQL_SAVEPOINT_KEEP, "") : rc;
}

apr_status_t sse_disk_subscribe(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    int64_t kind = (int64_t)job->owner.kind, count, expires = 0;
    int rc = count_subs(s, job, &count);
    sqlite3_stmt *stmt;
    if (rc == SQLITE_OK && job->session.n &&
        (stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_SUB_SESSION_EXPIRES, "sb", job->realm,
                              job->session))) {
        expires = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    /* Only what is new counts, and which that is is known afterwards. */
    bool near_limit = count + (int64_t)job->n_names > SSE_OWNER_SUBS_MAX, refused = false;
    if (rc == SQLITE_OK && near_limit)
        rc = sse_sql_run(&s->sql, SSE_SQL_SAVEPOINT, "");
    bool changed = false;
    for (size_t i = 0; rc == SQLITE_OK && i < job->n_names; i++) {
        rc = sse_sql_run(&s->sql, SSE_SQL_SUB_ADD, "sissbiii", job->realm, kind, job->owner.name,
                         job->names[i], job->session, (int64_t)s->seq, expires, now_ms / 1000);
        changed |= sqlite3_changes(s->sql.db) > 0;
    }
    if (rc == SQLITE_OK && near_limit)
        rc = end_near_limit(s, job, &refused);
    if (refused && rc == SQLITE_OK)
        return APR_EINVAL;
    return rc == SQLITE_OK ? sse_disk_record_answer(s, job, changed, now_ms) : sse_disk_fail(s, rc);
}

apr_status_t sse_disk_unsubscribe(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    int rc = SQLITE_OK;
    bool changed = false;
    for (size_t i = 0; rc == SQLITE_OK && i < job->n_names; i++) {
        if (job->session.n)
            rc =
                sse_sql_run(&s->sql, SSE_SQL_SUB_DELETE_SESSION, "sissb", job->realm,
                            (int64_t)job->owner.kind, job->owner.name, job->names[i], job->session);
        else
            rc = sse_sql_run(&s->sql, SSE_SQL_SUB_DELETE, "siss", job->realm,
                             (int64_t)job->owner.kind, job->owner.name, job->names[i]);
        changed |= sqlite3_changes(s->sql.db) > 0;
    }
    return rc == SQLITE_OK ? sse_disk_record_answer(s, job, changed, now_ms) : sse_disk_fail(s, rc);
}

apr_status_t sse_disk_session_end(sse_disk_t *s, sse_job_t *job, sse_str_t realm, sse_str_t session,
                                  int64_t now_ms)
{
    int rc;
    size_t n = 0, cap = 0;
    sse_channel_t *owners = NULL;
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_SUB_SESSION_OWNERS, "sb", realm, session);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc)) {
        if (n == cap) {
            cap = cap ? 2 * cap : 4;
            owners = sse_realloc(owners, cap * sizeof(*owners));
        }
        owners[n++] = (sse_channel_t){(sse_channel_kind_t)sqlite3_column_int(stmt, 0),
                                      sse_arena_str(&job->arena, sse_sql_str(stmt, 1))};
    }
    if (rc == SQLITE_OK && n)
        rc = sse_sql_run(&s->sql, SSE_SQL_SUB_END_SESSION, "sb", realm, session);
    apr_status_t status = sse_disk_fail(s, rc);
    for (size_t i = 0; status == APR_SUCCESS && i < n; i++)
        status = sse_disk_record_tell(s, job, realm, owners[i], now_ms);
    free(owners);
    return status;
}

/* ---- blocks, cursors ---- */

apr_status_t sse_disk_disconnect(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    if (job->session.n) {
        apr_status_t status = sse_disk_session_delete(s, job->realm, job->session);
        return status == APR_SUCCESS
                   ? sse_disk_session_end(s, job, job->realm, job->session, now_ms)
                   : status;
    }
    if (!job->until)
        return APR_SUCCESS;
    int rc = sse_sql_run(&s->sql, SSE_SQL_OWNER_BLOCK, "sisi", job->realm, (int64_t)job->owner.kind,
                         job->owner.name, (int64_t)job->until);
    return rc == SQLITE_OK ? sse_disk_record_tell(s, job, job->realm, job->owner, now_ms)
                           : sse_disk_fail(s, rc);
}

apr_status_t sse_disk_cursors(sse_disk_t *s, sse_job_t *job)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < job->n_cursors; i++) {
        const sse_cursor_t *c = &job->cursors[i];
        rc = sse_sql_run(&s->sql, SSE_SQL_OWNER_CURSOR, "ssiii", job->realm, c->user,
                         (int64_t)c->last.epoch, (int64_t)c->last.seq, c->delivered_at);
    }
    return sse_disk_fail(s, rc);
}
