/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors of users on their way from the reactors to the broker: the notices of one batch become
 * one call a realm. Control loop only. */
#ifndef SSE_TRACKING_H
#define SSE_TRACKING_H

#include "hub/reactor.h"

struct sse_hub_t;

/* A NOTICE_CURSORS; takes it. */
void sse_tracking_add(struct sse_hub_t *hub, sse_notice_t *notice);
/* The batch is through. */
void sse_tracking_flush(struct sse_hub_t *hub);

#endif
