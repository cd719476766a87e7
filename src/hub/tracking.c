/* SPDX-License-Identifier: Apache-2.0 */
/* See tracking.h. A cursor that is not stored only means that something is repeated later, so
 * nobody waits for it. */
#include "hub/tracking.h"

#include "core/buf.h"
#include "hub/hub.h"
#include <stdlib.h>
#include <time.h>

#define CALL_MAX 1024

void sse_tracking_add(sse_hub_t *hub, sse_notice_t *notice)
{
    sse_letter_t **end = &hub->cursors; /* oldest first: a later cursor of a user overrides */
    if (hub->cursors)
        end = &hub->last_cursor->next;
    notice->letter.next = NULL;
    *end = hub->last_cursor = &notice->letter;
}

static void on_stored(void *baton, apr_status_t status) {}

/* Gives the broker the cursors of the first notice's realm, at most CALL_MAX, and takes them out of
 * the list. */
static void flush_realm(sse_hub_t *hub)
{
    sse_cursor_t cursors[CALL_MAX];
    sse_notice_t *taken[CALL_MAX];
    size_t n = 0;
    const char *realm = ((sse_notice_t *)hub->cursors)->realm;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    sse_letter_t *kept = NULL, **tail = &kept, *next;
    for (sse_letter_t *l = hub->cursors; l; l = next) {
        sse_notice_t *notice = (sse_notice_t *)l;
        next = l->next;
        if (n == CALL_MAX || strcmp(notice->realm, realm)) {
            *tail = l;
            tail = &l->next;
            hub->last_cursor = l;
            continue;
        }
        cursors[n] = (sse_cursor_t){sse_str(notice->user),
                                    {notice->epoch, notice->seq},
                                    now.tv_sec * 1000 + now.tv_nsec / 1000000};
        taken[n++] = notice;
    }
    *tail = NULL;
    hub->cursors = kept;
    if (hub->broker)
        hub->broker->driver->cursors(hub->broker, sse_str(realm), cursors, n, on_stored, NULL);
    for (size_t i = 0; i < n; i++)
        sse_notice_free(taken[i]);
}

void sse_tracking_flush(sse_hub_t *hub)
{
    while (hub->cursors)
        flush_realm(hub);
}
