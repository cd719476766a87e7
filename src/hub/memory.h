/* SPDX-License-Identifier: Apache-2.0 */
/* Gives memory that a burst or a crowd has left free back to the system. The allocator keeps it in
 * the reactors' arenas, between what lives on, and by itself would keep it for ever. Control loop
 * only. */
#ifndef SSE_MEMORY_H
#define SSE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

typedef struct sse_memory_t {
    uint32_t seconds; /* since the last look */
    uint32_t age;     /* looks since memory was last given back */
    size_t kept;      /* free bytes that have been given back, or were not worth it */
} sse_memory_t;

/* To be called each second. */
void sse_memory_tidy(sse_memory_t *m);

#endif
