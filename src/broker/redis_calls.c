/* SPDX-License-Identifier: Apache-2.0 */
/* The contract's calls as scripts, and their replies as answers. */
#include "broker/redis_impl.h"

#include "core/log.h"
#include <stdlib.h>

#define REDIS(b) ((sse_redis_t *)(b))

static sse_str_t str_at(const redisReply *reply, size_t i)
{
    if (i >= reply->elements || reply->element[i]->type != REDIS_REPLY_STRING)
        return SSE_STR_NONE;
    return (sse_str_t){reply->element[i]->str, reply->element[i]->len};
}

static int64_t int_at(const redisReply *reply, size_t i)
{
    return i < reply->elements && reply->element[i]->type == REDIS_REPLY_INTEGER
               ? reply->element[i]->integer
               : 0;
}

static uint64_t epoch_of(const redisReply *reply)
{
    uint64_t epoch = 0;
    sse_redistext_epoch(str_at(reply, 0), &epoch);
    return epoch;
}

static bool same_epoch(const sse_redisjob_t *job, const redisReply *reply)
{
    return epoch_of(reply) == job->realm->known.epoch;
}

/* "kind:name" */
static void channel_arg(sse_redisjob_t *job, sse_channel_t channel)
{
    char text[SSE_GROUP_MAX + 2];
    size_t n = channel.name.n < SSE_GROUP_MAX ? channel.name.n : SSE_GROUP_MAX;
    text[0] = (char)channel.kind;
    text[1] = ':';
    if (n)
        memcpy(text + 2, channel.name.p, n);
    sse_redisjob_arg(job, (sse_str_t){text, n + 2});
}

static void kind_arg(sse_redisjob_t *job, char kind)
{
    sse_redisjob_arg(job, (sse_str_t){&kind, 1});
}

static void names_arg(sse_redisjob_t *job, const sse_str_t *names, size_t n)
{
    sse_redisjob_number(job, (int64_t)n);
    for (size_t i = 0; i < n; i++)
        sse_redisjob_arg(job, names[i]);
}

/* ---- publishing ---- */

static void on_published(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    if (status != APR_SUCCESS) {
        job->cb.published(job->baton, status, NULL, 0, 0);
        return;
    }
    if (sse_str_eq(str_at(reply, 3), SSE_STR("clash"))) {
        job->cb.published(job->baton, APR_EEXIST, NULL, 0, (size_t)int_at(reply, 4) - 1);
        return;
    }
    const redisReply *list = reply->elements > 4 ? reply->element[4] : NULL;
    if (!list || list->elements != 2 * job->n_items) {
        job->cb.published(job->baton, APR_EAGAIN, NULL, 0, 0);
        return;
    }
    sse_published_t *results = sse_calloc(job->n_items + 1, sizeof *results);
    for (size_t i = 0; i < job->n_items; i++)
        results[i] = (sse_published_t){{epoch_of(reply), (uint64_t)int_at(list, 2 * i)},
                                       int_at(list, 2 * i + 1) != 0};
    job->cb.published(job->baton, APR_SUCCESS, results, job->n_items, 0);
    free(results);
}

static void call_publish(sse_broker_t *b, sse_str_t realm, const sse_publish_t *items, size_t n,
                         sse_published_fn cb, void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_PUBLISH, on_published, baton);
    job->cb.published = cb;
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

/* ---- history ---- */

static bool wanted(const sse_redisjob_t *job, const sse_message_t *m)
{
    for (size_t i = 0; i < m->n_targets; i++)
        for (size_t k = 0; k < job->n_ranges; k++)
            if (job->ranges[k].channel.kind == m->targets[i].kind &&
                job->ranges[k].after < m->pos.seq &&
                sse_str_eq(job->ranges[k].channel.name,
                           (sse_str_t){m->targets[i].name, m->targets[i].n}))
                return true;
    return false;
}

/* Messages given since Redis answered belong to the answer, too. */
static size_t join_recent(const sse_redisjob_t *job, uint64_t seen, sse_message_t **messages,
                          size_t n)
{
    const sse_redisrealm_t *realm = job->realm;
    size_t first = realm->n_recent;
    while (first && realm->recent[first - 1]->pos.seq > seen)
        first--;
    for (; first < realm->n_recent; first++)
        if (wanted(job, realm->recent[first]))
            messages[n++] = sse_message_ref(realm->recent[first]);
    return n;
}

static void on_history(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    if (status == APR_SUCCESS && (reply->elements < 7 || !same_epoch(job, reply)))
        status = APR_EAGAIN;
    if (status != APR_SUCCESS) {
        job->cb.history(job->baton, status, NULL);
        return;
    }
    sse_redisrealm_t *realm = job->realm;
    const redisReply *list = reply->element[6], *gap_list = reply->element[5];
    size_t n = 0;
    sse_message_t **messages =
        sse_calloc(list->elements / 2 + realm->n_recent + 1, sizeof *messages);
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        sse_message_t *m = sse_redistext_message(
            sse_str(realm->name), (sse_pos_t){realm->known.epoch, (uint64_t)int_at(list, i)},
            str_at(list, i + 1));
        if (m)
            messages[n++] = m;
    }
    sse_history_t h = {.more = int_at(reply, 3) != 0,
                       .pos = {realm->known.epoch, realm->given},
                       .n_gaps = gap_list->elements,
                       .gap_end = (uint64_t)int_at(reply, 4)};
    size_t *gaps = sse_calloc(h.n_gaps + 1, sizeof *gaps);
    for (size_t i = 0; i < h.n_gaps; i++)
        gaps[i] = (size_t)int_at(gap_list, i);
    if (!h.more)
        n = join_recent(job, (uint64_t)int_at(reply, 1), messages, n);
    h.messages = messages;
    h.n_messages = n;
    h.gaps = gaps;
    job->cb.history(job->baton, APR_SUCCESS, &h);
    for (size_t i = 0; i < n; i++)
        sse_message_unref(messages[i]);
    free(messages);
    free(gaps);
}

static void call_history(sse_broker_t *b, sse_str_t realm, const sse_range_t *ranges,
                         size_t n_ranges, size_t max_messages, size_t max_bytes, sse_history_fn cb,
                         void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_HISTORY, on_history, baton);
    size_t bytes = 0;
    for (size_t i = 0; i < n_ranges; i++)
        bytes += ranges[i].channel.name.n;
    job->cb.history = cb;
    job->fenced = true;
    job->n_ranges = n_ranges;
    job->ranges = sse_malloc((n_ranges + 1) * sizeof *ranges + bytes);
    char *names = (char *)(job->ranges + n_ranges + 1);
    sse_redisjob_number(job, (int64_t)max_messages);
    sse_redisjob_number(job, (int64_t)max_bytes);
    sse_redisjob_number(job, (int64_t)n_ranges);
    for (size_t i = 0; i < n_ranges; i++) {
        sse_str_t name = ranges[i].channel.name;
        if (name.n)
            memcpy(names, name.p, name.n);
        job->ranges[i] = (sse_range_t){{ranges[i].channel.kind, {names, name.n}}, ranges[i].after};
        names += name.n;
        channel_arg(job, ranges[i].channel);
        sse_redisjob_number(job, (int64_t)ranges[i].after);
    }
    sse_redisjob_submit(job);
}

/* ---- records ---- */

static void on_connected(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_pos_t pos = {job->realm->known.epoch, job->realm->given};
    sse_record_t *user = NULL, **groups = NULL;
    if (status == APR_SUCCESS && !same_epoch(job, reply))
        status = APR_EAGAIN;
    if (status == APR_SUCCESS) {
        sse_str_t packed = str_at(reply, 3);
        if (packed.n)
            user = sse_redistext_full(sse_str(job->realm->name), &packed, &groups);
        if (packed.n && !user)
            status = APR_EAGAIN;
    }
    job->cb.connected(job->baton, status, user, groups, pos);
    if (user)
        sse_redistext_full_free(user, groups);
}

static void call_connect(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                         size_t n_groups, sse_str_t session, uint64_t session_expires,
                         sse_connected_fn cb, void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_CONNECT, on_connected, baton);
    job->cb.connected = cb;
    job->fenced = true;
    sse_redisjob_arg(job, user);
    sse_redisjob_arg(job, session);
    sse_redisjob_number(job, (int64_t)session_expires);
    if (groups)
        names_arg(job, groups, n_groups);
    else
        sse_redisjob_number(job, -1);
    sse_redisjob_submit(job);
}

static void on_record(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_record_t *record = NULL;
    if (status == APR_SUCCESS && sse_str_eq(str_at(reply, 3), SSE_STR("limit"))) {
        status = APR_EINVAL;
    } else if (status == APR_SUCCESS) {
        sse_str_t packed = str_at(reply, job->script == SSE_SCRIPT_RECORDS ? 3 : 4);
        record = sse_redistext_record(sse_str(job->realm->name), &packed);
        if (!record)
            status = APR_EAGAIN;
    }
    job->cb.record(job->baton, status, record);
    sse_record_unref(record);
}

static void call_subscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                           const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                           void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_SUBSCRIBE, on_record, baton);
    job->cb.record = cb;
    job->fenced = true;
    kind_arg(job, (char)owner.kind);
    sse_redisjob_arg(job, owner.name);
    sse_redisjob_arg(job, session);
    sse_redisjob_number(job, SSE_OWNER_SUBS_MAX);
    names_arg(job, events, n);
    sse_redisjob_submit(job);
}

static void call_unsubscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                             const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                             void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_UNSUBSCRIBE, on_record, baton);
    job->cb.record = cb;
    job->fenced = true;
    kind_arg(job, (char)owner.kind);
    sse_redisjob_arg(job, owner.name);
    sse_redisjob_arg(job, session);
    names_arg(job, events, n);
    sse_redisjob_submit(job);
}

static void call_record(sse_broker_t *b, sse_str_t realm, sse_channel_t owner, sse_record_fn cb,
                        void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_RECORDS, on_record, baton);
    job->cb.record = cb;
    job->fenced = true;
    sse_redisjob_number(job, 0);
    sse_redisjob_number(job, 1);
    kind_arg(job, (char)owner.kind);
    sse_redisjob_arg(job, owner.name);
    sse_redisjob_submit(job);
}

/* ---- groups ---- */

static void on_done(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    job->cb.done(job->baton, status);
}

static void call_members_change(sse_broker_t *b, sse_str_t realm, sse_str_t group, bool replace,
                                const sse_str_t *add, size_t n_add, const sse_str_t *remove,
                                size_t n_remove, sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_MEMBERS_CHANGE, on_done, baton);
    job->cb.done = cb;
    job->fenced = true;
    sse_redisjob_arg(job, group);
    sse_redisjob_number(job, replace);
    names_arg(job, add, n_add);
    names_arg(job, remove, n_remove);
    sse_redisjob_submit(job);
}

static void on_members(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    if (status == APR_SUCCESS && reply->elements < 4)
        status = APR_EAGAIN;
    if (status != APR_SUCCESS) {
        job->cb.names(job->baton, status, NULL, 0);
        return;
    }
    const redisReply *list = reply->element[3];
    sse_str_t *names = sse_calloc(list->elements + 1, sizeof *names);
    for (size_t i = 0; i < list->elements; i++)
        names[i] = str_at(list, i);
    job->cb.names(job->baton, APR_SUCCESS, names, list->elements);
    free(names);
}

static void call_members(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_names_fn cb,
                         void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_MEMBERS, on_members, baton);
    job->cb.names = cb;
    sse_redisjob_arg(job, group);
    sse_redisjob_submit(job);
}

static void call_forget(sse_broker_t *b, sse_str_t realm, sse_channel_t what, sse_done_fn cb,
                        void *baton)
{
    sse_redisjob_t *job = sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_FORGET, on_done, baton);
    job->cb.done = cb;
    job->fenced = true;
    kind_arg(job, (char)what.kind);
    sse_redisjob_arg(job, what.name);
    sse_redisjob_submit(job);
}

static void call_disconnect(sse_broker_t *b, sse_str_t realm, char kind, sse_str_t name, int reason,
                            uint64_t until, sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_DISCONNECT, on_done, baton);
    job->cb.done = cb;
    job->fenced = true;
    kind_arg(job, kind);
    sse_redisjob_arg(job, name);
    sse_redisjob_number(job, reason);
    sse_redisjob_number(job, (int64_t)until);
    sse_redisjob_submit(job);
}

/* ---- interest ---- */

static void call_interest(sse_broker_t *b, sse_str_t realm_name, sse_channel_t channel, bool on)
{
    if (REDIS(b)->stopping || channel.name.n > SSE_GROUP_MAX)
        return;
    sse_redisrealm_t *realm = sse_redisrealm_get(REDIS(b), realm_name, true);
    char key[SSE_GROUP_MAX + 2];
    size_t n = channel.name.n + 2;
    key[0] = (char)channel.kind;
    key[1] = ':';
    if (channel.name.n)
        memcpy(key + 2, channel.name.p, channel.name.n);
    sse_redischannel_t *c;
    HASH_FIND(hh, realm->channels, key, n, c);
    if (on == (c != NULL))
        return;
    if (on) {
        if (!realm->channels)
            sse_redisnode_subscribe(realm->node, realm, SSE_STR("*"), true);
        c = sse_calloc(1, sizeof *c + n);
        c->n = n;
        memcpy(c->key, key, n);
        HASH_ADD_KEYPTR(hh, realm->channels, c->key, n, c);
    } else {
        HASH_DEL(realm->channels, c);
        free(c);
    }
    sse_redisnode_subscribe(realm->node, realm, (sse_str_t){key, n}, on);
    if (!realm->channels)
        sse_redisnode_subscribe(realm->node, realm, SSE_STR("*"), false);
}

/* ---- tracking and sessions ---- */

static void call_cursors(sse_broker_t *b, sse_str_t realm, const sse_cursor_t *cursors, size_t n,
                         sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job = sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_CURSORS, on_done, baton);
    job->cb.done = cb;
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

static void on_tracking(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_tracking_t t = {0};
    if (status != APR_SUCCESS) {
        job->cb.tracking(job->baton, status, NULL);
        return;
    }
    sse_redistext_epoch(str_at(reply, 3), &t.last.epoch);
    t.last.seq = (uint64_t)int_at(reply, 4);
    t.delivered_at = int_at(reply, 5);
    t.pending = (uint64_t)int_at(reply, 6);
    job->cb.tracking(job->baton, APR_SUCCESS, &t);
}

static void call_tracking(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_tracking_fn cb,
                          void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_TRACKING, on_tracking, baton);
    job->cb.tracking = cb;
    sse_redisjob_arg(job, user);
    sse_redisjob_submit(job);
}

static void call_session_put(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_str_t user,
                             uint64_t expires, sse_done_fn cb, void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_SESSION_PUT, on_done, baton);
    job->cb.done = cb;
    sse_redisjob_arg(job, session);
    sse_redisjob_arg(job, user);
    sse_redisjob_number(job, (int64_t)expires);
    sse_redisjob_submit(job);
}

static void on_session(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    uint64_t expires = status == APR_SUCCESS ? (uint64_t)int_at(reply, 3) : 0;
    if (status == APR_SUCCESS && !expires)
        status = APR_NOTFOUND;
    job->cb.session(job->baton, status, status == APR_SUCCESS ? str_at(reply, 4) : SSE_STR_NONE,
                    expires);
}

static void call_session_get(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_session_fn cb,
                             void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create(REDIS(b), realm, SSE_SCRIPT_SESSION_GET, on_session, baton);
    job->cb.session = cb;
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
