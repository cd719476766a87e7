/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing: keys, numbers, superseding, rows. Writer thread, inside a transaction. */
#include "broker/disk_impl.h"
#include "core/crypto.h"

#include <stdlib.h>

static int compare_channels(const void *a, const void *b)
{
    const sse_channel_t *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int d = n ? memcmp(x->name.p, y->name.p, n) : 0;
    return d ? d : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

/* A digest over strings that cannot be shifted into one another. */
static void digest_add(sse_buf_t *b, sse_str_t s)
{
    sse_buf_printf(b, "%zu:", s.n);
    sse_buf_str(b, s);
}

static void digest_end(sse_buf_t *b, unsigned char out[SSE_DIGEST_MAX])
{
    sse_str_t part = sse_buf_slice(b);
    sse_digest(SSE_SHA256, &part, 1, out);
    sse_buf_clear(b);
}

/* The addressees in an order of their own: who they are counts, not how they were listed. */
static void digest_channels(sse_buf_t *b, const sse_publish_t *item)
{
    sse_channel_t *sorted = sse_malloc((item->n_channels + 1) * sizeof(*sorted));
    if (item->n_channels)
        memcpy(sorted, item->channels, item->n_channels * sizeof(*sorted));
    qsort(sorted, item->n_channels, sizeof(*sorted), compare_channels);
    for (size_t i = 0; i < item->n_channels; i++) {
        sse_buf_char(b, (char)sorted[i].kind);
        digest_add(b, sorted[i].name);
    }
    free(sorted);
}

static void key_id(sse_str_t realm, const sse_publish_t *item, unsigned char out[SSE_DIGEST_MAX])
{
    sse_buf_t b = {0};
    digest_add(&b, realm);
    digest_add(&b, item->key);
    digest_channels(&b, item);
    digest_end(&b, out);
}

static void latest_id(sse_str_t realm, const sse_publish_t *item, unsigned char out[SSE_DIGEST_MAX])
{
    sse_buf_t b = {0};
    digest_add(&b, realm);
    digest_add(&b, item->event);
    digest_add(&b, item->replace);
    digest_channels(&b, item);
    digest_end(&b, out);
}

static void content_hash(const sse_publish_t *item, unsigned char out[SSE_DIGEST_MAX])
{
    sse_buf_t b = {0};
    digest_add(&b, item->event);
    digest_add(&b, item->data);
    digest_add(&b, item->replace);
    sse_buf_printf(&b, "%d:%u", item->raw, item->ttl);
    digest_end(&b, out);
}

static sse_str_t hash_str(const unsigned char hash[SSE_DIGEST_MAX])
{
    return (sse_str_t){(const char *)hash, 32};
}

/* Keys live as long as history is meant to, also where none is kept. */
static int64_t key_age_ms(const sse_disk_t *s)
{
    return (s->conf.history_seconds > 0 ? s->conf.history_seconds : 3600) * 1000;
}

/* APR_SUCCESS with *out_seq != 0: a repeat. */
static apr_status_t look_key_up(sse_disk_t *s, const sse_publish_t *item, sse_str_t id,
                                sse_str_t content, int64_t now_ms, uint64_t *out_seq)
{
    int rc;
    *out_seq = 0;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_IDEM_GET, "b", id);
    if (!stmt)
        return sse_disk_fail(s, rc);
    bool same = sse_str_eq(sse_sql_str(stmt, 0), content);
    uint64_t seq = (uint64_t)sqlite3_column_int64(stmt, 1);
    int64_t created = sqlite3_column_int64(stmt, 2);
    sse_sql_done(stmt);
    if (created + key_age_ms(s) <= now_ms)
        return APR_SUCCESS;
    if (!same)
        return APR_EEXIST;
    *out_seq = seq;
    return APR_SUCCESS;
}

/* Takes the earlier message of the same event, value and addressees away. */
static apr_status_t supersede(sse_disk_t *s, sse_str_t id, uint64_t seq, int64_t now_ms,
                              uint64_t *out_old)
{
    int rc;
    uint64_t old = 0;
    size_t work = 0;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_LATEST_GET, "b", id);
    if (stmt) {
        old = (uint64_t)sqlite3_column_int64(stmt, 0);
        sse_sql_done(stmt);
    }
    apr_status_t status = sse_disk_fail(s, rc);
    if (status == APR_SUCCESS && old)
        status = sse_disk_message_remove(s, old, false, now_ms, &work);
    if (status == APR_SUCCESS)
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_LATEST_SET, "bi", id, (int64_t)seq));
    *out_old = old;
    return status;
}

static apr_status_t keep(sse_disk_t *s, const sse_message_t *m, const sse_publish_t *item,
                         const unsigned char *latest)
{
    sse_buf_t targets = {0};
    sse_disk_targets_pack(item->channels, item->n_channels, &targets);
    sse_str_t id = item->replace.n ? hash_str(latest) : SSE_STR_NONE;
    int rc = sse_sql_run(&s->sql, SSE_SQL_MESSAGE_ADD, "iiiiissobb", (int64_t)m->pos.seq,
                         m->published, m->expires, (int64_t)m->raw, (int64_t)item->n_channels,
                         m->realm, m->event, id, sse_buf_slice(&targets), item->data);
    sse_buf_clear(&targets);
    for (size_t i = 0; rc == SQLITE_OK && i < item->n_channels; i++) {
        int64_t channel;
        apr_status_t status = sse_disk_channel_count(s, m->realm, item->channels[i], &channel);
        if (status != APR_SUCCESS)
            return status;
        rc = sse_sql_run(&s->sql, SSE_SQL_DELIVERY_ADD, "ii", channel, (int64_t)m->pos.seq);
    }
    return sse_disk_fail(s, rc);
}

/* Without history every message is gone for those who were not there. */
static apr_status_t keep_none(sse_disk_t *s, const sse_message_t *m, const sse_publish_t *item,
                              int64_t now_ms)
{
    for (size_t i = 0; i < item->n_channels; i++) {
        int64_t channel;
        apr_status_t status = sse_disk_channel_id(s, m->realm, item->channels[i], true, &channel);
        if (status == APR_SUCCESS)
            status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_CHANNEL_TRIMMED, "iii", channel,
                                                  (int64_t)m->pos.seq, now_ms / 1000));
        if (status != APR_SUCCESS)
            return status;
    }
    return APR_SUCCESS;
}

static apr_status_t publish_item(sse_disk_t *s, sse_job_t *job, size_t i, int64_t now_ms)
{
    const sse_publish_t *item = &job->items[i];
    unsigned char key[SSE_DIGEST_MAX], content[SSE_DIGEST_MAX], latest[SSE_DIGEST_MAX] = {0};
    apr_status_t status = APR_SUCCESS;
    if (item->key.n) {
        uint64_t first;
        key_id(job->realm, item, key);
        content_hash(item, content);
        status = look_key_up(s, item, hash_str(key), hash_str(content), now_ms, &first);
        if (status != APR_SUCCESS || first) {
            job->published[i] = (sse_published_t){{s->epoch, first}, true};
            return status;
        }
    }
    uint64_t seq = ++s->seq;
    bool history = s->conf.history_count > 0 && s->conf.history_seconds > 0;
    if (item->replace.n && history && item->n_channels) {
        latest_id(job->realm, item, latest);
        status = supersede(s, hash_str(latest), seq, now_ms, &job->superseded[i]);
    }
    sse_message_t *m = sse_message_create(
        (sse_pos_t){s->epoch, seq}, job->realm, item->event, item->data, item->raw, now_ms,
        item->ttl ? now_ms + (int64_t)item->ttl * 1000 : 0, item->channels, item->n_channels);
    job->messages[i] = m;
    job->published[i] = (sse_published_t){m->pos, false};
    if (status == APR_SUCCESS && item->n_channels)
        status = history ? keep(s, m, item, latest) : keep_none(s, m, item, now_ms);
    if (status == APR_SUCCESS && item->key.n)
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_IDEM_SET, "bbii", hash_str(key),
                                              hash_str(content), (int64_t)seq, now_ms));
    return status;
}

/* Lengths that channels' keys and packed targets are made for; looked at before anything is
 * written. */
static bool fits(const sse_job_t *job)
{
    bool ok = job->realm.n <= SSE_REALM_MAX;
    for (size_t i = 0; i < job->n_items; i++)
        for (size_t k = 0; k < job->items[i].n_channels; k++)
            ok &= job->items[i].channels[k].name.n <= SSE_GROUP_MAX;
    return ok;
}

apr_status_t sse_disk_publish(sse_disk_t *s, sse_job_t *job, int64_t now_ms)
{
    size_t n = job->n_items;
    if (!fits(job))
        return APR_EINVAL;
    job->published = sse_arena_alloc(&job->arena, n * sizeof(*job->published));
    job->messages = sse_arena_alloc(&job->arena, n * sizeof(sse_message_t *));
    job->superseded = sse_arena_alloc(&job->arena, n * sizeof(*job->superseded));
    /* Only a key can refuse an item after another one has left its mark. */
    bool undo = false;
    for (size_t i = 1; i < n; i++)
        undo |= job->items[i].key.n > 0;
    uint64_t seq = s->seq;
    apr_status_t status = APR_SUCCESS;
    if (undo)
        status = sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_SAVEPOINT, ""));
    for (size_t i = 0; status == APR_SUCCESS && i < n; i++) {
        status = publish_item(s, job, i, now_ms);
        if (status == APR_EEXIST)
            job->bad = i;
    }
    if (undo && (status == APR_SUCCESS || status == APR_EEXIST)) {
        if (status == APR_EEXIST) {
            sse_disk_channels_clear(s);
            s->seq = seq;
            int rc = sse_sql_run(&s->sql, SSE_SQL_SAVEPOINT_UNDO, "");
            if (rc != SQLITE_OK)
                return sse_disk_fail(s, rc);
        }
        int rc = sse_sql_run(&s->sql, SSE_SQL_SAVEPOINT_KEEP, "");
        if (rc != SQLITE_OK)
            return sse_disk_fail(s, rc);
    }
    return status;
}
