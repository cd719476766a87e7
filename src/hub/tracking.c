/* SPDX-License-Identifier: Apache-2.0 */
/* See tracking.h. A cursor that is not stored only means that something is repeated later, so
 * nobody waits for it. */
#include "hub/tracking.h"

#include "core/buf.h"
#include "hub/hub.h"
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

static void give(sse_hub_t *hub, const char *realm, const sse_cursor_t *cursors, size_t *n)
{
    if (*n && hub->broker)
        hub->broker->driver->cursors(hub->broker, sse_str(realm), cursors, *n, on_stored, NULL);
    *n = 0;
}

void sse_tracking_flush(sse_hub_t *hub)
{
    sse_cursor_t cursors[CALL_MAX];
    size_t n = 0;
    const char *realm = NULL;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    for (sse_letter_t *l = hub->cursors; l; l = l->next) {
        const sse_notice_t *notice = (const sse_notice_t *)l;
        sse_str_t user;
        uint64_t seq;
        size_t at = 0;
        if (realm && strcmp(realm, notice->realm))
            give(hub, realm, cursors, &n);
        realm = notice->realm;
        while (sse_notice_cursor(notice, &at, &user, &seq)) {
            cursors[n++] = (sse_cursor_t){user, {notice->epoch, seq}, ms};
            if (n == CALL_MAX)
                give(hub, realm, cursors, &n);
        }
    }
    give(hub, realm, cursors, &n);
    while (hub->cursors) {
        sse_letter_t *l = hub->cursors;
        hub->cursors = l->next;
        sse_notice_free((sse_notice_t *)l);
    }
}
