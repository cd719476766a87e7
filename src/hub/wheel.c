/* SPDX-License-Identifier: Apache-2.0 */
/* See wheel.h. A node knows its predecessor's link, so removal needs no slot number. */
#include "hub/wheel.h"

void sse_wheel_init(sse_wheel_t *w, uint32_t now)
{
    memset(w, 0, sizeof *w);
    w->now = now;
}

void sse_wheel_remove(sse_wheel_node_t *node)
{
    if (!node->prev)
        return;
    *node->prev = node->next;
    if (node->next)
        node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

void sse_wheel_set(sse_wheel_t *w, sse_wheel_node_t *node, uint32_t due)
{
    uint32_t ahead = due > w->now ? due - w->now : 1;
    if (ahead >= SSE_WHEEL_SLOTS)
        ahead = SSE_WHEEL_SLOTS - 1;
    sse_wheel_remove(node);
    sse_wheel_node_t **slot = &w->slots[(w->now + ahead) % SSE_WHEEL_SLOTS];
    node->next = *slot;
    node->prev = slot;
    if (*slot)
        (*slot)->prev = &node->next;
    *slot = node;
}

void sse_wheel_turn(sse_wheel_t *w, uint32_t now, sse_wheel_fn fn, void *baton)
{
    if (now - w->now > SSE_WHEEL_SLOTS) /* the process slept: every slot has come up */
        w->now = now - SSE_WHEEL_SLOTS;
    while (w->now != now) {
        w->now++;
        sse_wheel_node_t **slot = &w->slots[w->now % SSE_WHEEL_SLOTS];
        /* A node that fn sets again lands at least one slot further, never in this one. */
        while (*slot) {
            sse_wheel_node_t *node = *slot;
            sse_wheel_remove(node);
            fn(baton, node);
        }
    }
}
