/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor's thread, its letters and its clock. */
#include "hub/reactor_impl.h"

#include "core/buf.h"
#include "core/log.h"
#include "hub/tlsrecord.h"
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Seconds that streams get for their last bytes when the hub stops. */
#define STOP_LINGER 2
#define SESSION_BUCKETS 256
/* Milliseconds of processor that a reactor asks for at a time. */
#define SLICE_MS 20
/* Milliseconds by which what can wait is told later, and together. */
#define TELL_MS 5

typedef struct order_message_t {
    sse_order_t order;
    sse_message_t *message;
} order_message_t;

typedef struct order_record_t {
    sse_order_t order;
    sse_record_t *record;
    size_t n_groups;
    sse_record_t *groups[];
} order_record_t;

typedef struct order_end_t {
    sse_order_t order;
    char kind;
    sse_end_reason_t reason;
    sse_gather_t *gather;
    char *realm, *name;
    size_t name_len;
} order_end_t;

typedef struct order_realm_t { /* RESET, FEED, STOP */
    sse_order_t order;
    char *realm;
    sse_pos_t pos;
    sse_block_t *block;
    sse_end_reason_t reason;
} order_realm_t;

/* ---- notices ---- */

sse_notice_t *sse_reactor_notice(sse_reactor_t *r, sse_notice_type_t type,
                                 const sse_node_realm_t *realm, const sse_node_t *user)
{
    sse_notice_t *n = sse_calloc(1, sizeof *n);
    n->type = type;
    n->reactor = r;
    if (realm)
        n->realm = sse_strndup(realm->name, strlen(realm->name));
    if (user)
        n->user = sse_strndup(user->key + 1, user->name_len);
    return n;
}

static void tell_all(sse_reactor_t *r)
{
    sse_letter_t *list = r->notices;
    r->notices = NULL;
    r->notices_tail = &r->notices;
    while (list) {
        sse_letter_t *next = list->next;
        sse_mailbox_post(r->conf.notices, list);
        list = next;
    }
}

static void on_telling(uv_timer_t *timer)
{
    tell_all(timer->data);
}

/* Streams come and go by the thousand: the control loop is woken for many of them together. That a
 * user came is told before the client hears of it (after_orders). */
static bool can_wait(const sse_reactor_t *r, const sse_notice_t *n)
{
    return (n->type == SSE_NOTICE_USER || n->type == SSE_NOTICE_CLOSED) && !r->stopping;
}

void sse_reactor_notice_post(sse_reactor_t *r, sse_notice_t *n)
{
    bool first = !r->notices;
    n->letter.next = NULL;
    *r->notices_tail = &n->letter;
    r->notices_tail = &n->letter.next;
    if (!can_wait(r, n))
        tell_all(r);
    else if (first)
        uv_timer_start(&r->telling, on_telling, TELL_MS, 0);
}

void sse_notice_free(sse_notice_t *n)
{
    free(n->realm);
    free(n->user);
    free(n->ranges);
    sse_buf_clear(&n->cursors);
    sse_attach_free(n->attach);
    free(n);
}

/* A cursor in a notice: the number, the length of the name, the name. Thousands of users may move
 * in one turn, so each is no more than that. */
void sse_reactor_cursor(sse_reactor_t *r, const sse_node_t *user, uint64_t seq)
{
    const sse_node_realm_t *realm = user->realm;
    if (r->cursors && (r->cursors->epoch != realm->epoch || strcmp(r->cursors->realm, realm->name)))
        sse_reactor_cursors_post(r);
    if (!r->cursors) {
        r->cursors = sse_reactor_notice(r, SSE_NOTICE_CURSORS, realm, NULL);
        r->cursors->epoch = realm->epoch;
    }
    sse_buf_add(&r->cursors->cursors, &seq, sizeof seq);
    sse_buf_add(&r->cursors->cursors, &user->name_len, sizeof user->name_len);
    sse_buf_add(&r->cursors->cursors, user->key + 1, user->name_len);
}

void sse_reactor_cursors_post(sse_reactor_t *r)
{
    if (r->cursors)
        sse_reactor_notice_post(r, r->cursors);
    r->cursors = NULL;
}

bool sse_notice_cursor(const sse_notice_t *n, size_t *at, sse_str_t *out_user, uint64_t *out_seq)
{
    uint16_t len;
    const char *p = n->cursors.p + *at;
    if (*at == n->cursors.n)
        return false;
    memcpy(out_seq, p, sizeof *out_seq);
    memcpy(&len, p + sizeof *out_seq, sizeof len);
    *out_user = (sse_str_t){p + sizeof *out_seq + sizeof len, len};
    *at += sizeof *out_seq + sizeof len + len;
    return true;
}

void sse_attach_free(sse_attach_t *a)
{
    if (!a)
        return;
    if (a->fd >= 0)
        close(a->fd);
    for (size_t i = 0; a->groups && i < a->record->n_memberships; i++)
        sse_record_unref(a->groups[i]);
    sse_record_unref(a->record);
    sse_tlsrecord_destroy(a->tls);
    for (size_t i = 0; i < a->n_events; i++)
        free(a->events[i]);
    free(a->groups);
    free(a->events);
    free(a->head);
    free(a->realm);
    free(a->user);
    free(a);
}

/* ---- orders ---- */

static void on_carried(void *owner, const sse_node_realm_t *realm, sse_channel_t channel, bool on)
{
    sse_reactor_t *r = owner;
    sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_INTEREST, realm, NULL);
    n->kind = (char)channel.kind;
    n->user = sse_strndup(channel.name.p, channel.name.n);
    n->online = on;
    sse_reactor_notice_post(r, n);
}

/* Whatever was published to the new channel since may have come before the broker sent the channel
 * here, even where other streams carry it already: their interest may be as young. */
static void on_gained(void *owner, const sse_node_t *node)
{
    sse_streamflow_behind(owner, node->realm, sse_node_channel(node));
}

static void take_record(sse_reactor_t *r, order_record_t *o)
{
    sse_node_realm_t *realm = sse_subindex_realm(&r->index, sse_str(o->record->realm));
    sse_node_t *node =
        realm ? sse_subindex_find(realm, (sse_channel_t){o->record->kind, sse_str(o->record->name)})
              : NULL;
    if (node && o->record->kind == SSE_CHANNEL_USER)
        sse_subindex_apply_user(&r->index, node, o->record, o->groups);
    else if (node)
        sse_subindex_apply_group(&r->index, node, o->record);
    for (size_t i = 0; i < o->n_groups; i++)
        sse_record_unref(o->groups[i]);
    sse_record_unref(o->record);
    free(o);
}

static void take_end(sse_reactor_t *r, order_end_t *o)
{
    uint32_t n = sse_streamend_matching(r, o->kind, sse_str(o->realm),
                                        (sse_str_t){o->name, o->name_len}, o->reason);
    if (o->gather) {
        sse_notice_t *notice = sse_reactor_notice(r, SSE_NOTICE_ENDED, NULL, NULL);
        notice->gather = o->gather;
        notice->streams = n;
        sse_reactor_notice_post(r, notice);
    }
    free(o->realm);
    free(o->name);
    free(o);
}

static void for_each_stream(sse_reactor_t *r,
                            void (*fn)(sse_reactor_t *r, sse_stream_t *s, int arg), int arg)
{
    for (uint32_t i = 0; i < r->n_chunks; i++)
        for (uint32_t k = 0; k < SSE_SLAB_CHUNK; k++)
            if (r->chunks[i][k].state != SSE_STREAM_FREE)
                fn(r, &r->chunks[i][k], arg);
}

static void end_stream(sse_reactor_t *r, sse_stream_t *s, int reason)
{
    sse_streamend_begin(r, s, (sse_end_reason_t)reason);
}

static void close_stream(sse_reactor_t *r, sse_stream_t *s, int unused)
{
    sse_streamio_close(r, s);
}

static void take_stop(sse_reactor_t *r, order_realm_t *o)
{
    r->stopping = true;
    r->stop_at = r->now + STOP_LINGER;
    for_each_stream(r, end_stream, (int)o->reason);
    free(o);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* The last stream is gone: the loop ends when its handles are closed. */
static void finish(sse_reactor_t *r)
{
    sse_reactor_cursors_post(r);
    if (!r->stopping || r->finished || r->n_streams)
        return;
    r->finished = true;
    sse_mailbox_close(&r->orders);
    uv_walk(&r->loop, close_handle, NULL);
}

static void take_order(void *owner, sse_letter_t *letter)
{
    sse_reactor_t *r = owner;
    sse_order_t *order = (sse_order_t *)letter;
    switch (order->type) {
    case SSE_ORDER_ATTACH:
        if (r->finished) {
            sse_attach_free((sse_attach_t *)order);
            break;
        }
        if (r->stopping)
            ((sse_attach_t *)order)->end = SSE_END_SHUTDOWN;
        sse_streamflow_attach(r, (sse_attach_t *)order);
        break;
    case SSE_ORDER_MESSAGE:
        r->last_order = !letter->next;
        sse_streamflow_message(r, ((order_message_t *)order)->message);
        letter->next = r->held;
        r->held = letter;
        break;
    case SSE_ORDER_RECORD:
        take_record(r, (order_record_t *)order);
        break;
    case SSE_ORDER_HISTORY:
        sse_streamflow_history(r, (sse_replay_t *)order);
        break;
    case SSE_ORDER_END:
        take_end(r, (order_end_t *)order);
        break;
    case SSE_ORDER_RESET: {
        order_realm_t *o = (order_realm_t *)order;
        sse_streamflow_reset(r, sse_str(o->realm), o->pos);
        free(o->realm);
        free(o);
        break;
    }
    case SSE_ORDER_FEED: {
        order_realm_t *o = (order_realm_t *)order;
        sse_streamflow_feed(r, sse_str(o->realm), o->block);
        sse_block_unref(o->block);
        free(o->realm);
        free(o);
        break;
    }
    case SSE_ORDER_STOP:
        take_stop(r, (order_realm_t *)order);
        break;
    }
}

/* The batch of orders is through: everything that became due to be written goes out now, then its
 * messages are let go. */
static void after_orders(void *owner)
{
    sse_reactor_t *r = owner;
    if (r->joined)
        tell_all(r);
    r->joined = false;
    sse_streamio_flush_dirty(r);
    while (r->held) {
        order_message_t *o = (order_message_t *)r->held;
        r->held = o->order.letter.next;
        sse_message_unref(o->message);
        free(o);
    }
    finish(r);
}

static void on_sockets(uv_poll_t *handle, int status, int events)
{
    sse_reactor_t *r = handle->data;
    sse_streamio_poll(r);
    finish(r);
}

static void on_due(void *baton, sse_wheel_node_t *node)
{
    sse_stream_t *s = (sse_stream_t *)((char *)node - offsetof(sse_stream_t, timer));
    sse_streamend_due(baton, s);
}

static void each_second(sse_reactor_t *r, sse_stream_t *s, int unused)
{
    atomic_fetch_add_explicit(&r->stats.queued, sse_outq_bytes(s->outq), memory_order_relaxed);
    sse_streamio_look(r, s);
}

static void on_second(uv_timer_t *timer)
{
    sse_reactor_t *r = timer->data;
    r->now = (uint32_t)((uv_now(&r->loop) - r->started) / 1000);
    sse_wheel_turn(&r->wheel, r->now, on_due, r);
    sse_streamuser_linger(r);
    sse_streamio_flush_dirty(r);
    atomic_store_explicit(&r->stats.queued, 0, memory_order_relaxed);
    for_each_stream(r, each_second, 0);
    if (r->stopping && r->now >= r->stop_at)
        for_each_stream(r, close_stream, 0);
    finish(r);
}

/* A fan-out keeps a processor busy for many milliseconds. A thread with a longer slice than others
 * gives way to whoever wakes up meanwhile (clients on this host, httpd's workers, the control
 * loop), instead of at the next tick of the clock. sched_setattr(2) as Linux 6.12 understands it
 * for SCHED_OTHER; older kernels take no notice. C libraries name the struct in different headers.
 */
static void take_long_slice(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = sizeof attr,
              .nice = getpriority(PRIO_PROCESS, 0),
              .runtime = SLICE_MS * 1000000ull};
    syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void run(void *arg)
{
    sse_reactor_t *r = arg;
    take_long_slice();
    uv_run(&r->loop, UV_RUN_DEFAULT);
    sse_reactor_notice_post(r, sse_reactor_notice(r, SSE_NOTICE_STOPPED, NULL, NULL));
}

/* ---- life ---- */

apr_status_t sse_reactor_create(const sse_reactor_conf_t *conf, sse_reactor_t **out_reactor)
{
    sse_reactor_t *r = sse_calloc(1, sizeof *r);
    r->conf = *conf;
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll < 0) {
        apr_status_t rv = APR_FROM_OS_ERROR(errno);
        free(r);
        return rv;
    }
    r->session_buckets = SESSION_BUCKETS;
    r->sessions = sse_calloc(SESSION_BUCKETS, sizeof(sse_stream_t *));
    if (conf->interest) {
        r->index.carried = on_carried;
        r->index.gained = on_gained;
    }
    r->index.owner = r;
    sse_buf_t heartbeat = {0};
    sse_render_heartbeat(&heartbeat);
    r->heartbeat = sse_block_create(sse_buf_slice(&heartbeat), (sse_pos_t){0, 0});
    sse_buf_clear(&heartbeat);
    if (uv_loop_init(&r->loop) ||
        sse_mailbox_init(&r->orders, &r->loop, take_order, after_orders, r) ||
        uv_timer_init(&r->loop, &r->second) || uv_timer_init(&r->loop, &r->telling) ||
        uv_poll_init(&r->loop, &r->sockets, r->epoll))
        abort(); /* out of descriptors or memory before the first stream */
    r->notices_tail = &r->notices;
    r->telling.data = r->second.data = r->sockets.data = r;
    r->started = uv_now(&r->loop);
    sse_wheel_init(&r->wheel, 0);
    uv_timer_start(&r->second, on_second, 1000, 1000);
    uv_poll_start(&r->sockets, UV_READABLE, on_sockets);
    if (uv_thread_create(&r->thread, run, r))
        abort();
    *out_reactor = r;
    return APR_SUCCESS;
}

void sse_reactor_destroy(sse_reactor_t *r)
{
    uv_thread_join(&r->thread);
    uv_loop_close(&r->loop);
    close(r->epoll);
    for (size_t i = 0; i < r->n_lingering; i++)
        sse_subindex_user_free(&r->index, r->lingering[i]);
    free(r->lingering);
    free(r->sessions);
    sse_streamio_slab_free(r);
    sse_tlssealer_destroy(r->sealer);
    sse_block_unref(r->heartbeat);
    free(r);
}

const sse_reactor_stats_t *sse_reactor_stats(const sse_reactor_t *r)
{
    return &r->stats;
}

/* ---- posting ---- */

static void *order(size_t size, sse_order_type_t type)
{
    sse_order_t *o = sse_calloc(1, size);
    o->type = type;
    return o;
}

void sse_reactor_attach_post(sse_reactor_t *r, sse_attach_t *attach)
{
    attach->order.type = SSE_ORDER_ATTACH;
    sse_mailbox_post(&r->orders, &attach->order.letter);
}

void sse_reactor_message_post(sse_reactor_t *r, sse_message_t *m)
{
    order_message_t *o = order(sizeof *o, SSE_ORDER_MESSAGE);
    o->message = sse_message_ref(m);
    sse_mailbox_post(&r->orders, &o->order.letter);
}

void sse_reactor_record_post(sse_reactor_t *r, sse_record_t *record, sse_record_t *const *groups)
{
    size_t n = groups ? record->n_memberships : 0;
    order_record_t *o = order(sizeof *o + n * sizeof *groups, SSE_ORDER_RECORD);
    o->record = sse_record_ref(record);
    o->n_groups = n;
    for (size_t i = 0; i < n; i++)
        o->groups[i] = sse_record_ref(groups[i]);
    sse_mailbox_post(&r->orders, &o->order.letter);
}

void sse_reactor_history_post(sse_reactor_t *r, sse_replay_t *replay)
{
    replay->order.type = SSE_ORDER_HISTORY;
    sse_mailbox_post(&r->orders, &replay->order.letter);
}

void sse_reactor_end_post(sse_reactor_t *r, char kind, sse_str_t realm, sse_str_t name,
                          sse_end_reason_t reason, sse_gather_t *gather)
{
    order_end_t *o = order(sizeof *o, SSE_ORDER_END);
    o->kind = kind;
    o->reason = reason;
    o->gather = gather;
    o->realm = sse_strndup(realm.p, realm.n);
    o->name = sse_strndup(name.p, name.n);
    o->name_len = name.n;
    sse_mailbox_post(&r->orders, &o->order.letter);
}

static order_realm_t *realm_order(sse_order_type_t type, sse_str_t realm)
{
    order_realm_t *o = order(sizeof *o, type);
    o->realm = sse_strndup(realm.p, realm.n);
    return o;
}

void sse_reactor_reset_post(sse_reactor_t *r, sse_str_t realm, sse_pos_t pos)
{
    order_realm_t *o = realm_order(SSE_ORDER_RESET, realm);
    o->pos = pos;
    sse_mailbox_post(&r->orders, &o->order.letter);
}

void sse_reactor_feed_post(sse_reactor_t *r, sse_str_t realm, sse_block_t *block)
{
    order_realm_t *o = realm_order(SSE_ORDER_FEED, realm);
    o->block = sse_block_ref(block);
    sse_mailbox_post(&r->orders, &o->order.letter);
}

void sse_reactor_stop_post(sse_reactor_t *r, sse_end_reason_t reason)
{
    order_realm_t *o = order(sizeof *o, SSE_ORDER_STOP);
    o->reason = reason;
    sse_mailbox_post(&r->orders, &o->order.letter);
}
