/* SPDX-License-Identifier: Apache-2.0 */
/* The contract's calls as scripts: each says which script, whom to answer, and the script's
 * arguments. Control loop. */
#include "broker/redis_impl.h"
#include <stdlib.h>

#define REDIS(b) ((sse_redis_t *)(b))
#define CALL(script, member)                                                                       \
    sse_redisanswer_job(b, realm, SSE_SCRIPT_##script, (sse_redisanswer_t){.member = cb}, baton)

static void channel_arg(sse_redisjob_t *job, sse_channel_t channel)
{
    sse_rediskey_t key;
    sse_redisrealm_key((char)channel.kind, channel.name, &key);
    sse_redisjob_arg(job, (sse_str_t){key.p, key.n});
}

static void owner_args(sse_redisjob_t *job, char kind, sse_str_t name)
{
    sse_redisjob_arg(job, (sse_str_t){&kind, 1});
    sse_redisjob_arg(job, name);
}

static void names_arg(sse_redisjob_t *job, const sse_str_t *names, size_t n)
{
    sse_redisjob_number(job, (int64_t)n);
    for (size_t i = 0; i < n; i++)
        sse_redisjob_arg(job, names[i]);
}

/* ---- messages ---- */

static void call_publish(sse_broker_t *b, sse_str_t realm, const sse_publish_t *items, size_t n,
                         sse_published_fn cb, void *baton)
{
    sse_redisjob_t *job = CALL(PUBLISH, published);
    job->n_items = n;
    sse_redisjob_number(job, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        sse_redisjob_arg(job, items[i].event);
        sse_redisjob_arg(job, items[i].data);
        sse_redisjob_number(job, items[i].raw);
        sse_redisjob_number(job, items[i].ttl);
        sse_redisjob_arg(job, items[i].key);
        sse_redisjob_arg(job, items[i].replace);
        sse_redisjob_number(job, (int64_t)items[i].n_channels);
        for (size_t k = 0; k < items[i].n_channels; k++)
            channel_arg(job, items[i].channels[k]);
    }
    sse_redisjob_submit(job);
}

static void call_history(sse_broker_t *b, sse_str_t realm, const sse_range_t *ranges,
                         size_t n_ranges, size_t max_messages, size_t max_bytes, sse_history_fn cb,
                         void *baton)
{
    sse_redisjob_t *job = CALL(HISTORY, history);
    size_t bytes = 0, n_known = 0;
    for (size_t i = 0; i < n_ranges; i++) {
        bytes += ranges[i].channel.name.n;
        n_known += sse_redisrealm_unmissed(job->realm, ranges[i].channel, ranges[i].after);
    }
    job->n_ranges = n_ranges;
    job->n_asked = n_ranges - n_known;
    job->term = job->realm->term;
    job->ranges = sse_malloc((n_ranges + 1) * (sizeof *ranges + sizeof *job->places) + bytes);
    job->places = (size_t *)(job->ranges + n_ranges + 1);
    char *names = (char *)(job->places + n_ranges + 1);
    sse_redisjob_number(job, (int64_t)max_messages);
    sse_redisjob_number(job, (int64_t)max_bytes);
    sse_redisjob_number(job, (int64_t)job->n_asked);
    for (size_t i = 0, asked = 0, known = job->n_asked; i < n_ranges; i++) {
        sse_str_t name = ranges[i].channel.name;
        if (name.n)
            memcpy(names, name.p, name.n);
        bool skip = sse_redisrealm_unmissed(job->realm, ranges[i].channel, ranges[i].after);
        size_t at = skip ? known++ : asked++;
        job->ranges[at] = (sse_range_t){{ranges[i].channel.kind, {names, name.n}}, ranges[i].after};
        job->places[at] = i;
        names += name.n;
        if (skip)
            continue;
        channel_arg(job, ranges[i].channel);
        sse_redisjob_number(job, (int64_t)ranges[i].after);
    }
    if (job->n_asked || REDIS(b)->stopping) {
        sse_redisjob_submit(job);
        return;
    }
    sse_redisrealm_reading(job->realm, job, true);
    sse_redisjob_answer_later(job, APR_SUCCESS);
}

/* ---- interest ---- */

static void call_interest(sse_broker_t *b, sse_str_t realm_name, sse_channel_t channel, bool on)
{
    if (REDIS(b)->stopping || channel.name.n > SSE_GROUP_MAX)
        return;
    sse_redisrealm_t *realm = sse_redisrealm_get(REDIS(b), realm_name, true);
    sse_rediskey_t key;
    sse_redisrealm_key((char)channel.kind, channel.name, &key);
    sse_redischannel_t *c;
    HASH_FIND(hh, realm->channels, key.p, key.n, c);
    if (on == (c != NULL))
        return;
    if (on) {
        if (!realm->channels)
            sse_redisnode_subscribe(realm->node, realm, SSE_STR("*"), true);
        c = sse_calloc(1, sizeof *c + key.n);
        c->n = key.n;
        memcpy(c->key, key.p, key.n);
        HASH_ADD_KEYPTR(hh, realm->channels, c->key, c->n, c);
    } else {
        HASH_DEL(realm->channels, c);
        free(c);
    }
    sse_redisnode_subscribe(realm->node, realm, (sse_str_t){key.p, key.n}, on);
    if (on)
        c->token = realm->node->subscribed;
    if (!realm->channels)
        sse_redisnode_subscribe(realm->node, realm, SSE_STR("*"), false);
}

/* ---- records ---- */

/* Streams without user are all told the same: one question at a time is under way, whoever comes
 * meanwhile is told by the next. */
static bool ask_position(sse_redisjob_t *job)
{
    sse_redisrealm_t *realm = job->realm;
    if (!realm->position) {
        realm->position = job;
        return true;
    }
    sse_redisjob_t *next = realm->next_position;
    if (!next) {
        realm->next_position = job;
        return false;
    }
    if (next->n_guests == next->cap_guests) {
        next->cap_guests = next->cap_guests ? 2 * next->cap_guests : 16;
        next->guests = sse_realloc(next->guests, next->cap_guests * sizeof *next->guests);
    }
    next->guests[next->n_guests++] = (sse_redisguest_t){job->cb.connected, job->baton};
    sse_redisjob_drop(job);
    return false;
}

static void call_connect(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                         size_t n_groups, sse_str_t session, uint64_t session_expires,
                         sse_connected_fn cb, void *baton)
{
    sse_redisjob_t *job = CALL(CONNECT, connected);
    sse_redisjob_arg(job, user);
    sse_redisjob_arg(job, session);
    sse_redisjob_number(job, (int64_t)session_expires);
    if (groups)
        names_arg(job, groups, n_groups);
    else
        sse_redisjob_number(job, -1);
    if (user.n || ask_position(job))
        sse_redisjob_submit(job);
}

static void call_subscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                           const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                           void *baton)
{
    sse_redisjob_t *job = CALL(SUBSCRIBE, record);
    owner_args(job, (char)owner.kind, owner.name);
    sse_redisjob_arg(job, session);
    sse_redisjob_number(job, SSE_OWNER_SUBS_MAX);
    names_arg(job, events, n);
    sse_redisjob_submit(job);
}

static void call_unsubscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                             const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                             void *baton)
{
    sse_redisjob_t *job = CALL(UNSUBSCRIBE, record);
    owner_args(job, (char)owner.kind, owner.name);
    sse_redisjob_arg(job, session);
    names_arg(job, events, n);
    sse_redisjob_submit(job);
}

static void call_record(sse_broker_t *b, sse_str_t realm, sse_channel_t owner, sse_record_fn cb,
                        void *baton)
{
    sse_redisjob_t *job = CALL(RECORDS, record);
    sse_redisjob_number(job, 0);
    sse_redisjob_number(job, 1);
    owner_args(job, (char)owner.kind, owner.name);
    sse_redisjob_submit(job);
}

static void call_members_change(sse_broker_t *b, sse_str_t realm, sse_str_t group, bool replace,
                                const sse_str_t *add, size_t n_add, const sse_str_t *remove,
                                size_t n_remove, sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job = CALL(MEMBERS_CHANGE, done);
    sse_redisjob_arg(job, group);
    sse_redisjob_number(job, replace);
    names_arg(job, add, n_add);
    names_arg(job, remove, n_remove);
    sse_redisjob_submit(job);
}

static void call_members(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_names_fn cb,
                         void *baton)
{
    sse_redisjob_t *job = CALL(MEMBERS, names);
    sse_redisjob_arg(job, group);
    sse_redisjob_submit(job);
}

static void call_forget(sse_broker_t *b, sse_str_t realm, sse_channel_t what, sse_done_fn cb,
                        void *baton)
{
    sse_redisjob_t *job = CALL(FORGET, done);
    owner_args(job, (char)what.kind, what.name);
    sse_redisjob_submit(job);
}

static void call_disconnect(sse_broker_t *b, sse_str_t realm, char kind, sse_str_t name, int reason,
                            uint64_t until, sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job = CALL(DISCONNECT, done);
    owner_args(job, kind, name);
    sse_redisjob_number(job, reason);
    sse_redisjob_number(job, (int64_t)until);
    sse_redisjob_submit(job);
}

/* ---- tracking and sessions ---- */

static void call_cursors(sse_broker_t *b, sse_str_t realm, const sse_cursor_t *cursors, size_t n,
                         sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job = CALL(CURSORS, done);
    sse_redisjob_number(job, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        sse_buf_t epoch = {0};
        sse_buf_printf(&epoch, "%016llx", (unsigned long long)cursors[i].last.epoch);
        sse_redisjob_arg(job, cursors[i].user);
        sse_redisjob_arg(job, sse_buf_slice(&epoch));
        sse_redisjob_number(job, (int64_t)cursors[i].last.seq);
        sse_redisjob_number(job, cursors[i].delivered_at);
        sse_buf_clear(&epoch);
    }
    sse_redisjob_submit(job);
}

static void call_tracking(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_tracking_fn cb,
                          void *baton)
{
    sse_redisjob_t *job = CALL(TRACKING, tracking);
    sse_redisjob_arg(job, user);
    sse_redisjob_submit(job);
}

static void call_session_put(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_str_t user,
                             uint64_t expires, sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job = CALL(SESSION_PUT, done);
    sse_redisjob_arg(job, session);
    sse_redisjob_arg(job, user);
    sse_redisjob_number(job, (int64_t)expires);
    sse_redisjob_submit(job);
}

static void call_session_get(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_session_fn cb,
                             void *baton)
{
    sse_redisjob_t *job = CALL(SESSION_GET, session);
    sse_redisjob_arg(job, session);
    sse_redisjob_submit(job);
}

const sse_broker_driver_t sse_redis_driver = {
    .abi = SSE_BROKER_ABI,
    .scheme = "redis",
    .create = sse_redis_create,
    .stop = sse_redis_stop,
    .publish = call_publish,
    .connect = call_connect,
    .history = call_history,
    .subscribe = call_subscribe,
    .unsubscribe = call_unsubscribe,
    .record = call_record,
    .members_change = call_members_change,
    .members = call_members,
    .forget = call_forget,
    .disconnect = call_disconnect,
    .interest = call_interest,
    .cursors = call_cursors,
    .tracking = call_tracking,
    .session_put = call_session_put,
    .session_get = call_session_get,
    .presence_user_set = sse_redispresence_user_set,
    .presence_streams_set = sse_redispresence_streams_set,
    .presence_counts = sse_redispresence_counts,
    .presence_user = sse_redispresence_user,
    .presence_page = sse_redispresence_page,
};
