/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream carries: opening, live messages, history in portions, its ends, and the users
 * behind streams.
 *
 * A stream is a position in its channels. While it is behind (OPENING, REPLAY) it asks the control
 * loop for history after its position, portion by portion, and live messages pass it by; the answer
 * that reaches the present makes it LIVE. Orders come in one order, so nothing falls between the
 * two. */
#include "hub/reactor_impl.h"

#include "core/buf.h"
#include "core/crypto.h"
#include "core/log.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <time.h>

/* More history is asked for when less than this waits to be sent. */
#define REPLAY_LOW_WATER (64 * 1024)
/* Seconds that an ending stream gets for its last bytes. */
#define END_LINGER 5
/* Streams that may come back within a millisecond: how wide crowds are spread. */
#define SPREAD_MS_MAX 60000

/* ---- small parts ---- */

static uint32_t random_below(uint32_t n)
{
    uint32_t x;
    sse_crypto_random(&x, sizeof x);
    return n ? x % n : 0;
}

/* Milliseconds over which the streams of this hub should spread when they all come back: about a
 * thousand a second. */
static uint32_t crowd_ms(const sse_reactor_t *r)
{
    unsigned long long n = atomic_load_explicit(r->conf.host_streams, memory_order_relaxed);
    return n > SPREAD_MS_MAX ? SPREAD_MS_MAX : (uint32_t)n;
}

static uint32_t open_retry(const sse_reactor_t *r)
{
    uint32_t jitter = r->conf.retry / 2;
    if (jitter < crowd_ms(r))
        jitter = crowd_ms(r);
    return r->conf.retry + random_below(jitter + 1);
}

static void format_address(const sse_stream_t *s, char out[INET6_ADDRSTRLEN])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!memcmp(s->address, mapped, sizeof mapped))
        inet_ntop(AF_INET, s->address + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, s->address, out, INET6_ADDRSTRLEN);
}

static void arm(sse_reactor_t *r, sse_stream_t *s)
{
    uint32_t due = s->end_at;
    if (r->conf.heartbeat && s->state != SSE_STREAM_ENDING &&
        s->written_at + r->conf.heartbeat < due)
        due = s->written_at + r->conf.heartbeat;
    if (due != UINT32_MAX)
        sse_wheel_set(&r->wheel, &s->timer, due);
}

/* ---- users ---- */

static void tell_user(sse_reactor_t *r, const sse_node_t *user, bool online)
{
    sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_USER, user->realm, user);
    n->streams = user->n_streams;
    n->online = online;
    sse_reactor_notice_post(r, n);
}

static void join_user(sse_reactor_t *r, sse_stream_t *s, sse_node_t *user)
{
    s->user = user;
    s->user_prev = user->newest;
    if (user->newest)
        user->newest->user_next = s;
    else
        user->oldest = s;
    user->newest = s;
    user->n_streams++;
    tell_user(r, user, true);
}

/* Grace after the last stream; longer where the server itself sent the client away for a while. */
static void linger(sse_reactor_t *r, sse_node_t *user, bool server_ended)
{
    user->offline_at = r->now + r->conf.presence_grace;
    if (server_ended)
        user->offline_at += (r->conf.retry * 3 / 2 + crowd_ms(r) + 999) / 1000;
    if (r->n_lingering == r->cap_lingering) {
        r->cap_lingering = r->cap_lingering ? r->cap_lingering * 2 : 16;
        r->lingering = sse_realloc(r->lingering, r->cap_lingering * sizeof(sse_node_t *));
    }
    if (!user->lingers)
        r->lingering[r->n_lingering++] = user;
    user->lingers = true;
}

static void leave_user(sse_reactor_t *r, sse_stream_t *s)
{
    sse_node_t *user = s->user;
    *(s->user_prev ? &s->user_prev->user_next : &user->oldest) = s->user_next;
    *(s->user_next ? &s->user_next->user_prev : &user->newest) = s->user_prev;
    user->n_streams--;
    s->user = NULL;
    if (!user->n_streams)
        linger(r, user, s->state == SSE_STREAM_ENDING && !sse_end_reason_final(s->end_reason));
    tell_user(r, user, true);
}

void sse_streamflow_linger(sse_reactor_t *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_lingering; i++) {
        sse_node_t *user = r->lingering[i];
        if (!user->n_streams && r->now < user->offline_at) {
            r->lingering[kept++] = user;
            continue;
        }
        user->lingers = false;
        if (user->n_streams)
            continue;
        tell_user(r, user, false);
        atomic_fetch_sub_explicit(&r->stats.users, 1, memory_order_relaxed);
        sse_subindex_user_free(&r->index, user);
    }
    r->n_lingering = kept;
}

/* ---- sessions ---- */

static sse_stream_t **session_bucket(sse_reactor_t *r, const unsigned char *session)
{
    uint32_t hash;
    memcpy(&hash, session, sizeof hash);
    return &r->sessions[hash & (r->session_buckets - 1)];
}

static void join_session(sse_reactor_t *r, sse_stream_t *s)
{
    if (r->n_streams > r->session_buckets) {
        sse_stream_t **old = r->sessions;
        uint32_t n = r->session_buckets;
        r->session_buckets = n * 2;
        r->sessions = sse_calloc(r->session_buckets, sizeof(sse_stream_t *));
        for (uint32_t i = 0; i < n; i++) {
            while (old[i]) {
                sse_stream_t *moved = old[i];
                old[i] = moved->session_next;
                sse_stream_t **to = session_bucket(r, moved->session);
                moved->session_next = *to;
                *to = moved;
            }
        }
        free(old);
    }
    sse_stream_t **bucket = session_bucket(r, s->session);
    s->session_next = *bucket;
    *bucket = s;
}

static void leave_session(sse_reactor_t *r, sse_stream_t *s)
{
    sse_stream_t **link = session_bucket(r, s->session);
    while (*link != s)
        link = &(*link)->session_next;
    *link = s->session_next;
}

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
    sse_render_retry(&out, open_retry(r));
    sse_render_open(&out, (sse_pos_t){s->realm->epoch, seq}, resumed);
    sse_streamio_block(r, s, sse_buf_slice(&out));
    sse_buf_clear(&out);
    s->sent_seq = seq;
}

static void write_reset(sse_reactor_t *r, sse_stream_t *s, uint64_t seq, sse_reset_reason_t reason,
                        char *const *events, size_t n_events)
{
    sse_buf_t out = {0};
    sse_str_t *names = sse_calloc(n_events + 1, sizeof *names);
    for (size_t i = 0; i < n_events; i++)
        names[i] = sse_str(events[i]);
    sse_render_reset(&out, (sse_pos_t){s->realm->epoch, seq}, reason, n_events ? names : NULL,
                     n_events);
    sse_streamio_block(r, s, sse_buf_slice(&out));
    free(names);
    sse_buf_clear(&out);
}

static void set_ends(sse_reactor_t *r, sse_stream_t *s, uint64_t session_expires)
{
    if (r->conf.max_age && !s->feed) {
        uint32_t fifth = r->conf.max_age / 5;
        s->end_at = r->now + r->conf.max_age - random_below(fifth + 1);
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

static void attach_user(sse_reactor_t *r, sse_stream_t *s, const sse_attach_t *a)
{
    sse_channel_t channel = {SSE_CHANNEL_USER, sse_str(a->user)};
    sse_node_t *user = sse_subindex_find(s->realm, channel);
    if (!user) {
        user = sse_subindex_get(s->realm, channel);
        atomic_fetch_add_explicit(&r->stats.users, 1, memory_order_relaxed);
    }
    join_user(r, s, user);
    if (a->record)
        sse_subindex_apply_user(&r->index, user, a->record, a->groups);
    if (r->conf.max_streams_per_user && user->n_streams > r->conf.max_streams_per_user) {
        for (sse_stream_t *old = user->oldest; old; old = old->user_next) {
            if (old->state != SSE_STREAM_ENDING) {
                sse_streamflow_end(r, old, SSE_END_REPLACED);
                break;
            }
        }
    }
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
        sse_reactor_notice_post(r, n);
        sse_attach_free(a);
        return;
    }
    s->realm = sse_subindex_realm_ref(&r->index, sse_str(a->realm));
    s->realm->epoch = a->pos.epoch;
    s->feed = a->feed;
    s->parked = a->parked;
    sse_stream_t **list = s->feed ? &s->realm->feeds : &s->realm->streams;
    s->realm_next = *list;
    if (*list)
        (*list)->realm_prev = s;
    *list = s;
    if (a->has_session) {
        memcpy(s->session, a->session, sizeof s->session);
        s->has_session = true;
        join_session(r, s);
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
    set_ends(r, s, a->session_expires);
    if (a->end >= 0) {
        sse_streamflow_end(r, s, (sse_end_reason_t)a->end);
    } else if (s->feed || a->current) {
        write_opening(r, s, s->last_seq, s->resumed && !s->reset);
        if (s->reset)
            write_reset(r, s, s->last_seq, s->reset - 1, NULL, 0);
        s->state = SSE_STREAM_LIVE;
    } else {
        ask_history(r, s);
    }
    arm(r, s);
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
    sse_reactor_notice_post(r, n);
    sse_subindex_stream_clear(&r->index, &s->source);
    if (s->has_session)
        leave_session(r, s);
    if (s->user)
        leave_user(r, s);
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
            write_reset(r, s, s->last_seq, s->reset - 1, NULL, 0);
    }
    if (gap && !(opening && s->reset))
        write_reset(r, s, s->last_seq, SSE_RESET_EXPIRED, h->gap_directed ? NULL : h->gap_events,
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
    arm(r, s);
}

void sse_streamflow_history(sse_reactor_t *r, sse_replay_t *h)
{
    sse_stream_t *s = sse_streamio_find(r, h->stream);
    if (s && (s->state == SSE_STREAM_OPENING || s->state == SSE_STREAM_REPLAY)) {
        s->asked = false;
        if (s->again && h->status == APR_SUCCESS)
            ask_history(r, s);
        else if (h->status == APR_SUCCESS)
            take_history(r, s, h);
        else
            sse_streamflow_end(r, s, SSE_END_UNAVAILABLE);
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
        if (s->state == SSE_STREAM_ENDING)
            continue;
        s->last_seq = pos.seq;
        if (s->state == SSE_STREAM_OPENING) {
            s->reset = SSE_RESET_BROKER_RESET + 1;
            continue;
        }
        write_reset(r, s, pos.seq, SSE_RESET_BROKER_RESET, NULL, 0);
        s->sent_seq = pos.seq;
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

/* ---- ends ---- */

static uint32_t end_retry(sse_reactor_t *r, sse_end_reason_t reason)
{
    switch (reason) {
    case SSE_END_MAX_AGE: /* back within a second or so, unless a crowd is */
        return 100 + random_below(900 + crowd_ms(r) / 10);
    case SSE_END_SHUTDOWN:
        return r->conf.retry / 3 + random_below(r->conf.retry / 2 + crowd_ms(r) + 1);
    case SSE_END_UNAVAILABLE:
    case SSE_END_BUSY:
        return 2 * r->conf.retry + random_below(2 * r->conf.retry + crowd_ms(r) + 1);
    default:
        return 0;
    }
}

void sse_streamflow_end(sse_reactor_t *r, sse_stream_t *s, sse_end_reason_t reason)
{
    if (s->state == SSE_STREAM_ENDING)
        return;
    if (reason == SSE_END_SLOW) {
        char address[INET6_ADDRSTRLEN];
        format_address(s, address);
        sse_log(
            SSE_LOG_NOTICE,
            "SSE0210: ended the stream of user '%.*s' at %s, which did not read: %zu bytes unsent",
            s->user ? (int)s->user->name_len : 1, s->user ? s->user->key + 1 : "-", address,
            sse_outq_bytes(s->outq));
        s->pending = NULL;
        sse_outq_drop_unsent(&s->outq);
        atomic_fetch_add_explicit(&r->stats.ended_slow, 1, memory_order_relaxed);
    }
    /* What is queued goes out first, so the position at the end is that of the last message queued.
     */
    uint64_t seq = reason == SSE_END_SLOW ? s->sent_seq : s->last_seq;
    sse_buf_t out = {0};
    uint32_t retry = end_retry(r, reason);
    if (retry || s->state == SSE_STREAM_OPENING)
        sse_render_retry(&out, retry ? retry : open_retry(r));
    sse_render_end(&out, (sse_pos_t){s->realm->epoch, seq}, reason);
    sse_streamio_block(r, s, sse_buf_slice(&out));
    sse_buf_clear(&out);
    s->state = SSE_STREAM_ENDING;
    s->end_reason = reason;
    s->end_at = r->now + END_LINGER;
    arm(r, s);
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
    if (s->outq && sse_outq_live_bytes(s->outq) > r->conf.stream_buffer)
        sse_streamflow_end(r, s, SSE_END_SLOW);
    return true;
}

void sse_streamflow_due(sse_reactor_t *r, sse_stream_t *s)
{
    if (r->now >= s->end_at) {
        if (s->state == SSE_STREAM_ENDING)
            sse_streamio_close(r, s);
        else
            sse_streamflow_end(r, s, s->end_reason);
        return;
    }
    if (s->state != SSE_STREAM_ENDING && s->state != SSE_STREAM_OPENING && r->conf.heartbeat &&
        r->now - s->written_at >= r->conf.heartbeat) {
        s->written_at = r->now;
        if (!s->outq) {
            sse_outq_block(&s->outq, sse_block_ref(r->heartbeat));
            sse_streamio_dirty(r, s);
        }
    }
    arm(r, s);
}

typedef struct ending_t {
    sse_reactor_t *r;
    sse_end_reason_t reason;
    uint32_t n;
} ending_t;

static void end_one(void *baton, sse_stream_t *s)
{
    ending_t *e = baton;
    if (s->state == SSE_STREAM_ENDING)
        return;
    sse_streamflow_end(e->r, s, e->reason);
    e->n++;
}

uint32_t sse_streamflow_end_matching(sse_reactor_t *r, char kind, sse_str_t realm_name,
                                     sse_str_t name, sse_end_reason_t reason)
{
    const sse_node_realm_t *realm = sse_subindex_realm(&r->index, realm_name);
    ending_t e = {r, reason, 0};
    if (!realm)
        return 0;
    if (kind == SSE_CHANNEL_USER) {
        sse_subindex_visit(realm, (sse_channel_t){SSE_CHANNEL_USER, name}, end_one, &e);
    } else if (kind == SSE_CHANNEL_GROUP) {
        sse_subindex_visit(realm, (sse_channel_t){SSE_CHANNEL_GROUP, name}, end_one, &e);
    } else if (name.n == SSE_SESSION_HASH_LEN) {
        for (sse_stream_t *s = *session_bucket(r, (const unsigned char *)name.p); s;
             s = s->session_next)
            if (s->realm == realm && !memcmp(s->session, name.p, sizeof s->session))
                end_one(&e, s);
    }
    return e.n;
}
