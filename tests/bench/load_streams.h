/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of the load client: non-blocking sockets in the caller's epoll set, parsed as
 * EventSource would, each message told to a callback with the time at which it was read. One
 * thread. */
#ifndef LOAD_STREAMS_H
#define LOAD_STREAMS_H

#include "load_h2.h"
#include "load_tls.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define LOAD_NO_SEQ UINT32_MAX

enum { LOAD_MAX_SERVERS = 8 };

typedef enum load_state_t {
    LOAD_CLOSED,
    LOAD_CONNECTING,
    LOAD_HANDSHAKE,
    LOAD_HEAD, /* request sent, reading the response head */
    LOAD_BODY, /* reading the stream; not ready before the ready line */
    LOAD_READY
} load_state_t;

typedef struct load_stream_t {
    int fd;
    load_state_t state;
    uint32_t seq;        /* of the block being read, LOAD_NO_SEQ if none yet */
    uint32_t last_seq;   /* of the last message, LOAD_NO_SEQ before the first */
    uint32_t n_messages; /* since the last open */
    uint64_t started;    /* ns, when connect was called */
    SSL *ssl;            /* NULL: clear */
    load_h2_t h2;
    uint16_t line_len;
    char line[96];    /* start of the line being read; the rest does not matter */
    char last_id[64]; /* survives closing */
} load_stream_t;

typedef struct load_streams_t {
    /* set by the caller */
    int epfd;
    struct sockaddr_in servers[LOAD_MAX_SERVERS]; /* stream i uses number i modulo n_servers */
    uint32_t n_servers;
    uint16_t tls_port; /* streams use TLS there; 0: clear, on the server's port */
    bool h2;           /* and HTTP/2 */
    uint32_t groups;
    const char *path;    /* templates, load_template.h */
    const char *headers; /* "Name: value\r\n" lines, may be empty */
    const char *basic;   /* user:password, or NULL */
    const char *ready;   /* a line that begins so means: the stream is open */
    bool once;           /* a stream leaves when it is ready */
    uint32_t sources;    /* client addresses 127.0.0.2 … to spread over */
    void *ctx;
    void (*on_ready)(void *ctx, uint32_t stream);
    void (*on_message)(void *ctx, uint32_t stream, uint32_t seq, uint64_t now);
    /* counted here */
    load_stream_t *streams;
    uint32_t n_streams;
    uint32_t n_opening; /* between connect and ready */
    uint32_t n_ready;
    uint64_t bytes; /* read by all streams */
} load_streams_t;

void load_streams_create(load_streams_t *set, uint32_t n_streams);
void load_streams_free(load_streams_t *set);

/* Connects stream i (its epoll data is i), with Last-Event-ID if `resume`. */
void load_streams_open(load_streams_t *set, uint32_t i, bool resume);
void load_streams_close(load_streams_t *set, uint32_t i);

/* Handles an epoll event. A refused or ended stream ends the program with the reason. */
void load_streams_event(load_streams_t *set, uint32_t i);

#endif
