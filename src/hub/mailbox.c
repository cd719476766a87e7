/* SPDX-License-Identifier: Apache-2.0 */
/* A mutex and a list: posting is a few dozen nanoseconds beside the system call of the wake-up, and
 * a whole list is taken at once, so that the lock is not held while letters are handled. */
#include "hub/mailbox.h"

void sse_mailbox_drain(sse_mailbox_t *m)
{
    uv_mutex_lock(&m->lock);
    sse_letter_t *list = m->head;
    m->head = NULL;
    m->tail = &m->head;
    uv_mutex_unlock(&m->lock);

    bool any = list != NULL;
    while (list) {
        sse_letter_t *next = list->next;
        m->handle(m->owner, list);
        list = next;
    }
    if (any && m->after)
        m->after(m->owner);
}

static void on_woken(void *owner)
{
    sse_mailbox_drain(owner);
}

apr_status_t sse_mailbox_init(sse_mailbox_t *m, uv_loop_t *loop, sse_letter_fn handle,
                              void (*after)(void *owner), void *owner)
{
    m->head = NULL;
    m->tail = &m->head;
    m->handle = handle;
    m->after = after;
    m->owner = owner;
    if (uv_mutex_init(&m->lock))
        return APR_EGENERAL;
    apr_status_t rv = sse_wakeup_init(&m->wakeup, loop, on_woken, m);
    if (rv != APR_SUCCESS)
        uv_mutex_destroy(&m->lock);
    return rv;
}

void sse_mailbox_post(sse_mailbox_t *m, sse_letter_t *letter)
{
    letter->next = NULL;
    uv_mutex_lock(&m->lock);
    bool was_empty = !m->head;
    *m->tail = letter;
    m->tail = &letter->next;
    uv_mutex_unlock(&m->lock);
    if (was_empty)
        sse_wakeup_post(&m->wakeup);
}

static void on_closed(void *owner)
{
    sse_mailbox_t *m = owner;
    uv_mutex_destroy(&m->lock);
}

void sse_mailbox_close(sse_mailbox_t *m)
{
    sse_mailbox_drain(m);
    sse_wakeup_close(&m->wakeup, on_closed);
}
