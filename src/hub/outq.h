/* SPDX-License-Identifier: Apache-2.0 */
/* What one stream has not been able to send yet: a queue of references to shared frames and of
 * blocks of its own. It exists only while something waits, so an idle stream costs nothing here.
 * Owned by the stream's reactor. */
#ifndef SSE_OUTQ_H
#define SSE_OUTQ_H

#include "broker/message.h"
#include "core/base.h"
#include <sys/uio.h>

/* A block that is no message: what a stream is told of itself, presence changes of a feed.
 * Immutable, reference-counted. */
typedef struct sse_block_t {
    atomic_uint refs;
    uint32_t n;
    sse_pos_t pos; /* the position that it tells; epoch 0: none */
    char bytes[];
} sse_block_t;

sse_block_t *sse_block_create(sse_str_t bytes, sse_pos_t pos); /* one reference */
sse_block_t *sse_block_ref(sse_block_t *b);
void sse_block_unref(sse_block_t *b);

typedef enum sse_outq_kind_t {
    SSE_OUTQ_LIVE,   /* a message of the live flow: counts against SSEStreamBuffer */
    SSE_OUTQ_REPLAY, /* a message of a replay: paced, does not count */
    SSE_OUTQ_BLOCK
} sse_outq_kind_t;

typedef struct sse_outq_t sse_outq_t;

/* Every function takes the address of the stream's pointer, NULL while nothing waits. */
void sse_outq_message(sse_outq_t **q, sse_message_t *m,
                      sse_outq_kind_t kind);         /* takes a reference of its own */
void sse_outq_block(sse_outq_t **q, sse_block_t *b); /* takes over the caller's reference */
void sse_outq_clear(sse_outq_t **q);
/* Drops all but what has begun to be sent: a first item of which bytes are out, and the items that
 * the first `begun` waiting bytes belong to. */
void sse_outq_drop_unsent(sse_outq_t **q, size_t begun);
/* The last position of the epoch that waits, of a message or a block. False if there is none. */
bool sse_outq_last(const sse_outq_t *q, uint64_t epoch, uint64_t *out_seq);

size_t sse_outq_bytes(const sse_outq_t *q);      /* waiting, of all kinds */
size_t sse_outq_live_bytes(const sse_outq_t *q); /* waiting, of live messages */

/* Fills iov with the next bytes; returns the number of entries used. */
size_t sse_outq_peek(const sse_outq_t *q, struct iovec *iov, size_t max);
typedef enum sse_outq_out_t {
    SSE_OUTQ_TOLD = 1, /* a position of the epoch went out */
    SSE_OUTQ_MOVED = 2 /* a message of the epoch did */
} sse_outq_out_t;

/* `n` bytes were sent. *out_seq becomes the last position of the epoch that went out with a whole
 * message or block, else is untouched; positions of other epochs mean nothing. Returns flags of
 * sse_outq_out_t. Frees the queue when it is empty. */
unsigned sse_outq_sent(sse_outq_t **q, size_t n, uint64_t epoch, uint64_t *out_seq);

#endif
