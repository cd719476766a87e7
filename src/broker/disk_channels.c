/* SPDX-License-Identifier: Apache-2.0 */
/* Which row a channel is, which channels wait to be trimmed, and how a message's targets are
 * packed. Writer thread; the unpacking also serves the reader. */
#include "broker/disk_impl.h"

#include <stdlib.h>

#define CHANNELS_MAX 65536

/* Messages between two trimmings of a channel: a fraction of what it keeps, so that the walk to the
 * cut is spread. */
static uint32_t slack(const sse_disk_t *s)
{
    int64_t n = s->conf.history_count / 8;
    return n < 16 ? 16 : n > 4096 ? 4096 : (uint32_t)n;
}

void sse_disk_dirty_push(sse_disk_t *s, int64_t id)
{
    if (s->dirty_n == s->dirty_cap) {
        size_t cap = s->dirty_cap ? 2 * s->dirty_cap : 64;
        int64_t *ring = sse_malloc(cap * sizeof(*ring));
        for (size_t i = 0; i < s->dirty_n; i++)
            ring[i] = s->dirty[(s->dirty_head + i) & (s->dirty_cap - 1)];
        free(s->dirty);
        s->dirty = ring;
        s->dirty_cap = cap;
        s->dirty_head = 0;
    }
    s->dirty[(s->dirty_head + s->dirty_n++) & (s->dirty_cap - 1)] = id;
}

void sse_disk_channels_clear(sse_disk_t *s)
{
    sse_disk_channel_t *c, *tmp;
    HASH_ITER (hh, s->channels, c, tmp) {
        HASH_DEL(s->channels, c);
        if (c->since)
            sse_disk_dirty_push(s, c->id);
        free(c);
    }
}

static apr_status_t find(sse_disk_t *s, sse_str_t realm, sse_channel_t channel, bool add,
                         sse_disk_channel_t **out)
{
    char key[1 + SSE_REALM_MAX + 1 + SSE_GROUP_MAX];
    size_t key_n = 1 + realm.n + 1 + channel.name.n;
    *out = NULL;
    if (key_n > sizeof(key))
        return APR_EINVAL;
    key[0] = (char)channel.kind;
    memcpy(key + 1, realm.p, realm.n);
    key[1 + realm.n] = '\0';
    if (channel.name.n)
        memcpy(key + 2 + realm.n, channel.name.p, channel.name.n);
    sse_disk_channel_t *c;
    HASH_FIND(hh, s->channels, key, key_n, c);
    if (!c) {
        int rc;
        int64_t id = 0;
        sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_CHANNEL_FIND, "sis", realm,
                                           (int64_t)channel.kind, channel.name);
        if (stmt) {
            id = sqlite3_column_int64(stmt, 0);
            sse_sql_done(stmt);
        } else if (rc == SQLITE_OK && add) {
            rc = sse_sql_run(&s->sql, SSE_SQL_CHANNEL_ADD, "sis", realm, (int64_t)channel.kind,
                             channel.name);
            id = sqlite3_last_insert_rowid(s->sql.db);
        }
        if (rc != SQLITE_OK)
            return sse_disk_fail(s, rc);
        if (!id)
            return APR_SUCCESS;
        if (HASH_COUNT(s->channels) >= CHANNELS_MAX)
            sse_disk_channels_clear(s);
        c = sse_calloc(1, sizeof(*c) + key_n);
        c->id = id;
        c->key_n = key_n;
        memcpy(c->key, key, key_n);
        HASH_ADD_KEYPTR(hh, s->channels, c->key, c->key_n, c);
    }
    *out = c;
    return APR_SUCCESS;
}

apr_status_t sse_disk_channel_id(sse_disk_t *s, sse_str_t realm, sse_channel_t channel, bool add,
                                 int64_t *out_id)
{
    sse_disk_channel_t *c;
    apr_status_t status = find(s, realm, channel, add, &c);
    if (status == APR_SUCCESS)
        *out_id = c ? c->id : 0;
    return status;
}

apr_status_t sse_disk_channel_count(sse_disk_t *s, sse_str_t realm, sse_channel_t channel,
                                    int64_t *out_id)
{
    sse_disk_channel_t *c;
    apr_status_t status = find(s, realm, channel, true, &c);
    if (status != APR_SUCCESS)
        return status;
    *out_id = c->id;
    if (++c->since >= slack(s)) {
        c->since = 0;
        sse_disk_dirty_push(s, c->id);
    }
    return APR_SUCCESS;
}

void sse_disk_targets_pack(const sse_channel_t *channels, size_t n, sse_buf_t *out)
{
    for (size_t i = 0; i < n; i++) {
        sse_buf_char(out, (char)channels[i].kind);
        sse_buf_char(out, (char)(channels[i].name.n & 0xff));
        sse_buf_char(out, (char)(channels[i].name.n >> 8));
        sse_buf_str(out, channels[i].name);
    }
}

bool sse_disk_targets_next(sse_str_t *packed, sse_channel_t *out_channel)
{
    if (packed->n < 3)
        return false;
    const unsigned char *p = (const unsigned char *)packed->p;
    size_t n = p[1] | (size_t)p[2] << 8;
    if (packed->n - 3 < n)
        return false;
    *out_channel = (sse_channel_t){p[0], {packed->p + 3, n}};
    packed->p += 3 + n;
    packed->n -= 3 + n;
    return true;
}
