/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of one job: pieces that are freed together. Owned by whoever holds the job; not
 * thread-safe. */
#ifndef SSE_ARENA_H
#define SSE_ARENA_H

#include "core/base.h"

typedef struct sse_arena_chunk_t sse_arena_chunk_t;

/* Zero-initialising the struct is initialisation enough. */
typedef struct sse_arena_t {
    sse_arena_chunk_t *chunks; /* newest first */
    size_t bytes;              /* allocated in all */
} sse_arena_t;

void sse_arena_clear(sse_arena_t *a);
/* Zeroed, aligned for any type; never NULL (out of memory aborts). */
void *sse_arena_alloc(sse_arena_t *a, size_t n);
sse_str_t sse_arena_str(sse_arena_t *a, sse_str_t s); /* copies, adds a NUL that does not count */
sse_str_t *sse_arena_strs(sse_arena_t *a, const sse_str_t *s, size_t n);

#endif
