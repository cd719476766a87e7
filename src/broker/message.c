/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: made by the thread that learns a position (a driver's), read by the control loop and
 * every reactor, freed by whoever drops the last reference. */
#include "broker/message.h"

#include "broker/broker.h"
#include "core/buf.h"
#include "core/render.h"

#include <stdlib.h>

static size_t count_lines(sse_str_t data)
{
    size_t n = 1;
    for (size_t i = 0; i < data.n; i++)
        n += data.p[i] == '\n' || data.p[i] == '\r';
    return n;
}

sse_message_t *sse_message_create(sse_pos_t pos, sse_str_t realm, sse_str_t event, sse_str_t data,
                                  bool raw, int64_t published, int64_t expires,
                                  const sse_channel_t *channels, size_t n_channels)
{
    size_t lines = count_lines(data);
    size_t targets_at = sizeof(sse_message_t);
    size_t names_at = targets_at + n_channels * sizeof(sse_message_target_t);
    size_t names_n = 0;
    for (size_t i = 0; i < n_channels; i++)
        names_n += channels[i].name.n;

    sse_buf_t b = {0};
    sse_buf_reserve(&b, names_at + names_n + realm.n + event.n + (lines > 1 ? data.n : 0) +
                            SSE_EVENTID_MAX + event.n + data.n + 6 * lines + 24);
    b.n = names_at;
    for (size_t i = 0; i < n_channels; i++)
        sse_buf_str(&b, channels[i].name);
    size_t realm_at = b.n;
    sse_buf_str(&b, realm);
    size_t event_at = b.n;
    sse_buf_str(&b, event);
    size_t data_at = b.n;
    if (lines > 1)
        sse_buf_str(&b, data);
    size_t frame_at = b.n;
    sse_render_message(&b, pos, event, data);
    /* One line of data stands in the frame as it came: just before the two line ends. */
    if (lines == 1)
        data_at = b.n - 2 - data.n;

    sse_message_t *m = (sse_message_t *)(void *)b.p;
    sse_message_target_t *targets = (sse_message_target_t *)(void *)(b.p + targets_at);
    const char *name = b.p + names_at;
    for (size_t i = 0; i < n_channels; i++) {
        targets[i] = (sse_message_target_t){channels[i].kind, (uint32_t)channels[i].name.n, name};
        name += channels[i].name.n;
    }
    atomic_init(&m->refs, 1);
    m->pos = pos;
    m->published = published;
    m->expires = expires;
    m->raw = raw;
    m->realm = (sse_str_t){b.p + realm_at, realm.n};
    m->event = (sse_str_t){b.p + event_at, event.n};
    m->data = (sse_str_t){b.p + data_at, data.n};
    m->n_targets = n_channels;
    m->targets = targets;
    m->frame = (sse_str_t){b.p + frame_at, b.n - frame_at};
    return m;
}

sse_message_t *sse_message_ref(sse_message_t *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void sse_message_unref(sse_message_t *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
}
