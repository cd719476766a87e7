/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a reactor, by file: reactor.c (thread, letters, time), streamflow.c (what a stream
 * carries), streamuser.c (users and sessions), streamend.c (ends, time), streamio.c (slots,
 * sockets, bytes). All of it runs on the thread of the reactor. */
#ifndef SSE_REACTOR_IMPL_H
#define SSE_REACTOR_IMPL_H

#include "hub/reactor.h"

#define SSE_SLAB_CHUNK 256 /* streams allocated together */

struct sse_reactor_t {
    sse_reactor_conf_t conf;
    uv_thread_t thread;
    uv_loop_t loop;
    sse_mailbox_t orders;
    uv_timer_t second;
    uv_poll_t sockets; /* the epoll set, as one handle of the loop */
    int epoll;
    uint64_t started; /* loop ms of second 0 */
    uint32_t now;     /* seconds */
    sse_wheel_t wheel;
    sse_subindex_t index;
    sse_stream_t **chunks;
    uint32_t n_chunks;
    sse_stream_t *free_slots; /* by realm_next */
    sse_stream_t *dirty;      /* streams to flush at the end of this batch, by dirty_next */
    sse_stream_t **sessions;  /* hash buckets by session, by session_next */
    uint32_t session_buckets; /* a power of two */
    uint32_t n_streams;
    sse_letter_t *held;     /* message letters of this batch: `pending` points into them */
    sse_message_t *current; /* the message being fanned out */
    bool last_order;        /* nothing else of this batch can go out together with it */
    sse_node_t **lingering; /* users in their grace */
    size_t n_lingering, cap_lingering;
    bool stopping; /* streams are being ended */
    bool finished; /* the last one is gone, handles are closing */
    uint32_t stop_at;
    sse_letter_t *notices, **notices_tail; /* that can wait a moment */
    uv_timer_t telling;                    /* active while some do */
    bool joined;                           /* in this batch a user's stream came */
    sse_notice_t *cursors;                 /* of this turn, to be posted at its end */
    sse_block_t *heartbeat;
    struct sse_tlssealer_t *sealer; /* NULL until a stream needs it */
    sse_reactor_stats_t stats;
};

/* ---- streamio.c ---- */

/* Gives the descriptor a slot and a place in the epoll set; NULL (fd closed) if that fails. */
sse_stream_t *sse_streamio_open(sse_reactor_t *r, int fd, const unsigned char *address);
/* The stream of a handle or NULL. */
sse_stream_t *sse_streamio_find(sse_reactor_t *r, sse_stream_handle_t handle);
/* Sends what waits, as much as the socket takes. May close the stream. */
void sse_streamio_flush(sse_reactor_t *r, sse_stream_t *s);
/* The same during a visit of the index, which must not see a stream go: one that is over, or that
 * has more to do, is left to the flush at the end of the batch. */
void sse_streamio_flush_visited(sse_reactor_t *r, sse_stream_t *s);
/* Puts the stream into the list that is flushed at the end of the batch. */
void sse_streamio_dirty(sse_reactor_t *r, sse_stream_t *s);
void sse_streamio_flush_dirty(sse_reactor_t *r);
/* Queues a block of the stream's own, with the position that it tells (epoch 0: none). */
void sse_streamio_block(sse_reactor_t *r, sse_stream_t *s, sse_str_t bytes, sse_pos_t pos);
/* The socket took `n` bytes of the queue. */
void sse_streamio_took(sse_stream_t *s, size_t n);
/* Once a second: reports the last message that the network took for the stream's user (tcp(7),
 * SIOCOUTQ), which lags behind what was sent and never runs ahead; and closes the stream when its
 * client is gone. */
void sse_streamio_look(sse_reactor_t *r, sse_stream_t *s);
/* Sends bytes as they are and counts them: bytes sent, 0 when the socket is full (then `blocked` is
 * set), -1 when the connection is over. */
ssize_t sse_streamio_send(sse_reactor_t *r, sse_stream_t *s, struct iovec *iov, size_t n);
/* Events of the epoll set. */
void sse_streamio_poll(sse_reactor_t *r);
/* Lets go of socket, queue and slot; streamflow's sse_streamflow_leave has been called. */
void sse_streamio_close(sse_reactor_t *r, sse_stream_t *s);
void sse_streamio_slab_free(sse_reactor_t *r);

/* ---- streamtls.c ---- */

/* From now on what the stream sends is sealed; takes over the state. */
void sse_streamtls_attach(sse_reactor_t *r, sse_stream_t *s, struct sse_tlsrecord_t *tls);
/* Seals and sends what waits, as much as the socket takes. False when the connection is over. */
bool sse_streamtls_flush(sse_reactor_t *r, sse_stream_t *s);
/* Says close_notify where that is possible and forgets the key. */
void sse_streamtls_close(sse_reactor_t *r, sse_stream_t *s);

/* ---- streamflow.c ---- */

void sse_streamflow_attach(sse_reactor_t *r, sse_attach_t *a); /* takes it */
/* m must live until the batch's flush */
void sse_streamflow_message(sse_reactor_t *r, sse_message_t *m);
void sse_streamflow_history(sse_reactor_t *r, sse_replay_t *replay); /* takes it */
void sse_streamflow_reset(sse_reactor_t *r, sse_str_t realm, sse_pos_t pos);
void sse_streamflow_feed(sse_reactor_t *r, sse_str_t realm, sse_block_t *block);
/* stream-reset, telling the position `seq` of the realm; no events stand for directed messages. */
void sse_streamflow_tell_reset(sse_reactor_t *r, sse_stream_t *s, uint64_t seq,
                               sse_reset_reason_t reason, char *const *events, size_t n_events);
/* The channel's streams carry something new that the broker has not sent here so far: they read
 * history before they are live again. */
void sse_streamflow_behind(sse_reactor_t *r, const sse_node_realm_t *realm, sse_channel_t channel);
/* After bytes went out: more history, the end of an ending stream. Returns false when the stream
 * was closed. */
bool sse_streamflow_drained(sse_reactor_t *r, sse_stream_t *s);
/* The stream is about to be closed: takes it out of index, user and realm, tells the control loop.
 */
void sse_streamflow_leave(sse_reactor_t *r, sse_stream_t *s);

/* ---- streamuser.c ---- */

void sse_streamuser_join(sse_reactor_t *r, sse_stream_t *s, sse_node_t *user);
void sse_streamuser_leave(sse_reactor_t *r, sse_stream_t *s);
/* Users whose grace is over go offline. */
void sse_streamuser_linger(sse_reactor_t *r);
void sse_streamuser_join_session(sse_reactor_t *r, sse_stream_t *s);
void sse_streamuser_leave_session(sse_reactor_t *r, sse_stream_t *s);
/* The list in which streams of the session are, by session_next, among others. */
sse_stream_t **sse_streamuser_session_bucket(sse_reactor_t *r, const unsigned char *session);

/* ---- streamend.c ---- */

/* Queues stream-end and closes when it is out. */
void sse_streamend_begin(sse_reactor_t *r, sse_stream_t *s, sse_end_reason_t reason);
/* Returns how many streams were ended. */
uint32_t sse_streamend_matching(sse_reactor_t *r, char kind, sse_str_t realm, sse_str_t name,
                                sse_end_reason_t reason);
/* The stream's timer came up. */
void sse_streamend_due(sse_reactor_t *r, sse_stream_t *s);
/* Sets the timer to the next heartbeat or end. */
void sse_streamend_arm(sse_reactor_t *r, sse_stream_t *s);
uint32_t sse_streamend_random(uint32_t below);
/* Milliseconds over which the hub's streams spread when all come back: about a thousand a second.
 */
uint32_t sse_streamend_crowd_ms(const sse_reactor_t *r);
/* What an opening stream is told to wait before it comes back. */
uint32_t sse_streamend_open_retry(const sse_reactor_t *r);

/* ---- reactor.c ---- */

sse_notice_t *sse_reactor_notice(sse_reactor_t *r, sse_notice_type_t type,
                                 const sse_node_realm_t *realm, const sse_node_t *user);
void sse_reactor_notice_post(sse_reactor_t *r, sse_notice_t *n);
/* The network took the user's messages up to seq: into the turn's notice. */
void sse_reactor_cursor(sse_reactor_t *r, const sse_node_t *user, uint64_t seq);
void sse_reactor_cursors_post(sse_reactor_t *r);

#endif
