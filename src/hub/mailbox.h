/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of letters from any thread to the loop that owns it. The only way in which the hub's
 * threads speak to each other, besides reference counts on immutable messages and records. */
#ifndef SSE_MAILBOX_H
#define SSE_MAILBOX_H

#include "broker/wakeup.h"
#include "core/base.h"

/* First member of every letter; the owner's handler frees the letter. */
typedef struct sse_letter_t {
    struct sse_letter_t *next;
} sse_letter_t;

typedef void (*sse_letter_fn)(void *owner, sse_letter_t *letter);

typedef struct sse_mailbox_t {
    sse_wakeup_t wakeup;
    uv_mutex_t lock;
    sse_letter_t *head, **tail;
    sse_letter_fn handle;
    void (*after)(void *owner); /* NULL, or called after each batch of letters */
    void *owner;
} sse_mailbox_t;

/* Letters are handled on `loop`, in the order in which they were posted. */
apr_status_t sse_mailbox_init(sse_mailbox_t *m, uv_loop_t *loop, sse_letter_fn handle,
                              void (*after)(void *owner), void *owner);
/* From any thread. Takes the letter. */
void sse_mailbox_post(sse_mailbox_t *m, sse_letter_t *letter);
/* On the owning loop: handles what has been posted so far. */
void sse_mailbox_drain(sse_mailbox_t *m);
/* On the owning loop, when nobody posts any more: handles the rest and begins to close the handle;
 * the struct must live until the loop has run once more. */
void sse_mailbox_close(sse_mailbox_t *m);

#endif
