/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a Redis server or Sentinel: resolved, connected and greeted (TLS, AUTH, SELECT)
 * without blocking, each step bounded in time. Commands are pipelined: what one turn of the loop
 * says goes out together. hiredis reads the replies; the socket is libuv's. Control loop only. */
#ifndef SSE_REDIS_CONN_H
#define SSE_REDIS_CONN_H

#include "core/buf.h"
#include <hiredis/hiredis.h>
#include <uv.h>

typedef struct sse_redisconn_t sse_redisconn_t;

/* Texts must outlive the connection. */
typedef struct sse_redisconn_conf_t {
    uv_loop_t *loop;
    const char *path; /* UNIX socket, or NULL */
    const char *host;
    uint16_t port;
    bool tls, verify;
    const char *ca, *cert, *key;
    const char *user, *password; /* NULL: none */
    uint32_t db;
    bool pushed; /* a subscriber's: replies after the greeting go to `push` */
    uint32_t connect_ms, reply_ms;
} sse_redisconn_conf_t;

typedef struct sse_redisconn_events_t {
    void (*ready)(void *owner);
    void (*push)(void *owner, redisReply *reply);
    /* What this turn said is about to go out: may add to it. NULL: nobody asks. */
    void (*flushing)(void *owner);
    /* Once; every waiting reply has been given as NULL before. The connection must be closed then
     * (also within the event). */
    void (*lost)(void *owner, const char *why);
} sse_redisconn_events_t;

/* reply NULL: the connection was lost or closed. Else it is the callee's (freeReplyObject). */
typedef void (*sse_redisconn_fn)(void *baton, redisReply *reply);

sse_redisconn_t *sse_redisconn_open(const sse_redisconn_conf_t *conf,
                                    const sse_redisconn_events_t *events, void *owner);
/* No event comes any more; waiting replies are given as NULL within the call. closed (may be NULL)
 * is called when its handles are gone. */
void sse_redisconn_close(sse_redisconn_t *c, void (*closed)(void *baton), void *baton);
bool sse_redisconn_ready(const sse_redisconn_t *c);

/* Begins a command of n arguments; they follow by sse_redisconn_arg. */
void sse_redisconn_args(sse_buf_t *out, size_t n);
void sse_redisconn_arg(sse_buf_t *out, sse_str_t arg);
/* Queues a complete command. fn NULL: nobody waits (a subscriber's). */
void sse_redisconn_send(sse_redisconn_t *c, sse_str_t command, sse_redisconn_fn fn, void *baton);
/* `flushing` is called at the end of this turn, though nothing was said. */
void sse_redisconn_flush(sse_redisconn_t *c);

#endif
