/* SPDX-License-Identifier: Apache-2.0 */
/* A realm as this hub knows it: its epoch and numbers, the channels of interest, and the messages
 * and changes that come by them. */
#include "broker/redis_impl.h"

#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

#define PRUNE_AT 1024

/* ---- the table ---- */

sse_redisrealm_t *sse_redisrealm_get(sse_redis_t *redis, sse_str_t name, bool add)
{
    sse_redisrealm_t *realm;
    HASH_FIND(hh, redis->realms, name.p, name.n, realm);
    if (realm || !add)
        return realm;
    realm = sse_calloc(1, sizeof *realm);
    realm->redis = redis;
    realm->term = 1;
    realm->slot = sse_rediscluster_slot(name);
    realm->node = sse_rediscluster_place(redis, realm->slot);
    if (!realm->node)
        realm->node = redis->nodes[0];
    realm->name = sse_strndup(name.p, name.n);
    size_t n = strlen(redis->url.prefix) + name.n + 4;
    realm->prefix = sse_malloc(n);
    snprintf(realm->prefix, n, "%s{%s}:", redis->url.prefix, realm->name);
    HASH_ADD_KEYPTR(hh, redis->realms, realm->name, name.n, realm);
    return realm;
}

sse_redisrealm_t *sse_redisrealm_of(sse_redis_t *redis, sse_str_t key, bool add,
                                    sse_str_t *out_rest)
{
    size_t n = strlen(redis->url.prefix);
    if (key.n < n + 3 || memcmp(key.p, redis->url.prefix, n) || key.p[n] != '{')
        return NULL;
    const char *name = key.p + n + 1, *end = memchr(name, '}', key.n - n - 1);
    if (!end || end == name || end - name > SSE_REALM_MAX || end + 1 >= key.p + key.n ||
        end[1] != ':')
        return NULL;
    *out_rest = (sse_str_t){end + 2, key.n - (size_t)(end + 2 - key.p)};
    return sse_redisrealm_get(redis, (sse_str_t){name, (size_t)(end - name)}, add);
}

static void forget_recent(sse_redisrealm_t *realm)
{
    for (size_t i = 0; i < realm->n_recent; i++)
        sse_message_unref(realm->recent[i]);
    realm->n_recent = 0;
}

void sse_redisrealm_free_all(sse_redis_t *redis)
{
    sse_redisrealm_t *realm, *next;
    HASH_ITER (hh, redis->realms, realm, next) {
        HASH_DEL(redis->realms, realm);
        sse_redischannel_t *channel, *after;
        HASH_ITER (hh, realm->channels, channel, after) {
            HASH_DEL(realm->channels, channel);
            free(channel);
        }
        sse_redispresence_clear(realm);
        forget_recent(realm);
        free(realm->recent);
        free(realm->prefix);
        free(realm->name);
        free(realm);
    }
}

/* ---- positions ---- */

void sse_redisrealm_heard(sse_redisrealm_t *realm, uint64_t epoch, uint64_t seq, sse_str_t stamp,
                          bool all_given)
{
    bool reset = realm->known.epoch && epoch != realm->known.epoch;
    if (realm->known.epoch != epoch) {
        realm->known = (sse_pos_t){epoch, 0};
        realm->given = 0;
        forget_recent(realm);
        sse_redisrealm_doubt(realm);
    }
    if (seq >= realm->known.seq) {
        realm->known.seq = seq;
        snprintf(realm->stamp, sizeof realm->stamp, "%.*s", (int)stamp.n, stamp.p ? stamp.p : "");
    }
    if (all_given && seq > realm->given)
        realm->given = seq;
    if (!reset)
        return;
    /* What belongs to the new epoch begins after what it had when we heard of it. */
    if (!all_given && seq)
        realm->given = seq - 1;
    sse_log(SSE_LOG_WARNING,
            "SSE0402: Redis lost data of the realm %s, or was emptied: its streams are told",
            realm->name);
    realm->told_lost = true;
    realm->redis->base.env.up->reset(realm->redis->base.env.hub, realm->name,
                                     (sse_pos_t){epoch, all_given ? seq : realm->given});
}

/* ---- histories under way ---- */

static void prune(sse_redisrealm_t *realm)
{
    uint64_t floor = realm->given;
    for (sse_redisjob_t *job = realm->reading; job; job = job->reading_next)
        if (job->floor - 1 < floor)
            floor = job->floor - 1;
    size_t gone = 0;
    while (gone < realm->n_recent && realm->recent[gone]->pos.seq <= floor)
        sse_message_unref(realm->recent[gone++]);
    realm->n_recent -= gone;
    if (gone)
        memmove(realm->recent, realm->recent + gone, realm->n_recent * sizeof(sse_message_t *));
}

void sse_redisrealm_reading(sse_redisrealm_t *realm, sse_redisjob_t *job, bool on)
{
    if (on) {
        job->floor = realm->given + 1;
        job->reading_next = realm->reading;
        realm->reading = job;
        realm->histories++;
        return;
    }
    sse_redisjob_t **at = &realm->reading;
    while (*at != job)
        at = &(*at)->reading_next;
    *at = job->reading_next;
    if (--realm->histories == 0)
        forget_recent(realm);
}

/* ---- what cannot have been missed ---- */

void sse_redisrealm_key(char kind, sse_str_t name, sse_rediskey_t *out)
{
    size_t n = name.n < SSE_GROUP_MAX ? name.n : SSE_GROUP_MAX;
    out->p[0] = kind;
    out->p[1] = ':';
    if (n)
        memcpy(out->p + 2, name.p, n);
    out->n = n + 2;
}

static sse_redischannel_t *find_channel(const sse_redisrealm_t *realm, char kind, sse_str_t name)
{
    sse_rediskey_t key;
    sse_redischannel_t *c;
    sse_redisrealm_key(kind, name, &key);
    HASH_FIND(hh, realm->channels, key.p, key.n, c);
    return c;
}

void sse_redisrealm_doubt(sse_redisrealm_t *realm)
{
    realm->term++;
}

void sse_redisrealm_complete(const sse_redisjob_t *job, uint64_t seq)
{
    sse_redisrealm_t *realm = job->realm;
    if (job->term != realm->term || job->node != realm->node)
        return;
    for (size_t i = 0; i < job->n_asked; i++) {
        sse_channel_t channel = job->ranges[i].channel;
        sse_redischannel_t *c = find_channel(realm, (char)channel.kind, channel.name);
        if (!c || c->term == realm->term || c->token > job->token)
            continue;
        c->term = realm->term;
        c->since = seq;
    }
}

bool sse_redisrealm_unmissed(const sse_redisrealm_t *realm, sse_channel_t channel, uint64_t after)
{
    const sse_redischannel_t *c = find_channel(realm, (char)channel.kind, channel.name);
    return c && c->term == realm->term && c->since <= after && c->last <= after &&
           after <= realm->given;
}

/* ---- messages ---- */

void sse_redisrealm_give(sse_redisrealm_t *realm, sse_message_t *m)
{
    realm->given = m->pos.seq;
    for (size_t i = 0; i < m->n_targets; i++) {
        sse_redischannel_t *c = find_channel(realm, (char)m->targets[i].kind,
                                             (sse_str_t){m->targets[i].name, m->targets[i].n});
        if (c)
            c->last = m->pos.seq;
    }
    if (realm->histories) {
        if (realm->n_recent && realm->n_recent % PRUNE_AT == 0)
            prune(realm);
        if (realm->n_recent == realm->cap_recent) {
            realm->cap_recent = realm->cap_recent ? 2 * realm->cap_recent : 64;
            realm->recent = sse_realloc(realm->recent, realm->cap_recent * sizeof(sse_message_t *));
        }
        realm->recent[realm->n_recent++] = sse_message_ref(m);
    }
    realm->redis->base.env.up->message(realm->redis->base.env.hub, m);
}

void sse_redisrealm_give_record(sse_redisrealm_t *realm, sse_str_t packed)
{
    sse_record_t **groups, *record = sse_redistext_full(sse_str(realm->name), &packed, &groups);
    if (!record)
        return;
    realm->redis->base.env.up->changed(realm->redis->base.env.hub, record, groups);
    sse_redistext_full_free(record, groups);
}

/* "m" or "c", epoch, number, stamp, line end, body. */
void sse_redisrealm_take(sse_redisrealm_t *realm, sse_str_t payload)
{
    uint64_t epoch, seq;
    const char *line = payload.n ? memchr(payload.p, '\n', payload.n) : NULL;
    if (payload.n < 20 || !line || line - payload.p < 20 || payload.p[17] != ' ' ||
        !sse_redistext_epoch((sse_str_t){payload.p + 1, 16}, &epoch))
        return;
    sse_str_t rest = {payload.p + 18, payload.n - 18};
    if (!sse_redistext_number(&rest, &seq) || rest.p > line + 1)
        return;
    sse_str_t stamp = {rest.p, rest.p <= line ? (size_t)(line - rest.p) : 0};
    sse_str_t body = {line + 1, payload.n - (size_t)(line + 1 - payload.p)};
    if (*payload.p == 'c') {
        sse_redisrealm_give_record(realm, body);
        return;
    }
    if (*payload.p != 'm')
        return;
    sse_redisrealm_heard(realm, epoch, seq, stamp, false);
    if (seq <= realm->given)
        return;
    sse_message_t *m = sse_redistext_message(sse_str(realm->name), (sse_pos_t){epoch, seq}, body);
    if (!m)
        return;
    sse_redisrealm_give(realm, m);
    sse_message_unref(m);
}

/* To every hub: "p", 1 or 0, user; or "d" and what is to be ended. */
void sse_redisrealm_control(sse_redisrealm_t *realm, sse_str_t payload)
{
    const sse_broker_upcalls_t *up = realm->redis->base.env.up;
    void *hub = realm->redis->base.env.hub;
    if (payload.n > 2 && *payload.p == 'p') {
        if (up->presence)
            up->presence(hub, realm->name, (sse_str_t){payload.p + 2, payload.n - 2},
                         payload.p[1] == '1');
        return;
    }
    if (!payload.n || *payload.p != 'd')
        return;
    sse_str_t rest = {payload.p + 1, payload.n - 1}, from, kind, name, reason, at;
    if (!sse_redistext_net(&rest, &from) || !sse_redistext_net(&rest, &kind) || kind.n != 1 ||
        !sse_redistext_net(&rest, &name) || !sse_redistext_net(&rest, &reason) ||
        !sse_redistext_net(&rest, &at) || sse_str_eq(from, sse_str(realm->redis->hub)) ||
        reason.n != 1 || *reason.p < '0' || *reason.p > '9')
        return;
    char text[24];
    snprintf(text, sizeof text, "%.*s", (int)(at.n < 20 ? at.n : 20), at.p);
    up->disconnect(hub, realm->name, *kind.p, name, *reason.p - '0', strtoull(text, NULL, 10));
}
