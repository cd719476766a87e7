/* SPDX-License-Identifier: Apache-2.0 */
/* A ring that doubles when full and is freed when empty. */
#include "hub/outq.h"

#include "core/buf.h"
#include <stdlib.h>

/* An sse_message_t or sse_block_t with its sse_outq_kind_t in the low bits, which allocated memory
 * leaves free: a burst puts every message into thousands of queues at once. */
typedef uintptr_t item_t;
#define KIND_BITS 3u

static item_t make_item(void *owner, sse_outq_kind_t kind)
{
    return (uintptr_t)owner | kind;
}

static sse_outq_kind_t kind_of(item_t it)
{
    return (sse_outq_kind_t)(it & KIND_BITS);
}

static void *owner_of(item_t it)
{
    return (void *)(it & ~(uintptr_t)KIND_BITS);
}

struct sse_outq_t {
    uint32_t cap, first, count;
    uint32_t head_sent; /* bytes of the first item that went out */
    size_t bytes, live_bytes;
    item_t items[];
};

sse_block_t *sse_block_create(sse_str_t bytes, sse_pos_t pos)
{
    sse_block_t *b = sse_malloc(sizeof *b + bytes.n);
    atomic_init(&b->refs, 1);
    b->n = (uint32_t)bytes.n;
    b->pos = pos;
    memcpy(b->bytes, bytes.p, bytes.n);
    return b;
}

sse_block_t *sse_block_ref(sse_block_t *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void sse_block_unref(sse_block_t *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
}

static sse_str_t item_bytes(item_t it)
{
    if (kind_of(it) == SSE_OUTQ_BLOCK) {
        const sse_block_t *b = owner_of(it);
        return (sse_str_t){b->bytes, b->n};
    }
    return ((const sse_message_t *)owner_of(it))->frame;
}

static sse_pos_t item_pos(item_t it)
{
    if (kind_of(it) == SSE_OUTQ_BLOCK)
        return ((const sse_block_t *)owner_of(it))->pos;
    return ((const sse_message_t *)owner_of(it))->pos;
}

static void item_release(item_t it)
{
    if (kind_of(it) == SSE_OUTQ_BLOCK)
        sse_block_unref(owner_of(it));
    else
        sse_message_unref(owner_of(it));
}

static item_t item_at(const sse_outq_t *q, uint32_t i)
{
    return q->items[(q->first + i) % q->cap];
}

static void push(sse_outq_t **qp, item_t it)
{
    sse_outq_t *q = *qp;
    if (!q || q->count == q->cap) {
        uint32_t cap = q ? q->cap * 2 : 4;
        sse_outq_t *bigger = sse_malloc(sizeof *bigger + cap * sizeof(item_t));
        if (q) {
            *bigger = *q;
            for (uint32_t i = 0; i < q->count; i++)
                bigger->items[i] = item_at(q, i);
            free(q);
        } else {
            memset(bigger, 0, sizeof *bigger);
        }
        bigger->cap = cap;
        bigger->first = 0;
        *qp = q = bigger;
    }
    q->items[(q->first + q->count++) % q->cap] = it;
    size_t n = item_bytes(it).n;
    q->bytes += n;
    if (kind_of(it) == SSE_OUTQ_LIVE)
        q->live_bytes += n;
}

void sse_outq_message(sse_outq_t **q, sse_message_t *m, sse_outq_kind_t kind)
{
    push(q, make_item(sse_message_ref(m), kind));
}

void sse_outq_block(sse_outq_t **q, sse_block_t *b)
{
    push(q, make_item(b, SSE_OUTQ_BLOCK));
}

/* Takes the first item out of the counts and the ring. */
static void pop(sse_outq_t *q)
{
    item_t it = item_at(q, 0);
    size_t n = item_bytes(it).n;
    q->bytes -= n - q->head_sent;
    if (kind_of(it) == SSE_OUTQ_LIVE)
        q->live_bytes -= n - q->head_sent;
    q->head_sent = 0;
    item_release(it);
    q->first = (q->first + 1) % q->cap;
    q->count--;
}

void sse_outq_clear(sse_outq_t **qp)
{
    sse_outq_t *q = *qp;
    if (!q)
        return;
    while (q->count)
        pop(q);
    free(q);
    *qp = NULL;
}

void sse_outq_drop_unsent(sse_outq_t **qp, size_t begun)
{
    sse_outq_t *q = *qp;
    if (!q)
        return;
    uint32_t kept = q->head_sent ? 1 : 0;
    size_t held = kept ? item_bytes(item_at(q, 0)).n - q->head_sent : 0;
    while (held < begun && kept < q->count)
        held += item_bytes(item_at(q, kept++)).n;
    if (!kept) {
        sse_outq_clear(qp);
        return;
    }
    for (uint32_t i = kept; i < q->count; i++) {
        item_t it = item_at(q, i);
        size_t n = item_bytes(it).n;
        q->bytes -= n;
        if (kind_of(it) == SSE_OUTQ_LIVE)
            q->live_bytes -= n;
        item_release(it);
    }
    q->count = kept;
}

bool sse_outq_last(const sse_outq_t *q, uint64_t epoch, uint64_t *out_seq)
{
    for (uint32_t i = q ? q->count : 0; i > 0; i--) {
        sse_pos_t pos = item_pos(item_at(q, i - 1));
        if (pos.epoch && pos.epoch == epoch) {
            *out_seq = pos.seq;
            return true;
        }
    }
    return false;
}

size_t sse_outq_bytes(const sse_outq_t *q)
{
    return q ? q->bytes : 0;
}

size_t sse_outq_live_bytes(const sse_outq_t *q)
{
    return q ? q->live_bytes : 0;
}

size_t sse_outq_peek(const sse_outq_t *q, struct iovec *iov, size_t max)
{
    if (!q)
        return 0;
    size_t n = q->count < max ? q->count : max;
    for (size_t i = 0; i < n; i++) {
        sse_str_t s = item_bytes(item_at(q, (uint32_t)i));
        size_t skip = i == 0 ? q->head_sent : 0;
        iov[i].iov_base = (char *)s.p + skip;
        iov[i].iov_len = s.n - skip;
    }
    return n;
}

unsigned sse_outq_sent(sse_outq_t **qp, size_t n, uint64_t epoch, uint64_t *out_seq)
{
    sse_outq_t *q = *qp;
    unsigned out = 0;
    while (q->count) {
        item_t it = item_at(q, 0);
        size_t left = item_bytes(it).n - q->head_sent;
        if (n < left) {
            q->head_sent += (uint32_t)n;
            q->bytes -= n;
            if (kind_of(it) == SSE_OUTQ_LIVE)
                q->live_bytes -= n;
            return out;
        }
        n -= left;
        sse_pos_t pos = item_pos(it);
        if (pos.epoch && pos.epoch == epoch) {
            *out_seq = pos.seq;
            out |= kind_of(it) == SSE_OUTQ_BLOCK ? SSE_OUTQ_TOLD : SSE_OUTQ_TOLD | SSE_OUTQ_MOVED;
        }
        pop(q);
    }
    free(q);
    *qp = NULL;
    return out;
}
