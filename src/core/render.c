/* SPDX-License-Identifier: Apache-2.0 */
/* Writes event-stream blocks into a caller's buffer. Pure functions, any thread. */
#include "core/render.h"

#include "core/json.h"

#define DATA "data: "

static const char *const reset_names[] = {
    [SSE_RESET_EXPIRED] = "expired",
    [SSE_RESET_UNKNOWN_ID] = "unknown-id",
    [SSE_RESET_BROKER_RESET] = "broker-reset",
    [SSE_RESET_SLOW] = "slow",
};

static const struct {
    const char *name;
    bool final;
} ends[] = {
    [SSE_END_LOGOUT] = {"logout", true},
    [SSE_END_EXPIRED] = {"expired", false},
    [SSE_END_DEACTIVATED] = {"deactivated", true},
    [SSE_END_DISCONNECTED] = {"disconnected", true},
    [SSE_END_REPLACED] = {"replaced", true},
    [SSE_END_MAX_AGE] = {"max-age", false},
    [SSE_END_SLOW] = {"slow", false},
    [SSE_END_SHUTDOWN] = {"shutdown", false},
    [SSE_END_UNAVAILABLE] = {"unavailable", false},
    [SSE_END_BUSY] = {"busy", false},
};

const char *sse_end_reason_name(sse_end_reason_t reason)
{
    return ends[reason].name;
}

apr_status_t sse_end_reason_parse(sse_str_t name, sse_end_reason_t *out_reason)
{
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(ends); i++) {
        if (sse_str_eq(name, sse_str(ends[i].name))) {
            *out_reason = (sse_end_reason_t)i;
            return APR_SUCCESS;
        }
    }
    return APR_EINVAL;
}

bool sse_end_reason_final(sse_end_reason_t reason)
{
    return ends[reason].final;
}

static void render_id(sse_buf_t *out, sse_pos_t pos, bool end_mark)
{
    char text[SSE_EVENTID_MAX];

    if (pos.epoch == 0)
        return;
    sse_buf_str(out, SSE_STR("id: "));
    sse_buf_add(out, text, sse_eventid_format(pos, end_mark, text));
    sse_buf_char(out, '\n');
}

static const char *find(const char *p, const char *end, char c)
{
    const char *at = p < end ? memchr(p, c, (size_t)(end - p)) : NULL;

    return at ? at : end;
}

static void render_data(sse_buf_t *out, sse_str_t data)
{
    const char *p = data.p, *end = data.p + data.n;
    const char *cr, *lf, *line_end;

    if (data.n == 0) {
        sse_buf_str(out, SSE_STR(DATA "\n"));
        return;
    }
    /* Each search goes on where its last one ended, so every byte is looked at twice at most. */
    cr = find(p, end, '\r');
    lf = find(p, end, '\n');
    for (;;) {
        line_end = cr < lf ? cr : lf;
        sse_buf_str(out, SSE_STR(DATA));
        sse_buf_add(out, p, (size_t)(line_end - p));
        sse_buf_char(out, '\n');
        if (line_end == end)
            return;
        p = line_end + 1;
        if (line_end == cr && p == lf && p != end)
            p++;
        if (cr < p)
            cr = find(p, end, '\r');
        if (lf < p)
            lf = find(p, end, '\n');
    }
}

void sse_render_message(sse_buf_t *out, sse_pos_t pos, sse_str_t event, sse_str_t data)
{
    sse_buf_reserve(out, event.n + data.n + SSE_EVENTID_MAX + 32);
    render_id(out, pos, false);
    sse_buf_str(out, SSE_STR("event: "));
    sse_buf_str(out, event);
    sse_buf_char(out, '\n');
    render_data(out, data);
    sse_buf_char(out, '\n');
}

void sse_render_retry(sse_buf_t *out, uint32_t ms)
{
    sse_buf_printf(out, "retry: %lu\n\n", (unsigned long)ms);
}

void sse_render_open(sse_buf_t *out, sse_pos_t pos, bool resumed)
{
    render_id(out, pos, false);
    sse_buf_printf(out, "event: stream-open\n" DATA "{\"resumed\": %s}\n\n",
                   resumed ? "true" : "false");
}

void sse_render_reset(sse_buf_t *out, sse_pos_t pos, sse_reset_reason_t reason,
                      const sse_str_t *events, size_t n_events)
{
    size_t i;

    render_id(out, pos, false);
    sse_buf_printf(
        out, "event: stream-reset\n" DATA "{\"reason\": \"%s\", \"events\": ", reset_names[reason]);
    if (events) {
        sse_buf_char(out, '[');
        for (i = 0; i < n_events; i++) {
            if (i)
                sse_buf_str(out, SSE_STR(", "));
            sse_json_quote(out, events[i]);
        }
        sse_buf_char(out, ']');
    } else {
        sse_buf_str(out, SSE_STR("null"));
    }
    sse_buf_str(out, SSE_STR("}\n\n"));
}

void sse_render_end(sse_buf_t *out, sse_pos_t pos, sse_end_reason_t reason)
{
    render_id(out, pos, ends[reason].final);
    sse_buf_printf(out, "event: stream-end\n" DATA "{\"reason\": \"%s\"}\n\n", ends[reason].name);
}

void sse_render_heartbeat(sse_buf_t *out)
{
    sse_buf_str(out, SSE_STR(":\n\n"));
}
