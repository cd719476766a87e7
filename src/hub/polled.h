/* SPDX-License-Identifier: Apache-2.0 */
/* Users behind clients that poll: online from one answer until the next request is overdue. Control
 * loop only. */
#ifndef SSE_POLLED_H
#define SSE_POLLED_H

#include "core/base.h"

struct sse_hub_t;

typedef struct sse_polled_t {
    struct sse_poll_t *first, *last; /* in order of their ends */
} sse_polled_t;

/* The user's client got an answer and will be back after `retry_ms` at the latest. */
void sse_polled_add(struct sse_hub_t *hub, sse_str_t realm, sse_str_t user, uint32_t retry_ms);
/* Each second: those that are overdue are not online by it any more. */
void sse_polled_expire(struct sse_hub_t *hub);
void sse_polled_clear(struct sse_hub_t *hub);

#endif
