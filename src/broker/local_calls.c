/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of the contract: each is copied into a job and queued. Control loop. */
#include "broker/local_impl.h"

#define MAX_MESSAGES 10000

static sse_local_t *local_of(sse_broker_t *b)
{
    return (sse_local_t *)b;
}

static sse_job_t *begin(sse_job_kind_t kind, sse_str_t realm, void *baton)
{
    sse_job_t *job = sse_job_create(kind);
    job->realm = sse_arena_str(&job->arena, realm);
    job->baton = baton;
    return job;
}

static sse_channel_t copy_channel(sse_job_t *job, sse_channel_t channel)
{
    return (sse_channel_t){channel.kind, sse_arena_str(&job->arena, channel.name)};
}

static void call_publish(sse_broker_t *b, sse_str_t realm, const sse_publish_t *items, size_t n,
                         sse_published_fn cb, void *baton)
{
    sse_job_t *job = begin(SSE_JOB_PUBLISH, realm, baton);
    job->cb.published = cb;
    job->items = sse_arena_alloc(&job->arena, n * sizeof(*items));
    job->n_items = n;
    for (size_t i = 0; i < n; i++) {
        sse_publish_t *item = &job->items[i];
        *item = items[i];
        item->event = sse_arena_str(&job->arena, items[i].event);
        item->data = sse_arena_str(&job->arena, items[i].data);
        item->key = sse_arena_str(&job->arena, items[i].key);
        item->replace = sse_arena_str(&job->arena, items[i].replace);
        sse_channel_t *channels =
            sse_arena_alloc(&job->arena, item->n_channels * sizeof(*channels));
        for (size_t k = 0; k < item->n_channels; k++)
            channels[k] = copy_channel(job, items[i].channels[k]);
        item->channels = channels;
    }
    sse_local_submit(local_of(b), job);
}

static void call_connect(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                         size_t n_groups, sse_str_t session, uint64_t session_expires,
                         sse_connected_fn cb, void *baton)
{
    sse_job_t *job = begin(SSE_JOB_CONNECT, realm, baton);
    job->cb.connected = cb;
    job->owner = copy_channel(job, (sse_channel_t){SSE_CHANNEL_USER, user});
    job->names_given = groups != NULL;
    job->names = sse_arena_strs(&job->arena, groups, groups ? n_groups : 0);
    job->n_names = groups ? n_groups : 0;
    job->session = sse_arena_str(&job->arena, session);
    job->session_expires = session_expires;
    sse_local_connect_submit(local_of(b), job);
}

static void call_history(sse_broker_t *b, sse_str_t realm, const sse_range_t *ranges,
                         size_t n_ranges, size_t max_messages, size_t max_bytes, sse_history_fn cb,
                         void *baton)
{
    sse_job_t *job = begin(SSE_JOB_HISTORY, realm, baton);
    job->cb.history = cb;
    job->ranges = sse_arena_alloc(&job->arena, n_ranges * sizeof(*ranges));
    job->n_ranges = n_ranges;
    for (size_t i = 0; i < n_ranges; i++)
        job->ranges[i] = (sse_range_t){copy_channel(job, ranges[i].channel), ranges[i].after};
    job->max_messages = max_messages < 1              ? 1
                        : max_messages > MAX_MESSAGES ? MAX_MESSAGES
                                                      : max_messages;
    job->max_bytes = max_bytes;
    sse_local_history_submit(local_of(b), job);
}

static void change_subs(sse_job_kind_t kind, sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                        const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                        void *baton)
{
    sse_job_t *job = begin(kind, realm, baton);
    job->cb.record = cb;
    job->owner = copy_channel(job, owner);
    job->names = sse_arena_strs(&job->arena, events, n);
    job->n_names = n;
    job->session = sse_arena_str(&job->arena, session);
    sse_records_mark(&local_of(b)->records, owner.kind, realm, owner.name);
    sse_local_submit(local_of(b), job);
}

static void call_subscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                           const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                           void *baton)
{
    change_subs(SSE_JOB_SUBSCRIBE, b, realm, owner, events, n, session, cb, baton);
}

static void call_unsubscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                             const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                             void *baton)
{
    change_subs(SSE_JOB_UNSUBSCRIBE, b, realm, owner, events, n, session, cb, baton);
}

static void call_record(sse_broker_t *b, sse_str_t realm, sse_channel_t owner, sse_record_fn cb,
                        void *baton)
{
    sse_job_t *job = begin(SSE_JOB_RECORD, realm, baton);
    job->cb.record = cb;
    job->owner = copy_channel(job, owner);
    sse_local_submit(local_of(b), job);
}

static void call_members_change(sse_broker_t *b, sse_str_t realm, sse_str_t group, bool replace,
                                const sse_str_t *add, size_t n_add, const sse_str_t *remove,
                                size_t n_remove, sse_done_fn cb, void *baton)
{
    sse_job_t *job = begin(SSE_JOB_MEMBERS_CHANGE, realm, baton);
    job->cb.done = cb;
    job->owner = copy_channel(job, (sse_channel_t){SSE_CHANNEL_GROUP, group});
    job->names_given = replace;
    job->names = sse_arena_strs(&job->arena, add, n_add);
    job->n_names = n_add;
    job->removed = sse_arena_strs(&job->arena, remove, n_remove);
    job->n_removed = n_remove;
    for (size_t i = 0; i < n_add; i++)
        sse_records_mark(&local_of(b)->records, SSE_CHANNEL_USER, realm, add[i]);
    sse_local_submit(local_of(b), job);
}

static void call_members(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_names_fn cb,
                         void *baton)
{
    sse_job_t *job = begin(SSE_JOB_MEMBERS, realm, baton);
    job->cb.names = cb;
    job->owner = copy_channel(job, (sse_channel_t){SSE_CHANNEL_GROUP, group});
    sse_local_submit(local_of(b), job);
}

static void call_forget(sse_broker_t *b, sse_str_t realm, sse_channel_t what, sse_done_fn cb,
                        void *baton)
{
    sse_job_t *job = begin(SSE_JOB_FORGET, realm, baton);
    job->cb.done = cb;
    job->owner = copy_channel(job, what);
    sse_local_submit(local_of(b), job);
}

/* There is no other hub to tell: what is to be remembered is all there is to do. */
static void call_disconnect(sse_broker_t *b, sse_str_t realm, char kind, sse_str_t name, int reason,
                            uint64_t until, sse_done_fn cb, void *baton)
{
    sse_job_t *job = begin(SSE_JOB_DISCONNECT, realm, baton);
    job->cb.done = cb;
    if (kind == 's')
        job->session = sse_arena_str(&job->arena, name);
    else
        job->owner = copy_channel(job, (sse_channel_t){(sse_channel_kind_t)kind, name});
    if (until && kind != 's')
        sse_records_mark(&local_of(b)->records, job->owner.kind, realm, name);
    job->until = until;
    sse_local_submit(local_of(b), job);
}

static void call_cursors(sse_broker_t *b, sse_str_t realm, const sse_cursor_t *cursors, size_t n,
                         sse_done_fn cb, void *baton)
{
    sse_job_t *job = begin(SSE_JOB_CURSORS, realm, baton);
    job->cb.done = cb;
    job->cursors = sse_arena_alloc(&job->arena, n * sizeof(*cursors));
    job->n_cursors = n;
    for (size_t i = 0; i < n; i++) {
        job->cursors[i] = cursors[i];
        job->cursors[i].user = sse_arena_str(&job->arena, cursors[i].user);
    }
    sse_local_submit(local_of(b), job);
}

static void call_tracking(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_tracking_fn cb,
                          void *baton)
{
    sse_job_t *job = begin(SSE_JOB_TRACKING, realm, baton);
    job->cb.tracking = cb;
    job->owner = copy_channel(job, (sse_channel_t){SSE_CHANNEL_USER, user});
    sse_local_submit(local_of(b), job);
}

static void call_session_put(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_str_t user,
                             uint64_t expires, sse_done_fn cb, void *baton)
{
    sse_job_t *job = begin(SSE_JOB_SESSION_PUT, realm, baton);
    job->cb.done = cb;
    job->session = sse_arena_str(&job->arena, session);
    job->owner = copy_channel(job, (sse_channel_t){SSE_CHANNEL_USER, user});
    job->session_expires = expires;
    sse_local_submit(local_of(b), job);
}

static void call_session_get(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_session_fn cb,
                             void *baton)
{
    sse_job_t *job = begin(SSE_JOB_SESSION_GET, realm, baton);
    job->cb.session = cb;
    job->session = sse_arena_str(&job->arena, session);
    sse_local_submit(local_of(b), job);
}

const sse_broker_driver_t sse_local_driver = {
    .abi = SSE_BROKER_ABI,
    .scheme = "local",
    .create = sse_local_create,
    .stop = sse_local_stop,
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
    .interest = NULL, /* everything passes by here anyway */
    .cursors = call_cursors,
    .tracking = call_tracking,
    .session_put = call_session_put,
    .session_get = call_session_get,
};
