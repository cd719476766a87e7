/* SPDX-License-Identifier: Apache-2.0 */
/* Between reactors that want history for a stream and the broker that has it. Requests wait in a
 * queue of which only so many are at work at once, so that a crowd of returning clients cannot
 * stall live delivery. Control loop only. */
#ifndef SSE_REPLAY_H
#define SSE_REPLAY_H

#include "hub/reactor.h"

struct sse_hub_t;

typedef struct sse_replayer_t {
    sse_letter_t *head, **tail; /* notices that wait */
    uint32_t at_work;
} sse_replayer_t;

void sse_replay_init(struct sse_hub_t *hub);
/* A NOTICE_HISTORY; takes it. */
void sse_replay_ask(struct sse_hub_t *hub, sse_notice_t *notice);
void sse_replay_clear(struct sse_hub_t *hub);

#endif
