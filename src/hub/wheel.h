/* SPDX-License-Identifier: Apache-2.0 */
/* A timing wheel of one-second slots: 16 bytes and no system call for a stream's next due time.
 * Owned by one reactor. */
#ifndef SSE_WHEEL_H
#define SSE_WHEEL_H

#include "core/base.h"

#define SSE_WHEEL_SLOTS 256

/* Embedded in what waits; all zero = not waiting. */
typedef struct sse_wheel_node_t {
    struct sse_wheel_node_t *next, **prev;
} sse_wheel_node_t;

typedef struct sse_wheel_t {
    sse_wheel_node_t *slots[SSE_WHEEL_SLOTS];
    uint32_t now; /* seconds, as last given to sse_wheel_turn */
} sse_wheel_t;

typedef void (*sse_wheel_fn)(void *baton, sse_wheel_node_t *node);

void sse_wheel_init(sse_wheel_t *w, uint32_t now);
/* Puts or moves the node to `due` seconds; a due time further than the wheel reaches fires at its
 * rim, one in the past at the next turn. The callback decides what is due. */
void sse_wheel_set(sse_wheel_t *w, sse_wheel_node_t *node, uint32_t due);
void sse_wheel_remove(sse_wheel_node_t *node);
/* Calls fn for each node whose slot has come up to and with `now`; each is removed before, and may
 * be set again. */
void sse_wheel_turn(sse_wheel_t *w, uint32_t now, sse_wheel_fn fn, void *baton);

#endif
