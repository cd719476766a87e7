/* SPDX-License-Identifier: Apache-2.0 */
/* Taking messages away: superseded ones at once, those over count, age or ttl and forgotten ones in
 * the background, a bounded piece at a time. Readers do not wait for it: they apply the same limits
 * themselves. Writer thread, inside a transaction. */
#include "broker/disk_impl.h"

#include <stdlib.h>

#define CHANNEL_IDLE_SECONDS (30 * 86400)
#define SWEEP_CHANNELS 200
#define SWEEP_PAUSE_MS 3600000
#define EXPIRE_SUBS 100
#define SESSIONS_AT_ONCE 1000

static int drop_message(sse_disk_t *s, uint64_t seq, int64_t max_refs, bool *out_dropped)
{
    int rc;
    unsigned char id[64];
    size_t id_n = 0;
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_MESSAGE_DELETE, "ii", (int64_t)seq, max_refs);
    *out_dropped = stmt != NULL;
    if (stmt) {
        sse_str_t latest = sse_sql_str(stmt, 0);
        id_n = latest.n <= sizeof(id) ? latest.n : 0;
        memcpy(id, latest.p, id_n);
        sse_sql_done(stmt);
    }
    if (rc == SQLITE_OK && id_n)
        rc = sse_sql_run(&s->sql, SSE_SQL_LATEST_DELETE, "bi", (sse_str_t){(const char *)id, id_n},
                         (int64_t)seq);
    return rc;
}

/* Takes it out of one channel, and altogether if that was the last. */
static apr_status_t release(sse_disk_t *s, int64_t channel, uint64_t seq)
{
    bool dropped = false;
    int rc = sse_sql_run(&s->sql, SSE_SQL_DELIVERY_DELETE, "ii", channel, (int64_t)seq);
    if (rc == SQLITE_OK)
        rc = drop_message(s, seq, 1, &dropped);
    if (rc == SQLITE_OK && !dropped)
        rc = sse_sql_run(&s->sql, SSE_SQL_MESSAGE_RELEASE, "i", (int64_t)seq);
    return sse_disk_fail(s, rc);
}

apr_status_t sse_disk_message_remove(sse_disk_t *s, uint64_t seq, bool gone, int64_t now_ms,
                                     size_t *work)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_MESSAGE_TARGETS, "i", (int64_t)seq);
    if (!stmt)
        return sse_disk_fail(s, rc);
    sse_buf_t copy = {0};
    sse_str_t realm = sse_sql_str(stmt, 0);
    size_t realm_n = realm.n;
    sse_buf_str(&copy, realm);
    sse_buf_str(&copy, sse_sql_str(stmt, 1));
    sse_sql_done(stmt);
    realm = (sse_str_t){copy.p, realm_n};
    sse_str_t packed = {copy.p + realm_n, copy.n - realm_n};
    sse_channel_t channel;
    apr_status_t status = APR_SUCCESS;
    while (status == APR_SUCCESS && sse_disk_targets_next(&packed, &channel)) {
        int64_t id;
        ++*work;
        status = sse_disk_channel_id(s, realm, channel, false, &id);
        if (status != APR_SUCCESS || !id)
            continue;
        rc = sse_sql_run(&s->sql, SSE_SQL_DELIVERY_DELETE, "ii", id, (int64_t)seq);
        /* A channel that had let go of it already is none the worse for it: it was trimmed there.
         */
        if (rc == SQLITE_OK && gone)
            rc = sse_sql_run(&s->sql, SSE_SQL_CHANNEL_TRIMMED, "iii", id, (int64_t)seq,
                             now_ms / 1000);
        status = sse_disk_fail(s, rc);
    }
    sse_buf_clear(&copy);
    bool dropped;
    return status == APR_SUCCESS ? sse_disk_fail(s, drop_message(s, seq, INT64_MAX, &dropped))
                                 : status;
}

/* Up to `max` sequence numbers from a statement whose first column they are. */
static size_t collect(sqlite3_stmt *stmt, uint64_t *seqs, size_t max, int *rc)
{
    size_t n = 0;
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, rc)) {
        seqs[n++] = (uint64_t)sqlite3_column_int64(stmt, 0);
        if (n == max) {
            sse_sql_done(stmt);
            break;
        }
    }
    return n;
}

/* One channel's count and what was forgotten of it. *out_done: nothing is over any more. */
static apr_status_t trim_channel(sse_disk_t *s, int64_t id, uint64_t *seqs, size_t budget,
                                 int64_t now_ms, size_t *out_n)
{
    int rc;
    int64_t cut = 0, forgotten = 0;
    *out_n = 0;
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_DELIVERY_NTH_NEWEST, "iii", id, (int64_t)0,
                      s->conf.history_count > 0 ? s->conf.history_count : (int64_t)0);
    if (stmt) {
        cut = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    if (rc == SQLITE_OK &&
        (stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_CHANNEL_FORGOTTEN_GET, "i", id))) {
        forgotten = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    if (rc != SQLITE_OK)
        return sse_disk_fail(s, rc);
    if (cut < forgotten)
        cut = forgotten;
    if (cut > 0) {
        stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_DELIVERY_UPTO, "iii", id, cut, (int64_t)budget);
        *out_n = collect(stmt, seqs, budget, &rc);
    }
    apr_status_t status = sse_disk_fail(s, rc);
    for (size_t i = 0; status == APR_SUCCESS && i < *out_n; i++)
        status = release(s, id, seqs[i]);
    if (status == APR_SUCCESS && *out_n)
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_CHANNEL_TRIMMED, "iii", id,
                                              (int64_t)seqs[*out_n - 1], now_ms / 1000));
    /* Whoever was forgotten leaves no row behind. */
    if (status == APR_SUCCESS && forgotten && *out_n < budget) {
        int changed = sqlite3_total_changes(s->sql.db);
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_CHANNEL_DROP, "i", id));
        if (sqlite3_total_changes(s->sql.db) != changed)
            sse_disk_channels_clear(s);
    }
    return status;
}

static apr_status_t trim_counts(sse_disk_t *s, uint64_t *seqs, size_t *budget, int64_t now_ms)
{
    while (s->dirty_n && *budget) {
        size_t n;
        int64_t id = s->dirty[s->dirty_head];
        apr_status_t status = trim_channel(s, id, seqs, *budget, now_ms, &n);
        if (status != APR_SUCCESS)
            return status;
        if (n == *budget) { /* more of it next time */
            *budget = 0;
            return APR_SUCCESS;
        }
        s->dirty_head = (s->dirty_head + 1) & (s->dirty_cap - 1);
        s->dirty_n--;
        /* Looking at a channel is work, too. */
        *budget -= n + 1 < *budget ? n + 1 : *budget;
    }
    return APR_SUCCESS;
}

/* Removes messages until the budget is spent; true through *budget 0 that more may be left. */
static apr_status_t remove_all(sse_disk_t *s, const uint64_t *seqs, size_t n, size_t *budget,
                               int64_t now_ms)
{
    apr_status_t status = APR_SUCCESS;
    for (size_t i = 0; status == APR_SUCCESS && i < n && *budget; i++) {
        size_t work = 1;
        status = sse_disk_message_remove(s, seqs[i], true, now_ms, &work);
        *budget -= work < *budget ? work : *budget;
    }
    return status;
}

static apr_status_t trim_age(sse_disk_t *s, uint64_t *seqs, size_t *budget, int64_t now_ms)
{
    int rc;
    int64_t limit = now_ms - s->conf.history_seconds * 1000;
    size_t n = 0;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_MESSAGE_OLDEST, "i", (int64_t)*budget);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc)) {
        if (sqlite3_column_int64(stmt, 1) > limit) {
            sse_sql_done(stmt);
            break;
        }
        seqs[n++] = (uint64_t)sqlite3_column_int64(stmt, 0);
    }
    apr_status_t status = sse_disk_fail(s, rc);
    return status == APR_SUCCESS ? remove_all(s, seqs, n, budget, now_ms) : status;
}

static apr_status_t trim_ttl(sse_disk_t *s, uint64_t *seqs, size_t *budget, int64_t now_ms)
{
    int rc;
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_MESSAGE_EXPIRED, "ii", now_ms, (int64_t)*budget);
    size_t n = collect(stmt, seqs, *budget, &rc);
    apr_status_t status = sse_disk_fail(s, rc);
    return status == APR_SUCCESS ? remove_all(s, seqs, n, budget, now_ms) : status;
}

static apr_status_t trim_keys(sse_disk_t *s, size_t *budget, int64_t now_ms)
{
    int64_t age = (s->conf.history_seconds > 0 ? s->conf.history_seconds : 3600) * 1000;
    int64_t before = sqlite3_total_changes64(s->sql.db);
    int rc = sse_sql_run(&s->sql, SSE_SQL_IDEM_PURGE, "ii", now_ms - age, (int64_t)*budget);
    *budget -= (size_t)(sqlite3_total_changes64(s->sql.db) - before);
    return sse_disk_fail(s, rc);
}

apr_status_t sse_disk_trim(sse_disk_t *s, size_t budget, int64_t now_ms, bool *out_more)
{
    uint64_t *seqs = sse_malloc((budget + 1) * sizeof(*seqs));
    apr_status_t status = trim_counts(s, seqs, &budget, now_ms);
    if (status == APR_SUCCESS && budget)
        status = trim_age(s, seqs, &budget, now_ms);
    if (status == APR_SUCCESS && budget)
        status = trim_ttl(s, seqs, &budget, now_ms);
    if (status == APR_SUCCESS && budget)
        status = trim_keys(s, &budget, now_ms);
    free(seqs);
    *out_more = budget == 0;
    return status;
}

/* ---- housekeeping ---- */

/* Walks all channels from time to time: a smaller SSEHistory meets the channels that are silent
 * now, and rows of channels that nobody has used for long go. What is known of their gaps is kept
 * in one number for all. */
static apr_status_t sweep(sse_disk_t *s, int64_t now_ms)
{
    if (s->swept == 0 && now_ms < s->next_sweep_ms)
        return APR_SUCCESS;
    int rc;
    uint64_t ids[SWEEP_CHANNELS];
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_CHANNEL_NEXT, "ii", s->swept, (int64_t)SWEEP_CHANNELS);
    size_t n = collect(stmt, ids, SWEEP_CHANNELS, &rc);
    int64_t lost = 0;
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) {
        stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_CHANNEL_DROP_OLD, "ii", (int64_t)ids[i],
                             now_ms / 1000 - CHANNEL_IDLE_SECONDS);
        if (stmt) {
            if (sqlite3_column_int64(stmt, 0) > lost)
                lost = sqlite3_column_int64(stmt, 0);
            sse_sql_done(stmt);
            sse_disk_channels_clear(s);
        } else {
            sse_disk_dirty_push(s, (int64_t)ids[i]);
        }
    }
    if (rc == SQLITE_OK && lost)
        rc = sse_sql_run(&s->sql, SSE_SQL_META_RAISE, "si", SSE_STR("dropped"), lost);
    s->swept = n == SWEEP_CHANNELS ? (int64_t)ids[n - 1] : 0;
    if (!s->swept)
        s->next_sweep_ms = now_ms + SWEEP_PAUSE_MS;
    return sse_disk_fail(s, rc);
}

static apr_status_t expire_subs(sse_disk_t *s, sse_job_t *job, int64_t now_ms, bool *out_more)
{
    int rc;
    size_t n = 0;
    sse_str_t realms[EXPIRE_SUBS], sessions[EXPIRE_SUBS];
    sqlite3_stmt *stmt =
        sse_sql_first(&s->sql, &rc, SSE_SQL_SUB_EXPIRED, "ii", now_ms / 1000, (int64_t)EXPIRE_SUBS);
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc)) {
        realms[n] = sse_arena_str(&job->arena, sse_sql_str(stmt, 0));
        sessions[n++] = sse_arena_str(&job->arena, sse_sql_str(stmt, 1));
        if (n == EXPIRE_SUBS) {
            sse_sql_done(stmt);
            break;
        }
    }
    apr_status_t status = sse_disk_fail(s, rc);
    for (size_t i = 0; status == APR_SUCCESS && i < n; i++)
        status = sse_disk_session_end(s, job, realms[i], sessions[i], now_ms);
    *out_more = n == EXPIRE_SUBS;
    return status;
}

apr_status_t sse_disk_expire(sse_disk_t *s, sse_job_t *job, int64_t now_ms, bool *out_more)
{
    apr_status_t status = expire_subs(s, job, now_ms, out_more);
    if (status == APR_SUCCESS)
        status = sse_disk_session_expire(s, now_ms, SESSIONS_AT_ONCE);
    if (status == APR_SUCCESS)
        status = sweep(s, now_ms);
    *out_more |= s->swept != 0;
    return status;
}
