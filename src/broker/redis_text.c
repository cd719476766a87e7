/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what the scripts wrote: netstrings, records, message bodies (lua/common.lua and
 * lua/publish.lua say how). No I/O, no state. */
#include "broker/redis_impl.h"
#include <stdlib.h>

#define CHANNELS_MAX 20000

bool sse_redistext_number(sse_str_t *rest, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    while (i < rest->n && i < 19 && rest->p[i] >= '0' && rest->p[i] <= '9')
        v = 10 * v + (uint64_t)(rest->p[i++] - '0');
    if (!i || i == rest->n)
        return false;
    *out = v;
    *rest = (sse_str_t){rest->p + i + 1, rest->n - i - 1};
    return true;
}

bool sse_redistext_net(sse_str_t *rest, sse_str_t *out)
{
    uint64_t n;
    sse_str_t s = *rest;
    if (!sse_redistext_number(&s, &n) || s.p[-1] != ':' || n > s.n)
        return false;
    *out = (sse_str_t){s.p, n};
    *rest = (sse_str_t){s.p + n, s.n - n};
    return true;
}

bool sse_redistext_epoch(sse_str_t hex, uint64_t *out)
{
    uint64_t v = 0;
    if (hex.n != 16)
        return false;
    for (size_t i = 0; i < 16; i++) {
        char c = hex.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = v;
    return v != 0;
}

static bool net_number(sse_str_t *rest, uint64_t *out)
{
    sse_str_t text;
    if (!sse_redistext_net(rest, &text) || text.n > 19)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        v = 10 * v + (uint64_t)(text.p[i] - '0');
    }
    *out = v;
    return text.n > 0;
}

/* ---- records ---- */

static bool read_sub(sse_str_t *rest, sse_sub_t *sub)
{
    sse_str_t event, session;
    if (!sse_redistext_net(rest, &event) || !sse_redistext_net(rest, &session) ||
        !net_number(rest, &sub->start) || !net_number(rest, &sub->session_expires) ||
        (session.n && session.n != SSE_SESSION_HASH_LEN))
        return false;
    sub->event = sse_strndup(event.p, event.n);
    if (session.n)
        memcpy(sub->session, session.p, session.n);
    return true;
}

sse_record_t *sse_redistext_record(sse_str_t realm, sse_str_t *packed)
{
    sse_str_t rest = *packed, kind, name, group;
    uint64_t blocked, n;
    if (!sse_redistext_net(&rest, &kind) || kind.n != 1 || !sse_redistext_net(&rest, &name) ||
        !net_number(&rest, &blocked) || !net_number(&rest, &n) || n > rest.n / 8)
        return NULL;
    sse_record_t *record =
        sse_record_create((sse_channel_kind_t)(unsigned char)*kind.p, realm, name, n, 0);
    record->blocked_until = blocked;
    bool good = true;
    for (size_t i = 0; good && i < n; i++)
        good = read_sub(&rest, &record->subs[i]);
    good = good && net_number(&rest, &n) && n <= rest.n / 4;
    if (good && n) {
        record->n_memberships = n;
        record->memberships = sse_calloc(n, sizeof *record->memberships);
    }
    for (size_t i = 0; good && i < record->n_memberships; i++) {
        good = sse_redistext_net(&rest, &group) && net_number(&rest, &record->memberships[i].start);
        if (good)
            record->memberships[i].group = sse_strndup(group.p, group.n);
    }
    if (!good) {
        sse_record_unref(record);
        return NULL;
    }
    *packed = rest;
    return record;
}

void sse_redistext_full_free(sse_record_t *record, sse_record_t **groups)
{
    for (size_t i = 0; groups && i < record->n_memberships; i++)
        sse_record_unref(groups[i]);
    free(groups);
    sse_record_unref(record);
}

sse_record_t *sse_redistext_full(sse_str_t realm, sse_str_t *packed, sse_record_t ***out_groups)
{
    sse_str_t rest = *packed;
    sse_record_t *record = sse_redistext_record(realm, &rest);
    if (!record)
        return NULL;
    sse_record_t **groups = NULL;
    if (record->kind == SSE_CHANNEL_USER)
        groups = sse_calloc(record->n_memberships + 1, sizeof *groups);
    for (size_t i = 0; i < record->n_memberships; i++) {
        groups[i] = sse_redistext_record(realm, &rest);
        if (!groups[i]) {
            sse_redistext_full_free(record, groups);
            return NULL;
        }
    }
    *packed = rest;
    *out_groups = groups;
    return record;
}

/* ---- messages ---- */

int sse_redistext_by_number(const void *a, const void *b)
{
    uint64_t x = (*(sse_message_t *const *)a)->pos.seq, y = (*(sse_message_t *const *)b)->pos.seq;
    return (x > y) - (x < y);
}

sse_message_t *sse_redistext_message(sse_str_t realm, sse_pos_t pos, sse_str_t body)
{
    const char *end = body.n ? memchr(body.p, '\n', body.n) : NULL;
    uint64_t raw, published, expires, event_n, data_n, sizes[64], *lengths = sizes;
    sse_str_t rest = body;
    if (!end || !sse_redistext_number(&rest, &raw) || !sse_redistext_number(&rest, &published) ||
        !sse_redistext_number(&rest, &expires) || !sse_redistext_number(&rest, &event_n) ||
        !sse_redistext_number(&rest, &data_n))
        return NULL;
    size_t n = 0;
    for (const char *p = rest.p - 1; p < end; p++)
        n += *p == ' ';
    if (n > CHANNELS_MAX)
        return NULL;
    if (n > SSE_ARRAY_LEN(sizes))
        lengths = sse_malloc(n * sizeof *lengths);
    sse_channel_t *channels = sse_malloc((n + 1) * sizeof *channels);
    bool good = true;
    for (size_t i = 0; good && i < n; i++)
        good = sse_redistext_number(&rest, &lengths[i]);
    sse_str_t bytes = {end + 1, body.n - (size_t)(end + 1 - body.p)};
    good = good && event_n <= bytes.n && data_n <= bytes.n - event_n;
    size_t at = good ? event_n + data_n : 0;
    for (size_t i = 0; good && i < n; i++) {
        good = lengths[i] >= 2 && lengths[i] <= bytes.n - at;
        if (!good)
            break;
        channels[i] = (sse_channel_t){(sse_channel_kind_t)(unsigned char)bytes.p[at],
                                      {bytes.p + at + 2, lengths[i] - 2}};
        at += lengths[i];
    }
    sse_message_t *m = NULL;
    if (good)
        m = sse_message_create(pos, realm, (sse_str_t){bytes.p, event_n},
                               (sse_str_t){bytes.p + event_n, data_n}, raw != 0, (int64_t)published,
                               (int64_t)expires, channels, n);
    free(channels);
    if (lengths != sizes)
        free(lengths);
    return m;
}
