/* SPDX-License-Identifier: Apache-2.0 */
/* Reading history: several channels merged, cut where they are trimmed, with what is gone said.
 * Reader thread, on a read-only connection; trimming that the writer has yet to do is applied here,
 * so that answers do not depend on its pace. */
#include "broker/disk_impl.h"
#include "broker/local_hits.h"
#include "broker/local_records.h"

#include <stdlib.h>

/* Messages read before, so that a crowd coming back together is served from one rendering. */
#define CACHE_BYTES (16u * 1024 * 1024)
/* Above this count the exact cut is left to the writer's trimming: finding it would cost more than
 * it is worth. */
#define EXACT_COUNT_MAX 10000
#define PENDING_MAX 100000
#define AGE_STEP 1000

typedef struct cached_t {
    UT_hash_handle hh;
    uint64_t seq;
    sse_message_t *message;
} cached_t;

struct sse_disk_reader_t {
    sse_sql_t sql;
    sse_disk_conf_t conf;
    uint64_t epoch;
    uint64_t seq;     /* of the snapshot */
    uint64_t dropped; /* channels without a row may have lost something up to here */
    uint64_t aged;    /* everything up to here is over the age */
    cached_t *cache;  /* uthash keeps the order of insertion */
    size_t cache_bytes;
};

apr_status_t sse_disk_reader_open(const sse_disk_conf_t *conf, sse_disk_reader_t **out_reader)
{
    char path[4096];
    sse_disk_place_path(conf->dir, "", path, sizeof(path));
    sse_disk_reader_t *r = sse_calloc(1, sizeof(*r));
    r->conf = *conf;
    int rc = sqlite3_open_v2(path, &r->sql.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(r->sql.db, 5000);
        rc = sqlite3_exec(r->sql.db, "PRAGMA query_only = 1; PRAGMA cache_size = -1024", NULL, NULL,
                          NULL);
    }
    if (rc != SQLITE_OK) {
        sse_disk_reader_close(r);
        return sse_sql_status(rc);
    }
    *out_reader = r;
    return APR_SUCCESS;
}

static void cache_drop(sse_disk_reader_t *r, cached_t *c)
{
    HASH_DEL(r->cache, c);
    r->cache_bytes -= sizeof(*c) + c->message->frame.n;
    sse_message_unref(c->message);
    free(c);
}

void sse_disk_reader_close(sse_disk_reader_t *r)
{
    if (!r)
        return;
    cached_t *c, *tmp;
    HASH_ITER (hh, r->cache, c, tmp) {
        cache_drop(r, c);
    }
    sse_sql_close(&r->sql);
    free(r);
}

apr_status_t sse_disk_reader_known(sse_disk_reader_t *r, sse_job_t *job)
{
    int rc;
    job->known = sse_calloc(1, SSE_RECORDS_KNOWN_BYTES);
    sqlite3_stmt *stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_OWNER_ALL, "");
    for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc))
        sse_records_mark_in(job->known, (sse_channel_kind_t)sqlite3_column_int(stmt, 1),
                            sse_sql_str(stmt, 0), sse_sql_str(stmt, 2));
    return sse_sql_status(rc);
}

static int meta_int(sse_sql_t *sql, const char *name, uint64_t *out)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(sql, &rc, SSE_SQL_META_GET, "s", sse_str(name));
    *out = stmt ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    if (stmt)
        sse_sql_done(stmt);
    return rc;
}

/* Moves the age limit over the oldest messages, as trimming does: up to the first one that is young
 * enough. */
static int advance_age(sse_disk_reader_t *r, int64_t now_ms)
{
    int64_t limit = now_ms - r->conf.history_seconds * 1000;
    int rc = SQLITE_OK;
    for (bool go = true; go && rc == SQLITE_OK;) {
        size_t n = 0;
        sqlite3_stmt *stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_MESSAGE_AFTER, "ii",
                                           (int64_t)r->aged, (int64_t)AGE_STEP);
        for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc)) {
            if (sqlite3_column_int64(stmt, 1) > limit) {
                sse_sql_done(stmt);
                go = false;
                break;
            }
            r->aged = (uint64_t)sqlite3_column_int64(stmt, 0);
            n++;
        }
        go = go && n == AGE_STEP;
    }
    return rc;
}

static int begin(sse_disk_reader_t *r, int64_t now_ms)
{
    uint64_t epoch;
    int rc = sse_sql_run(&r->sql, SSE_SQL_BEGIN, "");
    if (rc == SQLITE_OK)
        rc = meta_int(&r->sql, "epoch", &epoch);
    if (rc == SQLITE_OK)
        rc = meta_int(&r->sql, "seq", &r->seq);
    if (rc == SQLITE_OK)
        rc = meta_int(&r->sql, "dropped", &r->dropped);
    if (rc == SQLITE_OK)
        rc = advance_age(r, now_ms);
    if (rc == SQLITE_OK)
        r->epoch = epoch;
    return rc;
}

static void end(sse_disk_reader_t *r)
{
    if (!sqlite3_get_autocommit(r->sql.db))
        sse_sql_run(&r->sql, SSE_SQL_COMMIT, "");
}

/* ---- one channel ---- */

typedef struct channel_state_t {
    int64_t id;
    uint64_t from; /* what is left begins after this */
    uint64_t gone; /* the highest number known to be gone, if it is above `after`; else 0 */
} channel_state_t;

static int64_t max_between(sse_disk_reader_t *r, int64_t id, uint64_t after, uint64_t upto, int *rc)
{
    int64_t seq = 0;
    sqlite3_stmt *stmt = sse_sql_first(&r->sql, rc, SSE_SQL_DELIVERY_ANY_BETWEEN, "iii", id,
                                       (int64_t)after, (int64_t)upto);
    if (stmt) {
        seq = sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    return seq;
}

static int look_at(sse_disk_reader_t *r, sse_str_t realm, sse_channel_t channel, uint64_t after,
                   channel_state_t *out)
{
    int rc;
    *out = (channel_state_t){0, after, 0};
    sqlite3_stmt *stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_CHANNEL_FIND, "sis", realm,
                                       (int64_t)channel.kind, channel.name);
    if (!stmt) {
        if (rc == SQLITE_OK && r->dropped > after)
            out->gone = r->dropped;
        return rc;
    }
    uint64_t trimmed = (uint64_t)sqlite3_column_int64(stmt, 1),
             forgotten = (uint64_t)sqlite3_column_int64(stmt, 2);
    out->id = sqlite3_column_int64(stmt, 0);
    sse_sql_done(stmt);
    if (trimmed > after)
        out->gone = trimmed;
    if (forgotten > after) {
        uint64_t last = (uint64_t)max_between(r, out->id, after, forgotten, &rc);
        if (last > out->gone)
            out->gone = last;
        out->from = forgotten;
    }
    if (rc == SQLITE_OK && r->aged > out->from) {
        uint64_t last = (uint64_t)max_between(r, out->id, out->from, r->aged, &rc);
        if (last > out->gone)
            out->gone = last;
        out->from = r->aged;
    }
    return rc;
}

/* Adds up to `limit` of a channel's numbers after state->from; lowers the bound if there may be
 * more. */
static int collect(sse_disk_reader_t *r, channel_state_t *state, size_t range, size_t limit,
                   sse_hits_t *hits)
{
    int rc = SQLITE_OK;
    if (!state->id)
        return rc;
    for (int attempt = 0;; attempt++) {
        size_t first = hits->n;
        sqlite3_stmt *stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_DELIVERY_AFTER, "iii", state->id,
                                           (int64_t)state->from, (int64_t)limit);
        for (bool row = stmt != NULL; row; row = sse_sql_next(stmt, &rc))
            sse_hits_add(hits, (uint64_t)sqlite3_column_int64(stmt, 0), range);
        size_t n = hits->n - first;
        bool full = n == limit;
        /* Only where there may be more than the channel keeps does the cut have to be found. */
        if (attempt == 0 && rc == SQLITE_OK && r->conf.history_count <= EXACT_COUNT_MAX &&
            (full || (int64_t)n > r->conf.history_count)) {
            uint64_t cut = 0;
            stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_DELIVERY_NTH_NEWEST, "iii", state->id,
                                 (int64_t)state->from,
                                 r->conf.history_count > 0 ? r->conf.history_count : (int64_t)0);
            if (stmt) {
                cut = (uint64_t)sqlite3_column_int64(stmt, 0);
                sse_sql_done(stmt);
            }
            if (cut) {
                hits->n = first;
                state->from = cut;
                if (cut > state->gone)
                    state->gone = cut;
                continue;
            }
        }
        if (full)
            sse_hits_cut(hits);
        return rc;
    }
}

/* ---- messages ---- */

static sse_message_t *from_row(sse_disk_reader_t *r, sqlite3_stmt *stmt, uint64_t seq)
{
    sse_str_t packed = sse_sql_str(stmt, 5), rest = packed;
    sse_channel_t channel;
    size_t n = 0;
    while (sse_disk_targets_next(&rest, &channel))
        n++;
    sse_channel_t *channels = sse_malloc((n + 1) * sizeof(*channels));
    for (size_t i = 0; i < n; i++)
        sse_disk_targets_next(&packed, &channels[i]);
    sse_message_t *m = sse_message_create(
        (sse_pos_t){r->epoch, seq}, sse_sql_str(stmt, 3), sse_sql_str(stmt, 4),
        sse_sql_str(stmt, 6), sqlite3_column_int(stmt, 2) != 0, sqlite3_column_int64(stmt, 0),
        sqlite3_column_int64(stmt, 1), channels, n);
    free(channels);
    return m;
}

static apr_status_t get_message(void *baton, uint64_t seq, sse_message_t **out_message)
{
    sse_disk_reader_t *r = baton;
    cached_t *c;
    HASH_FIND(hh, r->cache, &seq, sizeof(seq), c);
    if (c) {
        *out_message = sse_message_ref(c->message);
        return APR_SUCCESS;
    }
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_MESSAGE_GET, "i", (int64_t)seq);
    if (!stmt)
        return rc == SQLITE_OK ? APR_NOTFOUND : sse_sql_status(rc);
    sse_message_t *m = from_row(r, stmt, seq);
    sse_sql_done(stmt);
    c = sse_calloc(1, sizeof(*c));
    c->seq = seq;
    c->message = sse_message_ref(m);
    HASH_ADD(hh, r->cache, seq, sizeof(c->seq), c);
    r->cache_bytes += sizeof(*c) + m->frame.n;
    while (r->cache_bytes > CACHE_BYTES && r->cache != c)
        cache_drop(r, r->cache);
    *out_message = m;
    return APR_SUCCESS;
}

static int find_hits(sse_disk_reader_t *r, sse_job_t *job, uint64_t done, sse_hits_t *hits)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < job->n_ranges; i++) {
        channel_state_t state;
        uint64_t after = job->ranges[i].after > done ? job->ranges[i].after : done;
        rc = look_at(r, job->realm, job->ranges[i].channel, after, &state);
        if (rc == SQLITE_OK)
            rc = collect(r, &state, i, job->max_messages + 1, hits);
        if (state.gone)
            sse_hits_gap(job, i, state.gone);
    }
    return rc;
}

apr_status_t sse_disk_reader_history(sse_disk_reader_t *r, sse_job_t *job, int64_t now_ms)
{
    sse_hits_t hits = {0};
    uint64_t done = 0;
    apr_status_t status = sse_sql_status(begin(r, now_ms));
    job->gaps = sse_arena_alloc(&job->arena, job->n_ranges * sizeof(*job->gaps) + 1);
    job->messages = sse_arena_alloc(&job->arena, job->max_messages * sizeof(sse_message_t *));
    /* More than one round only where a whole limit of messages is past its ttl. */
    for (bool again = true; again && status == APR_SUCCESS;) {
        hits.n = 0;
        hits.bound = UINT64_MAX;
        status = sse_sql_status(find_hits(r, job, done, &hits));
        if (status == APR_SUCCESS)
            status = sse_hits_load(&hits, job, now_ms, get_message, r, &done);
        again = !job->more && hits.bound != UINT64_MAX;
        if (again && job->n_messages) {
            job->more = true;
            again = false;
        }
    }
    sse_hits_clear(&hits);
    job->pos = (sse_pos_t){r->epoch, r->seq};
    end(r);
    return status;
}

/* ---- tracking ---- */

static int add_pending(sse_disk_reader_t *r, sse_str_t realm, sse_channel_t channel, uint64_t after,
                       sse_hits_t *hits)
{
    channel_state_t state;
    int rc = look_at(r, realm, channel, after, &state);
    return rc == SQLITE_OK && hits->n < PENDING_MAX ? collect(r, &state, 0, PENDING_MAX, hits) : rc;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int add_group_pending(sse_disk_reader_t *r, sse_str_t realm, const sse_membership_t *in,
                             uint64_t after, int64_t now_ms, sse_hits_t *hits)
{
    int rc;
    sse_channel_t group = {SSE_CHANNEL_GROUP, sse_str(in->group)};
    sse_record_t *record = sse_disk_record_load(&r->sql, &rc, realm, group, now_ms);
    if (!record)
        return rc;
    after = later(after, in->start);
    rc = add_pending(r, realm, group, after, hits);
    for (size_t i = 0; rc == SQLITE_OK && i < record->n_subs; i++)
        rc = add_pending(r, realm,
                         (sse_channel_t){SSE_CHANNEL_EVENT, sse_str(record->subs[i].event)},
                         later(after, record->subs[i].start), hits);
    sse_record_unref(record);
    return rc;
}

static int read_tracking(sse_disk_reader_t *r, sse_job_t *job, int64_t now_ms)
{
    sse_hits_t hits = {.bound = UINT64_MAX};
    int rc = begin(r, now_ms);
    sse_record_t *record =
        rc == SQLITE_OK ? sse_disk_record_load(&r->sql, &rc, job->realm, job->owner, now_ms) : NULL;
    if (!record)
        return rc;
    sse_tracking_t track = {0};
    sqlite3_stmt *stmt = sse_sql_first(&r->sql, &rc, SSE_SQL_OWNER_GET, "sis", job->realm,
                                       (int64_t)SSE_CHANNEL_USER, job->owner.name);
    if (stmt) {
        track.last.epoch = (uint64_t)sqlite3_column_int64(stmt, 1);
        track.last.seq = (uint64_t)sqlite3_column_int64(stmt, 2);
        track.delivered_at = sqlite3_column_int64(stmt, 3);
        sse_sql_done(stmt);
    }
    /* Numbers go on growing over a change of epoch, so an older cursor still bounds what was
     * delivered. */
    uint64_t after = track.last.seq;
    if (rc == SQLITE_OK)
        rc = add_pending(r, job->realm, job->owner, after, &hits);
    for (size_t i = 0; rc == SQLITE_OK && i < record->n_subs; i++)
        rc = add_pending(r, job->realm,
                         (sse_channel_t){SSE_CHANNEL_EVENT, sse_str(record->subs[i].event)},
                         later(after, record->subs[i].start), &hits);
    for (size_t i = 0; rc == SQLITE_OK && i < record->n_memberships; i++)
        rc = add_group_pending(r, job->realm, &record->memberships[i], after, now_ms, &hits);
    sse_hits_sort(&hits);
    track.pending = sse_hits_count(&hits);
    sse_hits_clear(&hits);
    sse_record_unref(record);
    job->track = track;
    return rc;
}

apr_status_t sse_disk_reader_tracking(sse_disk_reader_t *r, sse_job_t *job, int64_t now_ms)
{
    int rc = read_tracking(r, job, now_ms);
    end(r);
    return sse_sql_status(rc);
}
