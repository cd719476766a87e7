/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one job: a list of chunks. A large piece gets a chunk of its own. */
#include "broker/arena.h"

#include "core/buf.h"

#include <stdalign.h>
#include <stdlib.h>

#define CHUNK_SIZE 1024

struct sse_arena_chunk_t {
    sse_arena_chunk_t *next;
    size_t used;
    size_t cap;
    alignas(max_align_t) char bytes[];
};

void sse_arena_clear(sse_arena_t *a)
{
    while (a->chunks) {
        sse_arena_chunk_t *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
    a->bytes = 0;
}

void *sse_arena_alloc(sse_arena_t *a, size_t n)
{
    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    sse_arena_chunk_t *c = a->chunks;
    if (!c || c->cap - c->used < n) {
        size_t cap = n > CHUNK_SIZE / 2 ? n : CHUNK_SIZE;
        c = sse_calloc(1, sizeof(*c) + cap);
        c->cap = cap;
        /* A piece with a chunk of its own goes behind the chunk that still has room. */
        if (a->chunks && cap == n) {
            c->next = a->chunks->next;
            a->chunks->next = c;
        } else {
            c->next = a->chunks;
            a->chunks = c;
        }
        a->bytes += sizeof(*c) + cap;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    return p;
}

sse_str_t sse_arena_str(sse_arena_t *a, sse_str_t s)
{
    char *p = sse_arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    return (sse_str_t){p, s.n};
}

sse_str_t *sse_arena_strs(sse_arena_t *a, const sse_str_t *s, size_t n)
{
    sse_str_t *copy = sse_arena_alloc(a, n * sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = sse_arena_str(a, s[i]);
    return copy;
}
