/* SPDX-License-Identifier: Apache-2.0 */
/* Wakes a loop from any thread: an eventfd that the loop polls. Used in place of uv_async_t, whose
 * receiver spins, and then yields, while the sender is still inside its write(2): on a machine with
 * few processors that is most of a wake-up's cost. */
#ifndef SSE_WAKEUP_H
#define SSE_WAKEUP_H

#include "core/base.h"

#include <stdatomic.h>
#include <uv.h>

typedef void (*sse_wakeup_fn)(void *owner);

typedef struct sse_wakeup_t {
    uv_poll_t poll;
    int fd;
    atomic_bool posted; /* the loop has been told and has not begun to look */
    sse_wakeup_fn woken, closed;
    void *owner;
} sse_wakeup_t;

/* `woken` is called on the loop, at least once after each post; several posts may share a call. On
 * failure there is nothing to close. */
apr_status_t sse_wakeup_init(sse_wakeup_t *w, uv_loop_t *loop, sse_wakeup_fn woken, void *owner);
/* From any thread. What was written before it is seen by `woken`. */
void sse_wakeup_post(sse_wakeup_t *w);
/* On the loop, when nobody posts any more. `closed`, which may be NULL, is called when the struct
 * may go. A second time does nothing. */
void sse_wakeup_close(sse_wakeup_t *w, sse_wakeup_fn closed);
bool sse_wakeup_closing(const sse_wakeup_t *w);

#endif
