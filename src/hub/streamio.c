/* SPDX-License-Identifier: Apache-2.0 */
/* Slots, sockets and bytes of a reactor's streams. Sockets are edge-triggered for both directions
 * from the start, so that a stream costs no epoll_ctl(2) between its first and its last byte. */
#include "hub/reactor_impl.h"

#include "core/buf.h"
#include "core/tcppeer.h"
#include "core/wire.h"
#include "hub/tlsrecord.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a client may send after its request before it is taken for broken. */
#define INPUT_MAX (64 * 1024)
#define IOV_MAX_HERE 64
#define EVENTS_MAX 512

static sse_stream_t *slot(sse_reactor_t *r, uint32_t i)
{
    return &r->chunks[i / SSE_SLAB_CHUNK][i % SSE_SLAB_CHUNK];
}

static void grow(sse_reactor_t *r)
{
    r->chunks = sse_realloc(r->chunks, (r->n_chunks + 1) * sizeof *r->chunks);
    sse_stream_t *chunk = sse_calloc(SSE_SLAB_CHUNK, sizeof *chunk);
    uint32_t base = r->n_chunks * SSE_SLAB_CHUNK;
    r->chunks[r->n_chunks++] = chunk;
    for (uint32_t i = SSE_SLAB_CHUNK; i-- > 0;) {
        chunk[i].slot = base + i;
        chunk[i].fd = -1;
        chunk[i].realm_next = r->free_slots;
        r->free_slots = &chunk[i];
    }
}

void sse_streamio_slab_free(sse_reactor_t *r)
{
    for (uint32_t i = 0; i < r->n_chunks; i++)
        free(r->chunks[i]);
    free(r->chunks);
}

static void set_socket_options(const sse_reactor_t *r, int fd)
{
    /* All of these fail harmlessly where the descriptor is one end of a relay's socket pair. */
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    /* A client that is gone without a word is given up when a heartbeat stays unacknowledged for
     * one more interval. */
    sse_tcppeer_limit(fd, r->conf.heartbeat);
}

sse_stream_t *sse_streamio_open(sse_reactor_t *r, int fd, const unsigned char *address)
{
    if (!r->free_slots)
        grow(r);
    sse_stream_t *s = r->free_slots;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    uint32_t generation = s->generation + 1;
    ev.data.u64 = (uint64_t)generation << 32 | s->slot;
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &ev)) {
        close(fd);
        return NULL;
    }
    set_socket_options(r, fd);
    r->free_slots = s->realm_next;
    uint32_t number = s->slot;
    memset(s, 0, sizeof *s);
    s->source.kind = SSE_SOURCE_STREAM;
    s->slot = number;
    s->generation = generation;
    s->fd = fd;
    s->state = SSE_STREAM_OPENING;
    s->end_at = UINT32_MAX;
    s->written_at = (uint32_t)uv_now(&r->loop);
    memcpy(s->address, address, sizeof s->address);
    r->n_streams++;
    atomic_fetch_add_explicit(&r->stats.streams, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->stats.opened, 1, memory_order_relaxed);
    return s;
}

sse_stream_t *sse_streamio_find(sse_reactor_t *r, sse_stream_handle_t handle)
{
    if (handle.slot >= r->n_chunks * SSE_SLAB_CHUNK)
        return NULL;
    sse_stream_t *s = slot(r, handle.slot);
    return s->state != SSE_STREAM_FREE && s->generation == handle.generation ? s : NULL;
}

static void unlink_dirty(sse_reactor_t *r, sse_stream_t *s)
{
    sse_stream_t **link = &r->dirty;
    while (*link != s)
        link = &(*link)->dirty_next;
    *link = s->dirty_next;
    s->dirty = false;
}

static void confirm(sse_reactor_t *r, sse_node_t *user, uint64_t seq)
{
    if (seq <= user->cursor)
        return;
    user->cursor = seq;
    sse_reactor_cursor(r, user, seq);
}

static void track(sse_reactor_t *r, sse_stream_t *s, int waiting)
{
    if (!s->moved || !s->user)
        return;
    uint32_t taken = s->sent_bytes - (uint32_t)waiting;
    if (s->check_seq && (int32_t)(taken - s->check_bytes) >= 0) {
        confirm(r, s->user, s->check_seq);
        s->check_seq = 0;
    }
    if (!waiting) {
        confirm(r, s->user, s->sent_seq);
        s->moved = false;
    } else if (!s->check_seq) {
        s->check_bytes = s->sent_bytes;
        s->check_seq = s->sent_seq;
    }
}

void sse_streamio_look(sse_reactor_t *r, sse_stream_t *s)
{
    int waiting;
    if (!s->waits || (waiting = sse_tcppeer_unacknowledged(s->fd)) < 0)
        return;
    track(r, s, waiting);
    if (!waiting) {
        s->waits = false;
        sse_tcppeer_taken(s->fd, r->conf.heartbeat, &s->stalled);
    } else if (s->carriage != SSE_CARRIED_RELAY && s->carriage != SSE_CARRIED_PARKED &&
               !sse_tcppeer_there(s->fd, r->conf.heartbeat, &s->stalled)) {
        sse_streamio_close(r, s);
    }
}

void sse_streamio_close(sse_reactor_t *r, sse_stream_t *s)
{
    int waiting = s->moved && s->user ? sse_tcppeer_unacknowledged(s->fd) : -1;
    if (waiting >= 0)
        track(r, s, waiting);
    sse_streamflow_leave(r, s);
    if (s->dirty)
        unlink_dirty(r, s);
    sse_wheel_remove(&s->timer);
    if (s->tls)
        sse_streamtls_close(r, s);
    sse_outq_clear(&s->outq);
    s->pending = NULL;
    /* httpd's worker may hold its copy of the descriptor a moment longer: say so to epoll and to
     * the client here. */
    epoll_ctl(r->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    shutdown(s->fd, SHUT_RDWR);
    close(s->fd);
    s->fd = -1;
    s->state = SSE_STREAM_FREE;
    s->realm_next = r->free_slots;
    r->free_slots = s;
    r->n_streams--;
    atomic_fetch_sub_explicit(&r->stats.streams, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->stats.closed, 1, memory_order_relaxed);
}

void sse_streamio_dirty(sse_reactor_t *r, sse_stream_t *s)
{
    if (s->dirty)
        return;
    s->dirty = true;
    s->dirty_next = r->dirty;
    r->dirty = s;
}

void sse_streamio_block(sse_reactor_t *r, sse_stream_t *s, sse_str_t bytes, sse_pos_t pos)
{
    if (s->pending) {
        sse_outq_message(&s->outq, s->pending, SSE_OUTQ_LIVE);
        s->pending = NULL;
    }
    sse_outq_block(&s->outq, sse_block_create(bytes, pos));
    sse_streamio_dirty(r, s);
}

void sse_streamio_took(sse_stream_t *s, size_t n)
{
    unsigned out = sse_outq_sent(&s->outq, n, s->realm->epoch, &s->sent_seq);
    if (out & SSE_OUTQ_TOLD)
        s->untold = false;
    if (out & SSE_OUTQ_MOVED)
        s->moved = true;
}

ssize_t sse_streamio_send(sse_reactor_t *r, sse_stream_t *s, struct iovec *iov, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += iov[i].iov_len;
    ssize_t sent;
    do {
        if (n == 1) {
            sent = send(s->fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else {
            struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
            sent = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return -1;
        sent = 0;
    }
    if ((size_t)sent < total)
        s->blocked = true;
    if (sent) {
        s->written_at = (uint32_t)uv_now(&r->loop);
        s->waits = true;
        s->sent_bytes += (uint32_t)sent;
        atomic_fetch_add_explicit(&r->stats.bytes, (unsigned long long)sent, memory_order_relaxed);
    }
    return sent;
}

/* The common case: one message, nothing queued, no allocation. False when the connection is over.
 */
static bool flush_pending(sse_reactor_t *r, sse_stream_t *s)
{
    sse_message_t *m = s->pending;
    s->pending = NULL;
    ssize_t sent = 0;
    if (!s->blocked) {
        struct iovec iov = {(char *)m->frame.p, m->frame.n};
        sent = sse_streamio_send(r, s, &iov, 1);
        if (sent < 0)
            return false;
    }
    if ((size_t)sent == m->frame.n) {
        s->sent_seq = m->pos.seq;
        s->moved = true;
        return true;
    }
    sse_outq_message(&s->outq, m, SSE_OUTQ_LIVE);
    sse_streamio_took(s, (size_t)sent);
    return true;
}

static bool flush_queue(sse_reactor_t *r, sse_stream_t *s)
{
    while (s->outq && !s->blocked) {
        struct iovec iov[IOV_MAX_HERE];
        size_t n = sse_outq_peek(s->outq, iov, IOV_MAX_HERE);
        ssize_t sent = sse_streamio_send(r, s, iov, n);
        if (sent < 0)
            return false;
        sse_streamio_took(s, (size_t)sent);
    }
    return true;
}

/* False when the connection is over. */
static bool flush_all(sse_reactor_t *r, sse_stream_t *s)
{
    return s->tls       ? sse_streamtls_flush(r, s)
           : s->pending ? flush_pending(r, s)
                        : flush_queue(r, s);
}

void sse_streamio_flush(sse_reactor_t *r, sse_stream_t *s)
{
    if (s->broken || !flush_all(r, s))
        sse_streamio_close(r, s);
    else
        sse_streamflow_drained(r, s);
}

void sse_streamio_flush_visited(sse_reactor_t *r, sse_stream_t *s)
{
    s->broken = !flush_all(r, s);
    if (s->broken || s->outq)
        sse_streamio_dirty(r, s);
}

void sse_streamio_flush_dirty(sse_reactor_t *r)
{
    while (r->dirty) {
        sse_stream_t *s = r->dirty;
        r->dirty = s->dirty_next;
        s->dirty = false;
        sse_streamio_flush(r, s);
    }
    if (r->sealer)
        sse_tlssealer_rest(r->sealer);
}

/* Whatever a client says after its request means nothing here. False at its end of file or when it
 * says too much. */
static bool read_away(sse_stream_t *s)
{
    char scratch[4096];
    size_t total = 0;
    while (total < INPUT_MAX) {
        ssize_t n = recv(s->fd, scratch, sizeof scratch, MSG_DONTWAIT);
        if (n == 0)
            return false;
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == EWOULDBLOCK;
        }
        total += (size_t)n;
    }
    return false;
}

/* A worker that carries the stream will not do so much longer: the client is to be told. */
static bool is_half_closed(const sse_stream_t *s, uint32_t events)
{
    return (s->carriage == SSE_CARRIED_RELAY || s->carriage == SSE_CARRIED_PARKED) &&
           (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == EPOLLRDHUP;
}

static void handle_event(sse_reactor_t *r, const struct epoll_event *ev)
{
    sse_stream_handle_t handle = {(uint32_t)ev->data.u64, (uint32_t)(ev->data.u64 >> 32)};
    sse_stream_t *s = sse_streamio_find(r, handle);
    if (!s)
        return;
    /* TLS: what the client says cannot be read here, and some of it (a request, a KeyUpdate) would
     * ask for an answer. */
    if (is_half_closed(s, ev->events)) {
        sse_streamend_begin(r, s, SSE_END_SHUTDOWN);
    } else if (ev->events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) ||
               (ev->events & EPOLLIN && (!read_away(s) || s->tls))) {
        sse_streamio_close(r, s);
        return;
    }
    if (ev->events & EPOLLOUT && s->blocked) {
        s->blocked = false;
        sse_streamio_flush(r, s);
    }
}

void sse_streamio_poll(sse_reactor_t *r)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(r->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++)
        handle_event(r, &events[i]);
    sse_streamio_flush_dirty(r);
}
