/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of users and groups: subscriptions, memberships, blocks, cursors. Writer
 * thread, inside a transaction; loading a record also serves the reader. */
#include "broker/disk_impl.h"

#include <stdlib.h>

#define GROUP(str) ((sse_channel_t){SSE_CHANNEL_GROUP, (str)})
#define USER(str) ((sse_channel_t){SSE_CHANNEL_USER, (str)})

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

typedef struct group_list_t {
    sse_membership_t *groups;
    size_t n, cap;
} group_list_t;

static void add_group(group_list_t *list, sse_str_t name, uint64_t start)
{
    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 8;
        list->groups = sse_realloc(list->groups, list->cap * sizeof(*list->groups));
    }
    list->groups[list->n++] = (sse_membership_t){sse_strndup(name.p, name.n), start};
}

static int load_groups_of(sse_sql_t *sql, sse_str_t realm, sse_str_t user, group_list_t *out)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(sql, &rc, SSE_SQL_MEMBER_GROUPS, "ss", realm, user);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc))
        add_group(out, sse_sql_str(stmt, 0), (uint64_t)sqlite3_column_int64(stmt, 1));
    return rc;
}

sse_record_t *sse_disk_record_load(sse_sql_t *sql, int *out_rc, sse_str_t realm,
                                   sse_channel_t owner, int64_t now_ms)
{
    sub_list_t subs = {0};
    group_list_t groups = {0};
    uint64_t blocked = 0;
    int rc = load_subs(sql, realm, owner, now_ms, &subs);
    if (rc == SQLITE_OK && owner.kind == SSE_CHANNEL_USER)
        rc = load_groups_of(sql, realm, owner.name, &groups);
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

/* The records of a user's groups, in the order of its memberships; *out_groups is on malloc, NULL
 * if there are none. */
static apr_status_t load_group_records(sse_disk_t *s, const sse_record_t *user, int64_t now_ms,
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

/* Puts the record as it is now into the job, as a change to tell. */
static apr_status_t tell(sse_disk_t *s, sse_job_t *job, sse_str_t realm, sse_channel_t owner,
                         int64_t now_ms)
{
    int rc;
    sse_record_t **groups = NULL;
    sse_record_t *record = sse_disk_record_load(&s->sql, &rc, realm, owner, now_ms);
    if (!record)
        return sse_disk_fail(s, rc);
    if (owner.kind == SSE_CHANNEL_USER) {
        apr_status_t status = load_group_records(s, record, now_ms, &groups);
        if (status != APR_SUCCESS) {
            sse_record_unref(record);
            return status;
        }
    }
    sse_job_add_change(job, record, groups, groups ? record->n_memberships : 0);
    return APR_SUCCESS;
}

/* The job's own record as a result, and as a change if it is one. */
static apr_status_t answer(sse_disk_t *s, sse_job_t *job, bool changed, int64_t now_ms)
{
    int rc;
    job->record = sse_disk_record_load(&s->sql, &rc, job->realm, job->owner, now_ms);
    if (!job->record)
        return sse_disk_fail(s, rc);
    return changed ? tell(s, job, job->realm, job->owner, now_ms) : APR_SUCCESS;
}

apr_status_t sse_disk_record(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    return answer(s, job, false, now_ms);
}

/* ---- subscriptions ---- */

apr_status_t sse_disk_subscribe(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    int rc;
    int64_t kind = (int64_t)job->owner.kind, count = 0, expires = 0;
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_SUB_COUNT, "sis", job->realm, kind, job->owner.name);
    if (stmt) {
        count = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    if (rc == SQLITE_OK && job->session.n &&
        (stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_SUB_SESSION_EXPIRES, "sb", job->realm,
                              job->session))) {
        expires = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    if (rc != SQLITE_OK)
        return sse_disk_fail(s, rc);
    /* The caller takes the transaction back for every failure that leaves a trace, so the limit is
     * looked at beforehand. */
    if (count + (int64_t)job->n_names > SSE_OWNER_SUBS_MAX)
        return APR_EINVAL;
    bool changed = false;
    for (size_t i = 0; rc == SQLITE_OK && i < job->n_names; i++) {
        rc = sse_sql_run(&s->sql, SSE_SQL_SUB_ADD, "sissbiii", job->realm, kind, job->owner.name,
                         job->names[i], job->session, (int64_t)s->seq, expires, now_ms / 1000);
        changed |= sqlite3_changes(s->sql.db) > 0;
    }
    return rc == SQLITE_OK ? answer(s, job, changed, now_ms) : sse_disk_fail(s, rc);
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
    return rc == SQLITE_OK ? answer(s, job, changed, now_ms) : sse_disk_fail(s, rc);
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
        status = tell(s, job, realm, owners[i], now_ms);
    free(owners);
    return status;
}

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
    group_list_t now = {0};
    int rc = load_groups_of(&s->sql, job->realm, job->owner.name, &now);
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
                             job->names[i], (int64_t)s->seq);
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
    group_list_t list = {0};
    for (size_t i = 0; i < job->n_names; i++) {
        uint64_t start = s->seq;
        if (listed(job->names, i, job->names[i]))
            continue;
        for (size_t j = 0; j < record->n_memberships; j++)
            if (sse_str_eq(sse_str(record->memberships[j].group), job->names[i]))
                start = record->memberships[j].start;
        add_group(&list, job->names[i], start);
    }
    for (size_t i = 0; i < record->n_memberships; i++)
        free(record->memberships[i].group);
    free(record->memberships);
    record->memberships = list.groups;
    record->n_memberships = list.n;
}

apr_status_t sse_disk_connect(sse_disk_t *s, sse_job_t *job, int64_t now_ms, bool no_writes)
{
    if (!job->owner.name.n)
        return APR_SUCCESS;
    bool changed = false;
    apr_status_t status = APR_SUCCESS;
    if (job->names_given && !no_writes)
        status = set_groups(s, job, &changed);
    if (status == APR_SUCCESS && job->session.n && job->session_expires && !no_writes)
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_SUB_REFRESH, "sbsii", job->realm,
                                              job->session, job->owner.name,
                                              (int64_t)job->session_expires, now_ms / 1000));
    if (status == APR_SUCCESS)
        status = answer(s, job, changed, now_ms);
    if (status == APR_SUCCESS && job->names_given && no_writes)
        overlay_groups(s, job, job->record);
    if (status == APR_SUCCESS)
        status = load_group_records(s, job->record, now_ms, &job->groups);
    if (status == APR_SUCCESS)
        job->n_groups = job->record->n_memberships;
    return status;
}

/* ---- groups ---- */

static apr_status_t load_members(sse_disk_t *s, sse_job_t *job, sse_str_t **out_users,
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

/* Takes a user out of or into the group; tells its record if that changed anything. */
static apr_status_t member_set(sse_disk_t *s, sse_job_t *job, sse_str_t user, bool in,
                               int64_t now_ms)
{
    int rc =
        in ? sse_sql_run(&s->sql, SSE_SQL_MEMBER_ADD, "sssi", job->realm, user, job->owner.name,
                         (int64_t)s->seq)
           : sse_sql_run(&s->sql, SSE_SQL_MEMBER_DELETE, "sss", job->realm, user, job->owner.name);
    if (rc != SQLITE_OK)
        return sse_disk_fail(s, rc);
    return sqlite3_changes(s->sql.db) > 0 ? tell(s, job, job->realm, USER(user), now_ms)
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
        status = load_members(s, job, &now, &n);
        for (size_t i = 0; status == APR_SUCCESS && i < n; i++)
            if (!bsearch(&now[i], wanted, job->n_names, sizeof(*wanted), compare_strs))
                status = member_set(s, job, now[i], false, now_ms);
        free(now);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < job->n_removed; i++)
        status = member_set(s, job, job->removed[i], false, now_ms);
    for (size_t i = 0; status == APR_SUCCESS && i < job->n_names; i++)
        status = member_set(s, job, job->names[i], true, now_ms);
    return status;
}

apr_status_t sse_disk_members(sse_disk_t *s, sse_job_t *job)
{
    sse_str_t *users = NULL;
    size_t n;
    apr_status_t status = load_members(s, job, &users, &n);
    if (status == APR_SUCCESS && n) {
        job->found = sse_arena_alloc(&job->arena, n * sizeof(*users));
        memcpy(job->found, users, n * sizeof(*users));
        job->n_found = n;
    }
    free(users);
    return status;
}

/* ---- blocks, cursors ---- */

apr_status_t sse_disk_disconnect(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    if (job->session.n)
        return sse_disk_session_end(s, job, job->realm, job->session, now_ms);
    if (!job->until)
        return APR_SUCCESS;
    int rc = sse_sql_run(&s->sql, SSE_SQL_OWNER_BLOCK, "sisi", job->realm, (int64_t)job->owner.kind,
                         job->owner.name, (int64_t)job->until);
    return rc == SQLITE_OK ? tell(s, job, job->realm, job->owner, now_ms) : sse_disk_fail(s, rc);
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

/* ---- forgetting ---- */

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
    } else {
        sse_str_t *users = NULL;
        size_t n;
        status = load_members(s, job, &users, &n);
        for (size_t i = 0; status == APR_SUCCESS && i < n; i++)
            status = member_set(s, job, users[i], false, now_ms);
        free(users);
    }
    return status == APR_SUCCESS ? tell(s, job, job->realm, job->owner, now_ms) : status;
}
