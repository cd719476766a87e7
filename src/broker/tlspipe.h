/* SPDX-License-Identifier: Apache-2.0 */
/* TLS without a socket: bytes in, bytes out. For the connections of network brokers, whose sockets
 * are libuv's. Owned by its connection; control loop. */
#ifndef SSE_TLSPIPE_H
#define SSE_TLSPIPE_H

#include "core/buf.h"

typedef struct sse_tlspipe_t sse_tlspipe_t;

typedef struct sse_tlspipe_conf_t {
    const char *host;            /* whose name the certificate must bear */
    bool verify;                 /* false: any certificate will do */
    const char *ca, *cert, *key; /* PEM files; NULL: the system's CAs, no certificate of our own */
} sse_tlspipe_conf_t;

/* A client's side, its first flight in `wire`. APR_EGENERAL with a sentence in problem (256 bytes).
 */
apr_status_t sse_tlspipe_create(const sse_tlspipe_conf_t *conf, sse_tlspipe_t **out_pipe,
                                sse_buf_t *wire, char *problem);
void sse_tlspipe_free(sse_tlspipe_t *pipe); /* NULL is fine */
/* Takes what came from the wire; appends what it says to `plain` and what is to be sent to `wire`.
 * APR_EOF: the other side ended it; APR_EGENERAL with a sentence in problem. */
apr_status_t sse_tlspipe_read(sse_tlspipe_t *pipe, sse_str_t from_wire, sse_buf_t *plain,
                              sse_buf_t *wire, char *problem);
bool sse_tlspipe_ready(const sse_tlspipe_t *pipe); /* the handshake is over */
/* Only once it is ready. */
apr_status_t sse_tlspipe_write(sse_tlspipe_t *pipe, sse_str_t plain, sse_buf_t *wire,
                               char *problem);

#endif
