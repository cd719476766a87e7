/* SPDX-License-Identifier: Apache-2.0 */
/* Event-stream blocks, read back by a parser written after the WHATWG's text (HTML, 9.2.6): it must
 * find the intended events and nothing else, whatever bytes a publisher sends.
 *
 * Input: 16 bytes position, 1 byte length of the event's name, the name, the data. */
#include "fuzz.h"

#include "core/json.h"
#include "core/name.h"
#include "core/render.h"

const char sse_fuzz_name[] = "render";

#define EVENTS_MAX 16

typedef struct event_t {
    sse_buf_t type, data, id;
} event_t;

/* The state that the standard names, plus what was dispatched. */
typedef struct parser_t {
    sse_buf_t type, data, last_id;
    uint64_t retry;
    size_t n_retries, n_ignored;
    event_t events[EVENTS_MAX];
    size_t n;
} parser_t;

static void set(sse_buf_t *b, sse_str_t s)
{
    b->n = 0;
    sse_buf_str(b, s);
}

static void process_field(parser_t *x, sse_str_t name, sse_str_t value)
{
    size_t i;

    if (sse_str_eq(name, SSE_STR("event"))) {
        set(&x->type, value);
    } else if (sse_str_eq(name, SSE_STR("data"))) {
        sse_buf_str(&x->data, value);
        sse_buf_char(&x->data, '\n');
    } else if (sse_str_eq(name, SSE_STR("id"))) {
        if (!value.n || !memchr(value.p, '\0', value.n))
            set(&x->last_id, value);
    } else if (sse_str_eq(name, SSE_STR("retry"))) {
        x->retry = 0;
        x->n_retries++;
        for (i = 0; i < value.n; i++) {
            CHECK(value.p[i] >= '0' && value.p[i] <= '9');
            x->retry = x->retry * 10 + (uint64_t)(value.p[i] - '0');
        }
    } else {
        x->n_ignored++;
    }
}

static void dispatch(parser_t *x)
{
    if (x->data.n) {
        event_t *e = &x->events[x->n++];

        CHECK(x->n < EVENTS_MAX);
        set(&e->type, x->type.n ? sse_buf_slice(&x->type) : SSE_STR("message"));
        set(&e->data, (sse_str_t){x->data.p, x->data.n - 1});
        set(&e->id, sse_buf_slice(&x->last_id));
    }
    x->type.n = x->data.n = 0;
}

static void process_line(parser_t *x, sse_str_t line)
{
    const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
    sse_str_t name = line, value = SSE_STR_NONE;

    if (line.n == 0) {
        dispatch(x);
        return;
    }
    if (colon == line.p)
        return; /* a comment */
    if (colon) {
        name.n = (size_t)(colon - line.p);
        value = (sse_str_t){colon + 1, line.n - name.n - 1};
        if (value.n && value.p[0] == ' ')
            value = (sse_str_t){value.p + 1, value.n - 1};
    }
    process_field(x, name, value);
}

static void parse_stream(parser_t *x, sse_str_t s)
{
    size_t i = 0;

    while (i < s.n) {
        size_t begin = i;

        while (i < s.n && s.p[i] != '\r' && s.p[i] != '\n')
            i++;
        CHECK(i < s.n); /* every block ends with a line end */
        process_line(x, (sse_str_t){s.p + begin, i - begin});
        i += s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n' ? 2 : 1;
    }
    CHECK(x->data.n == 0 && x->type.n == 0); /* nothing is left half done for the next block */
    CHECK(x->n_ignored == 0);
}

static void clear(parser_t *x)
{
    size_t i;

    for (i = 0; i < EVENTS_MAX; i++) {
        sse_buf_clear(&x->events[i].type);
        sse_buf_clear(&x->events[i].data);
        sse_buf_clear(&x->events[i].id);
    }
    sse_buf_clear(&x->type);
    sse_buf_clear(&x->data);
    sse_buf_clear(&x->last_id);
}

/* Line ends as the standard's data buffer has them. */
static void normalise(sse_buf_t *out, sse_str_t s)
{
    size_t i;

    for (i = 0; i < s.n; i++) {
        if (s.p[i] == '\r') {
            sse_buf_char(out, '\n');
            i += i + 1 < s.n && s.p[i + 1] == '\n';
        } else {
            sse_buf_char(out, s.p[i]);
        }
    }
}

static void check_event(const event_t *e, sse_str_t type, sse_pos_t pos, bool end_mark)
{
    char id[SSE_EVENTID_MAX];
    size_t n = sse_eventid_format(pos, end_mark, id);

    CHECK(sse_str_eq(sse_buf_slice(&e->type), type));
    if (pos.epoch)
        CHECK(sse_str_eq(sse_buf_slice(&e->id), (sse_str_t){id, n}));
}

static void check_json(const event_t *e, const char *member, const char *text)
{
    sse_json_doc_t *doc;
    sse_json_error_t error;

    CHECK(sse_json_parse(sse_buf_slice(&e->data), &doc, &error) == APR_SUCCESS);
    CHECK(sse_str_eq(sse_json_string(sse_json_get(sse_json_root(doc), member)), sse_str(text)));
    sse_json_free(doc);
}

static void check_reset(const event_t *e, sse_str_t name)
{
    sse_json_doc_t *doc;
    sse_json_error_t error;
    const sse_json_t *names;

    CHECK(sse_json_parse(sse_buf_slice(&e->data), &doc, &error) == APR_SUCCESS);
    names = sse_json_get(sse_json_root(doc), "events");
    CHECK(sse_json_count(names) == 2);
    if (sse_name_utf8(name))
        CHECK(sse_str_eq(sse_json_string(sse_json_at(names, 0)), name));
    CHECK(sse_str_eq(sse_json_string(sse_json_at(names, 1)), SSE_STR("second")));
    sse_json_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sse_pos_t pos;
    sse_str_t name, good_name, text;
    sse_str_t names[2] = {SSE_STR_NONE, SSE_STR("second")};
    sse_buf_t out = {0}, expected = {0};
    sse_end_reason_t reason;
    parser_t x;

    if (size < 17)
        return 0;
    memset(&x, 0, sizeof(x));
    memcpy(&pos, data, 16);
    reason = (sse_end_reason_t)(data[16] % (SSE_END_BUSY + 1));
    name = (sse_str_t){(const char *)data + 17, data[16] < size - 17 ? data[16] : size - 17};
    text = (sse_str_t){name.p + name.n, size - 17 - name.n};
    good_name = sse_name_event_problem(name) ? SSE_STR("e") : name;
    names[0] = name;

    sse_render_retry(&out, (uint32_t)pos.seq);
    sse_render_open(&out, pos, pos.seq & 1);
    sse_render_message(&out, pos, good_name, text);
    sse_render_heartbeat(&out);
    sse_render_reset(&out, pos, (sse_reset_reason_t)(data[16] % (SSE_RESET_SLOW + 1)), names, 2);
    sse_render_message(&out, pos, SSE_STR("named"), name);
    sse_render_end(&out, pos, reason);

    parse_stream(&x, sse_buf_slice(&out));
    CHECK(x.n == 5);
    CHECK(x.n_retries == 1 && x.retry == (uint32_t)pos.seq);
    check_event(&x.events[0], SSE_STR("stream-open"), pos, false);
    check_event(&x.events[1], good_name, pos, false);
    normalise(&expected, text);
    CHECK(sse_str_eq(sse_buf_slice(&x.events[1].data), sse_buf_slice(&expected)));
    check_event(&x.events[2], SSE_STR("stream-reset"), pos, false);
    check_reset(&x.events[2], name);
    check_event(&x.events[3], SSE_STR("named"), pos, false);
    expected.n = 0;
    normalise(&expected, name);
    CHECK(sse_str_eq(sse_buf_slice(&x.events[3].data), sse_buf_slice(&expected)));
    check_event(&x.events[4], SSE_STR("stream-end"), pos, sse_end_reason_final(reason));
    check_json(&x.events[4], "reason", sse_end_reason_name(reason));
    if (pos.epoch == 0)
        CHECK(x.last_id.n == 0);

    clear(&x);
    sse_buf_clear(&out);
    sse_buf_clear(&expected);
    return 0;
}
