/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream carries: opening, live messages, history in portions.
 *
 * A stream is a position in its channels. While it is behind (OPENING, REPLAY) it asks the control
 * loop for history after its position, portion by portion, and live messages pass it by; the answer
 * that reaches the present makes it LIVE. Orders come in one order, so nothing falls between. */
#include "hub/reactor_impl.h"

#include "core/buf.h"
#include <stdlib.h>
#include <time.h>

/* More history is asked for when less than this waits to be sent. */
#define REPLAY_LOW_WATER (64 * 1024)

/* ---- opening ---- */

static void ask_history(sse_reactor_t *r, sse_stream_t *s)
{
    sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_HISTORY, s->realm, NULL);
    sse_range_t *ranges;
    sse_subindex_ranges(&s->source, s->user, s->last_seq, &ranges, &n->n_ranges);
    /* The names belong to the index, which may have changed when the control loop reads them: copy.
     */
    size_t bytes = n->n_ranges * sizeof *ranges;
    for (size_t i = 0; i < n->n_ranges; i++)
        bytes += ranges[i].channel.name.n;
    n->ranges = sse_malloc(bytes);
    char *names = (char *)(n->ranges + n->n_ranges);
    for (size_t i = 0; i < n->n_ranges; i++) {
        sse_str_t name = ranges[i].channel.name;
        if (name.n)
            memcpy(names, name.p, name.n);
        n->ranges[i] = ranges[i];
        n->ranges[i].channel.name.p = names;
        names += name.n;
    }
    free(ranges);
    n->stream = (sse_stream_handle_t){s->slot, s->generation};
    s->asked = true;
    s->again = false;
    sse_reactor_notice_post(r, n);
}

/* The first bytes: retry, stream-open, and stream-reset where something is gone. */
static void write_opening(sse_reactor_t *r, sse_stream_t *s, uint64_t seq, bool resumed)
{
    sse_buf_t out = {0};
    sse_render_retry(&out, sse_streamend_open_retry(r));
    sse_pos_t pos = {s->feed ? 0 : s->realm->epoch, seq};
    sse_render_open(&out, pos, resumed);
    sse_streamio_block(r, s, sse_buf_slice(&out), pos);
    sse_buf_clear(&out);
}

void sse_streamflow_tell_reset(sse_reactor_t *r, sse_stream_t *s, uint64_t seq,
                               sse_reset_reason_t reason, char *const *events, size_t n_events)
{
    sse_pos_t pos = {s->realm->epoch, seq};
    sse_buf_t out = {0};
    sse_str_t *names = sse_calloc(n_events + 1, sizeof *names);
    for (size_t i = 0; i < n_events; i++)
        names[i] = sse_str(events[i]);
    sse_render_reset(&out, pos, reason, n_events ? names : NULL, n_events);
    sse_streamio_block(r, s, sse_buf_slice(&out), pos);
    free(names);
    sse_buf_clear(&out);
}

static void set_ends(sse_reactor_t *r, sse_stream_t *s, uint64_t session_expires)
{
    if (r->conf.max_age && !s->feed) {
        uint32_t fifth = r->conf.max_age / 5;
        s->end_at = r->now + r->conf.max_age - sse_streamend_random(fifth + 1);
        s->end_reason = SSE_END_MAX_AGE;
    }
    if (session_expires) {
        uint64_t unix_now = (uint64_t)time(NULL);
        /* One more second: both clocks are cut to seconds, and the session must be over when the
         * client comes back. */
        uint64_t left = session_expires > unix_now ? session_expires - unix_now + 1 : 1;
        if (left < UINT32_MAX / 2 && r->now + left < s->end_at) {
            s->end_at = r->now + (uint32_t)left;
            s->end_reason = SSE_END_EXPIRED;
        }
    }
}

/* Streams that are ending are through already: they neither count nor are they replaced. */
static void replace_oldest(sse_reactor_t *r, const sse_node_t *user)
{
    sse_stream_t *oldest = NULL;
    uint32_t n = 0;
    for (sse_stream_t *s = user->oldest; s; s = s->user_next) {
        if (s->state == SSE_STREAM_ENDING)
            continue;
        if (!n++)
            oldest = s;
    }
    if (n > r->conf.max_streams_per_user)
        sse_streamend_begin(r, oldest, SSE_END_REPLACED);
}

static void attach_user(sse_reactor_t *r, sse_stream_t *s, const sse_attach_t *a)
{
    sse_channel_t channel = {SSE_CHANNEL_USER, sse_str(a->user)};
    sse_node_t *user = sse_subindex_find(s->realm, channel);
    if (!user) {
        user = sse_subindex_get(s->realm, channel);
        atomic_fetch_add_explicit(&r->stats.users, 1, memory_order_relaxed);
    }
    if (a->record) /* what it brings is news to the user's other streams, not to this one */
        sse_subindex_apply_user(&r->index, user, a->record, a->groups);
    sse_streamuser_join(r, s, user);
    if (r->conf.max_streams_per_user && user->n_streams > r->conf.max_streams_per_user)
        replace_oldest(r, user);
}

void sse_streamflow_attach(sse_reactor_t *r, sse_attach_t *a)
{
    int fd = a->fd;
    a->fd = -1;
    sse_stream_t *s = sse_streamio_open(r, fd, a->address);
    if (!s) {
        sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_CLOSED, NULL, NULL);
        memcpy(n->address, a->address, sizeof n->address);
        n->realm = sse_strndup(a->realm, strlen(a->realm));
        n->feed = a->feed;
        n->parked = a->parked;
        n->carriage = a->carriage;
        n->attach = a;
        sse_reactor_notice_post(r, n);
        return;
    }
    if (a->tls)
        sse_streamtls_attach(r, s, a->tls);
    a->tls = NULL;
    s->realm = sse_subindex_realm_ref(&r->index, sse_str(a->realm));
    s->feed = a->feed;
    if (!s->feed) /* a feed has no position */
        s->realm->epoch = a->pos.epoch;
    s->parked = a->parked;
    s->carriage = a->carriage & 3;
    sse_stream_t **list = s->feed ? &s->realm->feeds : &s->realm->streams;
    s->realm_next = *list;
    if (*list)
        (*list)->realm_prev = s;
    *list = s;
    if (a->has_session) {
        memcpy(s->session, a->session, sizeof s->session);
        s->has_session = true;
        sse_streamuser_join_session(r, s);
    }
    s->last_seq = s->sent_seq = a->cursor;
    s->resumed = a->resumed;
    s->reset = (uint8_t)(a->reset + 1);
    if (a->user)
        attach_user(r, s, a);
    if (a->n_events) {
        sse_str_t names[SSE_STREAM_EVENTS_MAX];
        size_t n = a->n_events < SSE_STREAM_EVENTS_MAX ? a->n_events : SSE_STREAM_EVENTS_MAX;
        for (size_t i = 0; i < n; i++)
            names[i] = sse_str(a->events[i]);
        sse_subindex_stream_events(&s->source, s->realm, names, n);
    }
    if (a->head)
        sse_streamio_block(r, s, (sse_str_t){a->head, a->head_len}, (sse_pos_t){0, 0});
    set_ends(r, s, a->session_expires);
    if (a->end >= 0) {
        sse_streamend_begin(r, s, (sse_end_reason_t)a->end);
    } else if (s->feed || a->current) {
        write_opening(r, s, s->last_seq, s->resumed && !s->reset);
        if (s->reset)
            sse_streamflow_tell_reset(r, s, s->last_seq, s->reset - 1, NULL, 0);
        s->state = SSE_STREAM_LIVE;
    } else {
        ask_history(r, s);
    }
    sse_streamend_arm(r, s);
    if (r->conf.interest) {
        sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_ATTACHED, NULL, NULL);
        n->attach = a;
        sse_reactor_notice_post(r, n);
    } else {
        sse_attach_free(a);
    }
}

void sse_streamflow_leave(sse_reactor_t *r, sse_stream_t *s)
{
    sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_CLOSED, s->realm, s->user);
    memcpy(n->address, s->address, sizeof n->address);
    n->feed = s->feed;
    n->parked = s->parked;
    n->carriage = s->carriage;
    sse_reactor_notice_post(r, n);
    sse_subindex_stream_clear(&r->index, &s->source);
    if (s->has_session)
        sse_streamuser_leave_session(r, s);
    if (s->user)
        sse_streamuser_leave(r, s);
    sse_stream_t **list = s->feed ? &s->realm->feeds : &s->realm->streams;
    *(s->realm_prev ? &s->realm_prev->realm_next : list) = s->realm_next;
    if (s->realm_next)
        s->realm_next->realm_prev = s->realm_prev;
    sse_subindex_realm_unref(&r->index, s->realm);
    s->realm = NULL;
}

/* ---- messages ---- */

static void deliver(void *baton, sse_stream_t *s)
{
    sse_reactor_t *r = baton;
    sse_message_t *m = r->current;
    if (s->state != SSE_STREAM_LIVE || m->pos.seq <= s->last_seq)
        return;
    s->last_seq = m->pos.seq;
    atomic_fetch_add_explicit(&r->stats.deliveries, 1, memory_order_relaxed);
    if (!s->pending && !s->outq) {
        s->pending = m;
    } else {
        if (s->pending) {
            sse_outq_message(&s->outq, s->pending, SSE_OUTQ_LIVE);
            s->pending = NULL;
        }
        sse_outq_message(&s->outq, m, SSE_OUTQ_LIVE);
    }
    /* The first receiver should not wait until the last one is found; but what comes together goes
     * out together. */
    if (r->last_order && !s->dirty)
        sse_streamio_flush_visited(r, s);
    else
        sse_streamio_dirty(r, s);
}

void sse_streamflow_message(sse_reactor_t *r, sse_message_t *m)
{
    const sse_node_realm_t *realm = sse_subindex_realm(&r->index, m->realm);
    if (!realm)
        return;
    r->current = m;
    for (size_t i = 0; i < m->n_targets; i++) {
        const sse_message_target_t *t = &m->targets[i];
        sse_subindex_visit(realm, (sse_channel_t){(sse_channel_kind_t)t->kind, {t->name, t->n}},
                           deliver, r);
    }
    r->current = NULL;
}

/* Where a stream that lost something stands: as far forward as it can without passing what can
 * still be given. */
static uint64_t reset_position(const sse_replay_t *h)
{
    if (!h->n_messages)
        return h->more ? h->gap_end : h->pos;
    uint64_t before = h->messages[0]->pos.seq - 1;
    return before < h->gap_end ? before : h->gap_end;
}

static void take_history(sse_reactor_t *r, sse_stream_t *s, sse_replay_t *h)
{
    bool opening = s->state == SSE_STREAM_OPENING;
    bool gap = h->gap_end > 0;
    if (gap && reset_position(h) > s->last_seq)
        s->last_seq = reset_position(h);
    if (opening) {
        write_opening(r, s, s->last_seq, s->resumed && !s->reset && !gap);
        if (s->reset)
            sse_streamflow_tell_reset(r, s, s->last_seq, s->reset - 1, NULL, 0);
    }
    if (gap && !(opening && s->reset))
        sse_streamflow_tell_reset(r, s, s->last_seq, SSE_RESET_EXPIRED,
                                  h->gap_directed ? NULL : h->gap_events,
                                  h->gap_directed ? 0 : h->n_gap_events);
    for (size_t i = 0; i < h->n_messages; i++) {
        if (h->messages[i]->pos.seq <= s->last_seq)
            continue;
        s->last_seq = h->messages[i]->pos.seq;
        sse_outq_message(&s->outq, h->messages[i], SSE_OUTQ_REPLAY);
    }
    atomic_fetch_add_explicit(&r->stats.replayed, h->n_messages, memory_order_relaxed);
    if (h->more) {
        s->state = SSE_STREAM_REPLAY;
    } else {
        s->state = SSE_STREAM_LIVE;
        if (h->pos > s->last_seq)
            s->last_seq = h->pos;
    }
    sse_streamio_dirty(r, s);
    sse_streamend_arm(r, s);
}

void sse_streamflow_history(sse_reactor_t *r, sse_replay_t *h)
{
    sse_stream_t *s = sse_streamio_find(r, h->stream);
    if (s)
        s->asked = false;
    if (s && (s->state == SSE_STREAM_OPENING || s->state == SSE_STREAM_REPLAY)) {
        if (s->again)
            ask_history(r, s);
        else if (h->status == APR_SUCCESS)
            take_history(r, s, h);
        else
            sse_streamend_begin(r, s, SSE_END_UNAVAILABLE);
    }
    for (size_t i = 0; i < h->n_messages; i++)
        sse_message_unref(h->messages[i]);
    for (size_t i = 0; i < h->n_gap_events; i++)
        free(h->gap_events[i]);
    free(h->gap_events);
    free(h);
}

static void fall_behind(void *baton, sse_stream_t *s)
{
    if (s->state == SSE_STREAM_LIVE)
        s->state = SSE_STREAM_REPLAY;
    else if (s->state != SSE_STREAM_REPLAY && s->state != SSE_STREAM_OPENING)
        return;
    if (s->asked)
        s->again = true;
    else
        ask_history(baton, s);
}

void sse_streamflow_behind(sse_reactor_t *r, const sse_node_realm_t *realm, sse_channel_t channel)
{
    sse_subindex_visit(realm, channel, fall_behind, r);
}

static void reset_realm(sse_reactor_t *r, sse_node_realm_t *realm, sse_pos_t pos)
{
    realm->epoch = pos.epoch;
    for (sse_stream_t *s = realm->streams; s; s = s->realm_next) {
        s->moved = false;
        s->check_seq = 0;
        if (s->user)
            s->user->cursor = 0; /* of the old positions */
        if (s->state == SSE_STREAM_ENDING)
            continue;
        s->last_seq = s->sent_seq = pos.seq;
        if (s->state == SSE_STREAM_OPENING) {
            s->reset = SSE_RESET_BROKER_RESET + 1;
            s->again = true; /* the answer under way is of the old positions */
            continue;
        }
        s->untold = true;
        sse_streamflow_tell_reset(r, s, pos.seq, SSE_RESET_BROKER_RESET, NULL, 0);
        s->state = SSE_STREAM_LIVE;
    }
}

void sse_streamflow_reset(sse_reactor_t *r, sse_str_t realm, sse_pos_t pos)
{
    for (sse_node_realm_t *each = r->index.realms; each; each = each->hh.next)
        if (!realm.n || sse_str_eq(realm, sse_str(each->name)))
            reset_realm(r, each, pos);
}

void sse_streamflow_feed(sse_reactor_t *r, sse_str_t realm, sse_block_t *block)
{
    const sse_node_realm_t *found = sse_subindex_realm(&r->index, realm);
    for (sse_stream_t *s = found ? found->feeds : NULL; s; s = s->realm_next) {
        if (s->state != SSE_STREAM_LIVE)
            continue;
        sse_outq_block(&s->outq, sse_block_ref(block));
        sse_streamio_dirty(r, s);
    }
}

bool sse_streamflow_drained(sse_reactor_t *r, sse_stream_t *s)
{
    if (s->state == SSE_STREAM_ENDING) {
        if (s->outq)
            return true;
        sse_streamio_close(r, s);
        return false;
    }
    if (s->state == SSE_STREAM_REPLAY && !s->asked && sse_outq_bytes(s->outq) < REPLAY_LOW_WATER)
        ask_history(r, s);
    /* All that a feed gets is live. */
    size_t live = s->feed ? sse_outq_bytes(s->outq) : sse_outq_live_bytes(s->outq);
    if (live > r->conf.stream_buffer)
        sse_streamend_begin(r, s, SSE_END_SLOW);
    return true;
}
