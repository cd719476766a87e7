/* SPDX-License-Identifier: Apache-2.0 */
/* A list in the order of time: every client is told to come back within the same bound. */
#include "hub/polled.h"

#include "core/buf.h"
#include "hub/hub.h"
#include <stdlib.h>

typedef struct sse_poll_t {
    struct sse_poll_t *next;
    uint64_t until; /* loop ms */
    char *realm, *user;
} sse_poll_t;

void sse_polled_add(sse_hub_t *hub, sse_str_t realm, sse_str_t user, uint32_t retry_ms)
{
    sse_polled_t *polled = &hub->polled;
    sse_poll_t *poll = sse_calloc(1, sizeof *poll);
    poll->realm = sse_strndup(realm.p, realm.n);
    poll->user = sse_strndup(user.p, user.n);
    poll->until = uv_now(&hub->loop) + retry_ms + 1000 * ((uint64_t)hub->conf.presence_grace + 1);
    if (polled->last)
        polled->last->next = poll;
    else
        polled->first = poll;
    polled->last = poll;
    sse_hub_presence_told(hub, realm, user, sse_presence_poll(&hub->presence, realm, user, 1));
}

static void drop_first(sse_hub_t *hub)
{
    sse_polled_t *polled = &hub->polled;
    sse_poll_t *poll = polled->first;
    polled->first = poll->next;
    if (!polled->first)
        polled->last = NULL;
    free(poll->realm);
    free(poll->user);
    free(poll);
}

void sse_polled_expire(sse_hub_t *hub)
{
    uint64_t now = uv_now(&hub->loop);
    while (hub->polled.first && hub->polled.first->until <= now) {
        sse_str_t realm = sse_str(hub->polled.first->realm);
        sse_str_t user = sse_str(hub->polled.first->user);
        sse_hub_presence_told(hub, realm, user, sse_presence_poll(&hub->presence, realm, user, -1));
        drop_first(hub);
    }
}

void sse_polled_clear(sse_hub_t *hub)
{
    while (hub->polled.first)
        drop_first(hub);
}
