/* SPDX-License-Identifier: Apache-2.0 */
/* A reactor: a thread with a loop that owns a shard of the streams. Users are sharded by hash, so
 * that all of a user's streams and what the user carries live in one reactor. Anonymous streams go
 * round.
 *
 * Orders reach it by letters (the ..._post functions, from the control loop), what it has to say
 * goes to the control loop's mailbox as notices. It never waits for anything but its epoll set. */
#ifndef SSE_REACTOR_H
#define SSE_REACTOR_H

#include "hub/mailbox.h"
#include "hub/stream.h"

/* ---- counters: written by the reactor, read by anyone ---- */

typedef struct sse_reactor_stats_t {
    atomic_ullong streams, users;
    atomic_ullong deliveries,
        bytes; /* messages handed to the kernel for a stream; bytes of all kinds */
    atomic_ullong opened, closed, ended_slow, replayed;
    atomic_ullong queued; /* bytes waiting in streams' queues, as of the last second */
} sse_reactor_stats_t;

/* ---- letters to the reactor ---- */

typedef enum sse_order_type_t {
    SSE_ORDER_ATTACH,
    SSE_ORDER_MESSAGE,
    SSE_ORDER_RECORD,
    SSE_ORDER_HISTORY,
    SSE_ORDER_END,
    SSE_ORDER_RESET,
    SSE_ORDER_FEED,
    SSE_ORDER_STOP
} sse_order_type_t;

typedef struct sse_order_t {
    sse_letter_t letter;
    sse_order_type_t type;
} sse_order_t;

/* A stream to take over. Made by admission; strings are NUL-terminated and owned by it. */
typedef struct sse_attach_t {
    sse_order_t order;
    int fd;
    bool feed;
    bool parked;                 /* holds a worker's thread */
    uint8_t carriage;            /* sse_carriage_t */
    struct sse_tlsrecord_t *tls; /* for CARRIED_TLS */
    char *head;                  /* of the response, to be written first; NULL: it is out */
    size_t head_len;
    char *realm, *user; /* user NULL: anonymous */
    bool has_session;
    unsigned char session[SSE_SESSION_HASH_LEN];
    uint64_t session_expires; /* UNIX seconds, 0 = unknown */
    unsigned char address[16];
    sse_record_t *record;  /* the user's; NULL for anonymous */
    sse_record_t **groups; /* n_memberships of record */
    char **events;
    size_t n_events;
    sse_pos_t pos;   /* the realm's position at reservation: where a fresh stream begins */
    uint64_t cursor; /* where this one resumes; pos.seq for a fresh one */
    bool resumed;    /* cursor came from the client (or the user's tracking) */
    bool current;    /* nothing can have been missed: live without asking history */
    int reset;       /* sse_reset_reason_t to tell first, -1 = none */
    int end;         /* sse_end_reason_t: the stream was revoked before it came here; -1 = no */
} sse_attach_t;

void sse_attach_free(sse_attach_t *a); /* with fd, TLS state and references */

/* The answer to a NOTICE_HISTORY. Owned by the letter: messages hold references. */
typedef struct sse_replay_t {
    sse_order_t order;
    sse_stream_handle_t stream;
    apr_status_t status;
    bool more;
    uint64_t pos;      /* without `more`: complete up to here */
    uint64_t gap_end;  /* 0: no gap */
    bool gap_directed; /* part of the gap are messages without an event name that could be told */
    size_t n_gap_events;
    char **gap_events;
    size_t n_messages;
    sse_message_t *messages[];
} sse_replay_t;

/* Ends streams and counts them: shared by the letters of one disconnect. */
typedef struct sse_gather_t sse_gather_t;

/* ---- notices to the control loop ---- */

typedef enum sse_notice_type_t {
    SSE_NOTICE_ATTACHED, /* the stream's channels are carried: its attach comes back */
    SSE_NOTICE_INTEREST, /* a channel is first carried here, or no longer */
    SSE_NOTICE_CLOSED,   /* a stream's slot is free again */
    SSE_NOTICE_USER,     /* a user's number of streams changed, or the grace ended (offline) */
    SSE_NOTICE_HISTORY,  /* a stream wants history; answer with sse_reactor_history_post */
    SSE_NOTICE_CURSORS,  /* what the network took for users of a realm */
    SSE_NOTICE_ENDED,    /* the answer to an END with a gather */
    SSE_NOTICE_STOPPED
} sse_notice_type_t;

typedef struct sse_reactor_t sse_reactor_t;

typedef struct sse_notice_t {
    sse_letter_t letter;
    sse_notice_type_t type;
    sse_reactor_t *reactor;
    char *realm, *user;         /* NULL where there is none; freed with the notice */
    uint32_t streams;           /* USER: number; ENDED: streams ended */
    bool online;                /* USER */
    bool feed;                  /* CLOSED: it was a presence feed */
    bool parked;                /* CLOSED: it held a worker's thread */
    uint8_t carriage;           /* CLOSED */
    unsigned char address[16];  /* CLOSED */
    sse_stream_handle_t stream; /* HISTORY */
    sse_range_t *ranges;        /* HISTORY: one block with its names, freed with the notice */
    size_t n_ranges;
    uint64_t epoch;       /* CURSORS */
    sse_buf_t cursors;    /* CURSORS: read with sse_notice_cursor */
    sse_gather_t *gather; /* ENDED */
    sse_attach_t *attach; /* ATTACHED; freed with the notice */
    char kind; /* INTEREST: of the channel; `user` holds its name, `online` whether it is carried */
    void *keeper; /* for whoever works on the notice */
} sse_notice_t;

void sse_notice_free(sse_notice_t *n);
/* The cursor that stands at *at, which moves on to the next one; false at the end. */
bool sse_notice_cursor(const sse_notice_t *n, size_t *at, sse_str_t *out_user, uint64_t *out_seq);

/* ---- the reactor ---- */

typedef struct sse_reactor_conf_t {
    uint32_t index;
    uint32_t heartbeat, max_age, presence_grace; /* seconds */
    uint32_t retry;                              /* ms */
    uint32_t max_streams_per_user;
    size_t stream_buffer;
    bool interest;                     /* the broker sends only what is carried: report it */
    const atomic_ullong *host_streams; /* streams of the whole hub: jitter grows with them */
    sse_mailbox_t *notices;
} sse_reactor_conf_t;

/* Starts the thread. On failure nothing is left. */
apr_status_t sse_reactor_create(const sse_reactor_conf_t *conf, sse_reactor_t **out_reactor);
/* After NOTICE_STOPPED: joins the thread and frees. */
void sse_reactor_destroy(sse_reactor_t *r);
const sse_reactor_stats_t *sse_reactor_stats(const sse_reactor_t *r);

void sse_reactor_attach_post(sse_reactor_t *r, sse_attach_t *attach); /* takes it */
void sse_reactor_message_post(sse_reactor_t *r,
                              sse_message_t *m); /* takes a reference of its own */
void sse_reactor_record_post(sse_reactor_t *r, sse_record_t *record,
                             sse_record_t *const *groups);             /* the same */
void sse_reactor_history_post(sse_reactor_t *r, sse_replay_t *replay); /* takes it */
/* kind 'u', 'g', 's' (name: session hash); gather NULL or told by NOTICE_ENDED. */
void sse_reactor_end_post(sse_reactor_t *r, char kind, sse_str_t realm, sse_str_t name,
                          sse_end_reason_t reason, sse_gather_t *gather);
void sse_reactor_reset_post(sse_reactor_t *r, sse_str_t realm,
                            sse_pos_t pos); /* realm empty: all */
void sse_reactor_feed_post(sse_reactor_t *r, sse_str_t realm,
                           sse_block_t *block); /* takes a reference of its own */
/* Ends every stream with the reason, waits a bounded time for queues to empty, then NOTICE_STOPPED.
 */
void sse_reactor_stop_post(sse_reactor_t *r, sse_end_reason_t reason);

#endif
