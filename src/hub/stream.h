/* SPDX-License-Identifier: Apache-2.0 */
/* One open stream: an HTTP response whose head httpd has written and whose socket the hub owns.
 * Only the reactor that owns it touches it; other threads name it by its handle. Kept small:
 * thousands of them are most of the hub's memory. */
#ifndef SSE_STREAM_H
#define SSE_STREAM_H

#include "core/render.h"
#include "hub/outq.h"
#include "hub/subindex.h"
#include "hub/wheel.h"

typedef enum sse_stream_state_t {
    SSE_STREAM_FREE,    /* slot unused */
    SSE_STREAM_OPENING, /* waits for the first answer from history; nothing written yet */
    SSE_STREAM_REPLAY, /* gets history in portions; live messages pass it by, they are in history */
    SSE_STREAM_LIVE,
    SSE_STREAM_ENDING /* the last block is queued; closed when it is out or at `end_at` */
} sse_stream_state_t;

/* The least that a stream's end for an expired session tells the client to wait: Django changes the
 * session at a change of password, and the browser must have the answer with the new cookie before
 * it comes back, else it gets the 403 that EventSource takes for good. */
#define SSE_EXPIRED_RETRY_MS 5000

/* Part of a session's hash: enough to name one among a host's. */
#define SSE_STREAM_SESSION_LEN 16

/* Names a stream for other threads; stale once the slot is used again. */
typedef struct sse_stream_handle_t {
    uint32_t slot, generation;
} sse_stream_handle_t;

typedef struct sse_stream_t {
    sse_source_t source; /* ?event= names */
    int fd;
    uint32_t slot, generation;
    uint8_t state;        /* sse_stream_state_t */
    uint8_t end_reason;   /* sse_end_reason_t that `end_at` means */
    bool feed : 1;        /* a presence feed, not a stream of events */
    bool parked : 1;      /* holds a worker's thread */
    uint8_t carriage : 2; /* sse_carriage_t */
    bool asked : 1;       /* a history request is under way */
    bool again : 1;       /* what was asked is too little: ask again when it comes */
    bool has_session : 1;
    bool blocked : 1; /* the socket took less than was offered; EPOLLOUT will tell */
    bool resumed : 1; /* the client came with a position that is good */
    bool stalled;     /* see tcppeer.h */
    uint8_t reset;    /* sse_reset_reason_t + 1 to tell when it opens; 0 = none */
    bool dirty : 1;   /* in the reactor's list of streams to flush */
    bool broken : 1;  /* the connection is over: to be closed at its flush */
    bool waits : 1;   /* bytes went out that the client may not have acknowledged yet */
    bool moved : 1;   /* messages went out that the network may not have taken yet */
    bool untold : 1;  /* sent_seq is a broker-reset's, which still waits to be sent */
    sse_node_realm_t *realm;
    sse_node_t *user; /* NULL: anonymous or feed */
    struct sse_stream_t *user_prev, *user_next;
    struct sse_stream_t *realm_prev, *realm_next;
    struct sse_stream_t *dirty_next;
    struct sse_stream_t *session_next;
    uint64_t last_seq;      /* position: everything at or below it has been queued or is not owed */
    uint64_t sent_seq;      /* the last position that the socket took whole */
    sse_message_t *pending; /* one message to send in this tick; the reactor holds the reference */
    sse_outq_t *outq;
    struct sse_tlsrecord_t *tls; /* NULL: bytes go out as they are */
    sse_wheel_node_t timer;
    uint32_t sent_bytes;  /* all that the socket took, modulo 2^32 */
    uint32_t check_bytes; /* a point in sent_bytes, and the last message that was out by then */
    uint64_t check_seq;
    uint32_t written_at; /* loop ms, modulo 2^32 */
    uint32_t end_at;     /* reactor seconds; UINT32_MAX = never */
    unsigned char session[SSE_STREAM_SESSION_LEN];
    unsigned char address[16]; /* IPv6, or IPv4-mapped */
} sse_stream_t;

#endif
