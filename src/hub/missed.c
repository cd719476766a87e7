/* SPDX-License-Identifier: Apache-2.0 */
/* One portion of history after the client's position; what does not fit comes with its next
 * request. */
#include "hub/missed.h"

#include "hub/hub.h"
#include <stdlib.h>

#define MISSED_MESSAGES 1000
#define MISSED_BYTES (512 * 1024)

typedef struct missed_t {
    sse_hub_t *hub;
    sse_missed_fn cb;
    void *baton;
    sse_pos_t cursor;
    bool resumed;
    int reset;
    sse_range_t *ranges;
    size_t n_ranges;
} missed_t;

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add(missed_t *m, sse_channel_kind_t kind, const char *name, uint64_t after)
{
    m->ranges = sse_realloc(m->ranges, (m->n_ranges + 1) * sizeof *m->ranges);
    m->ranges[m->n_ranges++] = (sse_range_t){{kind, sse_str(name)}, after};
}

/* As sse_subindex_ranges, from records. One channel may come twice: the broker gives each message
 * once. */
static void add_ranges(missed_t *m, const sse_attach_t *a)
{
    uint64_t cursor = a->cursor;
    add(m, SSE_CHANNEL_BROADCAST, NULL, cursor);
    for (size_t i = 0; i < a->n_events; i++)
        add(m, SSE_CHANNEL_EVENT, a->events[i], cursor);
    if (!a->record)
        return;
    add(m, SSE_CHANNEL_USER, a->user, cursor);
    for (size_t i = 0; i < a->record->n_subs; i++)
        add(m, SSE_CHANNEL_EVENT, a->record->subs[i].event,
            later(cursor, a->record->subs[i].start));
    for (size_t i = 0; i < a->record->n_memberships; i++) {
        uint64_t start = later(cursor, a->record->memberships[i].start);
        add(m, SSE_CHANNEL_GROUP, a->record->memberships[i].group, start);
        const sse_record_t *group = a->groups[i];
        for (size_t k = 0; k < group->n_subs; k++)
            add(m, SSE_CHANNEL_EVENT, group->subs[k].event, later(start, group->subs[k].start));
    }
}

static void on_history(void *baton, apr_status_t status, const sse_history_t *h)
{
    missed_t *m = baton;
    sse_buf_t body = {0};
    sse_pos_t pos = m->cursor;
    if (status == APR_SUCCESS) {
        bool gap = h->n_gaps > 0;
        if (gap && h->n_messages)
            pos.seq = later(pos.seq, h->messages[0]->pos.seq - 1);
        else if (gap)
            pos.seq = later(pos.seq, h->pos.seq);
        sse_render_open(&body, pos, m->resumed && m->reset < 0 && !gap);
        if (m->reset >= 0)
            sse_render_reset(&body, pos, (sse_reset_reason_t)m->reset, NULL, 0);
        else if (gap)
            sse_render_reset(&body, pos, SSE_RESET_EXPIRED, NULL, 0);
        for (size_t i = 0; i < h->n_messages; i++) {
            sse_buf_str(&body, h->messages[i]->frame);
            pos = h->messages[i]->pos;
        }
    }
    m->cb(m->baton, status == APR_SUCCESS ? APR_SUCCESS : APR_EAGAIN, &body, pos);
    sse_buf_clear(&body);
    free(m->ranges);
    free(m);
}

void sse_missed_read(sse_hub_t *hub, const sse_attach_t *a, sse_missed_fn cb, void *baton)
{
    missed_t *m = sse_calloc(1, sizeof *m);
    m->hub = hub;
    m->cb = cb;
    m->baton = baton;
    m->cursor = (sse_pos_t){a->pos.epoch, a->cursor};
    m->resumed = a->resumed;
    m->reset = a->reset;
    add_ranges(m, a);
    hub->broker->driver->history(hub->broker, sse_str(a->realm), m->ranges, m->n_ranges,
                                 MISSED_MESSAGES, MISSED_BYTES, on_history, m);
    /* The broker has copied what it needs of the names. */
    free(m->ranges);
    m->ranges = NULL;
}
