/* SPDX-License-Identifier: Apache-2.0 */
/* What a client missed, as a body instead of a stream: for clients that no stream can be had for
 * (limits reached) and for those that poll. Control loop only. */
#ifndef SSE_MISSED_H
#define SSE_MISSED_H

#include "core/buf.h"
#include "hub/reactor.h"

struct sse_hub_t;

/* `body` holds stream-open, stream-reset where something is gone, and messages up to a bound; pos
 * is the last position in it. APR_EAGAIN when history could not be read: body is empty then. */
typedef void (*sse_missed_fn)(void *baton, apr_status_t status, const sse_buf_t *body,
                              sse_pos_t pos);

/* Reads what the stream described by `a` would have carried after a->cursor. The call only borrows
 * `a`. */
void sse_missed_read(struct sse_hub_t *hub, const sse_attach_t *a, sse_missed_fn cb, void *baton);

#endif
