/* SPDX-License-Identifier: Apache-2.0 */
/* What httpd's workers and the hub say to each other: one datagram a message (fdpass.h) over a
 * private channel.
 *
 * A worker makes a channel (sse_fdpass_pair), sends one end with WIRE_HELLO over the rendezvous
 * socket that the parent made, and then has at most one request under way on it. A worker that gave
 * up waiting closes the channel, so a late reply cannot be taken for another's. Both sides check
 * version and bounds: a message that does not decode closes the channel.
 *
 *   HELLO (rendezvous; fd = far end of the channel)
 *   RESERVE  -> RESERVED          may this stream open; on OK a ticket
 *   ATTACH   (fd = client)        no answer: sending it is the commit point of the hand-off
 *   RELEASE                       the ticket is not needed: the head could not be written
 *   ADMIN    -> ADMIN_REPLY       a request of the admin handler, as it came
 *
 * Decoded strings point into the message. Integers are little-endian, strings are a u32 length and
 * bytes. A message that is larger than a datagram (SSE_FDPASS_MAX) lies whole in a sealed memory
 * file; its head of 8 bytes and the file's descriptor are sent then. */
#ifndef SSE_WIRE_H
#define SSE_WIRE_H

#include "core/buf.h"
#include "core/tlsstate.h"

#define SSE_WIRE_VERSION 4

/* Bytes of a response head that the hub writes. */
#define SSE_WIRE_HEAD_MAX 4096
/* The largest request that a worker may send: a batch, its path and headers; or 1024 groups. */
#define SSE_WIRE_REQUEST_MAX (SSE_BATCH_BYTES_MAX + 1024 * 1024)

typedef enum sse_wire_type_t {
    SSE_WIRE_HELLO = 1,
    SSE_WIRE_RESERVE,
    SSE_WIRE_RESERVED,
    SSE_WIRE_ATTACH,
    SSE_WIRE_RELEASE,
    SSE_WIRE_ADMIN,
    SSE_WIRE_ADMIN_REPLY
} sse_wire_type_t;

typedef struct sse_wire_hello_t {
    uint32_t pid;
} sse_wire_hello_t;

typedef enum sse_wire_reserve_flag_t {
    SSE_RESERVE_GROUPS_KNOWN =
        1, /* `groups` is the truth (read from Django's tables), not just unknown */
    SSE_RESERVE_ID_IN_QUERY =
        2, /* last_id came in the query, not in the header: its end mark means nothing */
    SSE_RESERVE_RESUME_USER = 4, /* ?resume=user */
    SSE_RESERVE_POLLED = 8, /* the answer's body carries what was missed; no ATTACH will follow */
    SSE_RESERVE_PARKED = 16 /* the stream will hold a worker's thread: the verdict is OK while fewer
                               than SSEParkedStreams do, else POLL */
} sse_wire_reserve_flag_t;

typedef struct sse_wire_reserve_t {
    uint32_t flags;
    sse_str_t realm;
    sse_str_t user; /* empty: anonymous */
    sse_str_t
        session; /* SSE_SESSION_HASH_LEN raw bytes, or empty: no session stands behind the stream */
    uint64_t session_expires; /* UNIX seconds, 0 = no end known */
    uint64_t looked_up; /* CLOCK_MONOTONIC microseconds before the session was read; 0 = not read
                           from any store */
    sse_str_t address;  /* client address as text, "192.0.2.1" or "2001:db8::1" */
    sse_str_t last_id;  /* as the client sent it, at most 255 bytes; empty: none */
    uint32_t n_groups;
    const sse_str_t *groups;
    uint32_t n_events;
    const sse_str_t *events; /* checked and allowed ?event= names */
} sse_wire_reserve_t;

typedef enum sse_wire_verdict_t {
    SSE_RESERVED_OK,    /* write the head, then ATTACH or RELEASE */
    SSE_RESERVED_STALE, /* session or user was revoked after looked_up: look again without cache */
    SSE_RESERVED_REFUSED,     /* 403: refused by POST /disconnect with "for" */
    SSE_RESERVED_BUSY,        /* limits: 200 with body, Retry-After, close */
    SSE_RESERVED_UNAVAILABLE, /* broker or store away: the same */
    SSE_RESERVED_POLL         /* answer to a polled stream: 200 with body, close */
} sse_wire_verdict_t;

typedef struct sse_wire_reserved_t {
    uint32_t verdict;     /* sse_wire_verdict_t */
    uint64_t ticket;      /* for OK */
    uint32_t retry_after; /* seconds, for BUSY and UNAVAILABLE */
    sse_str_t body;       /* event-stream bytes for BUSY, UNAVAILABLE, POLL */
} sse_wire_reserved_t;

/* How a stream is carried, for counting; the hub writes to a descriptor in every case. */
typedef enum sse_carriage_t {
    SSE_CARRIED_CLEAR,  /* the client's socket, as it is */
    SSE_CARRIED_TLS,    /* the client's socket, and the hub seals TLS records */
    SSE_CARRIED_RELAY,  /* one end of a socket pair; a thread of httpd pumps many of them */
    SSE_CARRIED_PARKED, /* the same, but it has a thread of its own */
    SSE_CARRIAGES
} sse_carriage_t;

typedef struct sse_wire_attach_t {
    uint64_t ticket;
    uint32_t carriage; /* sse_carriage_t */
    sse_str_t tls;     /* CARRIED_TLS: a packed sse_tlsstate_t; else empty */
    sse_str_t head;  /* the response head, when the worker has not written it: it goes out with the
                        stream's first bytes */
} sse_wire_attach_t; /* with exactly one descriptor: where the hub is to write */

typedef struct sse_wire_release_t {
    uint64_t ticket;
} sse_wire_release_t;

typedef struct sse_wire_admin_t {
    sse_str_t realm;
    sse_str_t method;
    sse_str_t path;         /* below the admin location, still percent-encoded, "/publish" */
    sse_str_t query;        /* without '?', still percent-encoded; empty if none */
    sse_str_t content_type; /* media type as sent; empty if none */
    sse_str_t accept;       /* Accept header; empty if none */
    sse_str_t last_id;      /* Last-Event-ID header, for the feed */
    sse_str_t address;      /* client's, for the log */
    sse_str_t body;
} sse_wire_admin_t;

typedef struct sse_wire_admin_reply_t {
    uint32_t status;   /* HTTP status */
    sse_str_t headers; /* further header lines "Name: value\n", checked by the worker */
    sse_str_t content_type;
    uint64_t
        ticket; /* not 0: a stream (the presence feed); write the head, then ATTACH or RELEASE */
    sse_str_t body;
} sse_wire_admin_reply_t;

/* A decoded message. */
typedef struct sse_wire_msg_t {
    sse_wire_type_t type;
    uint32_t id; /* a reply bears its request's */
    union {
        sse_wire_hello_t hello;
        sse_wire_reserve_t reserve;
        sse_wire_reserved_t reserved;
        sse_wire_attach_t attach;
        sse_wire_release_t release;
        sse_wire_admin_t admin;
        sse_wire_admin_reply_t admin_reply;
    } u;
    sse_str_t *lists; /* backing of `groups` and `events`; freed by sse_wire_msg_clear */
} sse_wire_msg_t;

/* Appends the encoded message to out. */
void sse_wire_encode(sse_buf_t *out, const sse_wire_msg_t *msg);
/* APR_EINVAL: not a whole, well-formed message of this version; *out_msg needs no clearing then. On
 * success the strings point into `data` and the caller calls sse_wire_msg_clear. */
apr_status_t sse_wire_decode(sse_str_t data, sse_wire_msg_t *out_msg);
void sse_wire_msg_clear(sse_wire_msg_t *msg);

/* Encodes and sends. `fd` (or -1) is the descriptor of ATTACH and HELLO, which are never larger
 * than a datagram (APR_ENOSPC). Statuses of sse_fdpass_send and sse_fdpass_memfd. */
apr_status_t sse_wire_send(int sock, const sse_wire_msg_t *msg, int fd, int timeout_ms);

/* One received message with all that it owns. */
typedef struct sse_wire_in_t {
    sse_wire_msg_t msg;
    int fd; /* ATTACH's and HELLO's descriptor; -1 if none. Taken by setting it to -1 */
    uid_t peer_uid;
    char *data; /* the message, wiped when it is freed: it may hold keys */
    size_t data_len;
} sse_wire_in_t;

/* Statuses of sse_fdpass_recv; nothing to clear on failure. file_max bounds a memory file. */
apr_status_t sse_wire_recv(int sock, size_t file_max, int timeout_ms, sse_wire_in_t *out_in);
void sse_wire_in_clear(sse_wire_in_t *in);

#endif
