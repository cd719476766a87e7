/* SPDX-License-Identifier: Apache-2.0 */
/* One reactor with its thread, its clients at the other ends of socket pairs: which positions
 * clients are told when positions step back or something is gone while much waits in their queues,
 * and which of them count as delivered. */
#include "cmocka_all.h"
#include "core/buf.h"
#include "hub/reactor.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define OLD_EPOCH 0x1111
#define NEW_EPOCH 0x2222
#define WAIT_MS 10000
#define GAP_EVENTS 60

typedef struct fixture_t {
    uv_loop_t loop;
    sse_mailbox_t notices;
    atomic_ullong host_streams;
    sse_reactor_t *reactor;
    sse_stream_handle_t asked; /* by the last NOTICE_HISTORY */
    unsigned n_asked;
    bool stopped;
    uint64_t cursor_epoch, cursor; /* of the last NOTICE_CURSORS */
    unsigned n_cursors;
} fixture_t;

static void on_notice(void *owner, sse_letter_t *letter)
{
    fixture_t *f = owner;
    sse_notice_t *n = (sse_notice_t *)letter;
    sse_str_t user;
    size_t at = 0;
    if (n->type == SSE_NOTICE_HISTORY) {
        f->asked = n->stream;
        f->n_asked++;
    }
    if (n->type == SSE_NOTICE_CURSORS) {
        f->cursor_epoch = n->epoch;
        while (sse_notice_cursor(n, &at, &user, &f->cursor))
            f->n_cursors++;
    }
    f->stopped = f->stopped || n->type == SSE_NOTICE_STOPPED;
    sse_notice_free(n);
}

static void start_with(fixture_t *f, uint32_t heartbeat, bool interest)
{
    memset(f, 0, sizeof *f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(sse_mailbox_init(&f->notices, &f->loop, on_notice, NULL, f), APR_SUCCESS);
    sse_reactor_conf_t conf = {.heartbeat = heartbeat,
                               .retry = 1000,
                               .stream_buffer = 64 * 1024,
                               .host_streams = &f->host_streams,
                               .interest = interest,
                               .notices = &f->notices};
    assert_int_equal(sse_reactor_create(&conf, &f->reactor), APR_SUCCESS);
}

static void start(fixture_t *f, uint32_t heartbeat)
{
    start_with(f, heartbeat, false);
}

static void stop(fixture_t *f)
{
    sse_reactor_stop_post(f->reactor, SSE_END_SHUTDOWN);
    while (!f->stopped)
        uv_run(&f->loop, UV_RUN_ONCE);
    sse_reactor_destroy(f->reactor);
    sse_mailbox_close(&f->notices);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_loop_close(&f->loop);
}

/* Notices that have come or come within a moment. */
static void pump(fixture_t *f)
{
    uv_run(&f->loop, UV_RUN_NOWAIT);
    poll(NULL, 0, 5);
}

/* The client's end of a stream that begins at a position, live (current) or from history. */
static int attach_as(fixture_t *f, sse_str_t user, const char *event, sse_pos_t pos, bool current)
{
    int fds[2], size = 1; /* the least that the kernel gives */
    sse_attach_t *a = sse_calloc(1, sizeof *a);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    a->fd = fds[0];
    a->realm = sse_strndup("r", 1);
    a->user = sse_strndup(user.p, user.n);
    a->record = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), user, 0, 0);
    a->groups = sse_calloc(1, sizeof *a->groups);
    a->events = sse_calloc(1, sizeof *a->events);
    if (event)
        a->events[a->n_events++] = sse_strndup(event, strlen(event));
    a->pos = pos;
    a->cursor = pos.seq;
    a->current = current;
    a->reset = a->end = -1;
    sse_reactor_attach_post(f->reactor, a);
    return fds[1];
}

static int attach(fixture_t *f, sse_pos_t pos, bool current)
{
    return attach_as(f, SSE_STR("u"), "e", pos, current);
}

static sse_message_t *message(uint64_t epoch, uint64_t seq, size_t n)
{
    sse_channel_t channel = {SSE_CHANNEL_EVENT, SSE_STR("e")};
    char *data = sse_malloc(n);
    memset(data, 'x', n);
    sse_message_t *m = sse_message_create((sse_pos_t){epoch, seq}, SSE_STR("r"), SSE_STR("e"),
                                          (sse_str_t){data, n}, true, 0, 0, &channel, 1);
    free(data);
    return m;
}

static void post(fixture_t *f, uint64_t epoch, uint64_t seq, size_t n)
{
    sse_message_t *m = message(epoch, seq, n);
    sse_reactor_message_post(f->reactor, m);
    sse_message_unref(m);
}

/* An answer from history with one message, seq 0: none. */
static void answer(fixture_t *f, uint64_t seq, size_t n, uint64_t gap_end, bool more, uint64_t pos)
{
    sse_replay_t *h = sse_calloc(1, sizeof *h + sizeof(sse_message_t *));
    h->stream = f->asked;
    h->more = more;
    h->gap_end = gap_end;
    if (gap_end) { /* with some names the block is larger than a filler, and may be the last */
        h->gap_events = sse_calloc(GAP_EVENTS, sizeof *h->gap_events);
        for (; h->n_gap_events < GAP_EVENTS; h->n_gap_events++)
            h->gap_events[h->n_gap_events] = sse_strndup("an event of some length", 23);
    }
    h->pos = pos;
    if (seq)
        h->messages[h->n_messages++] = message(OLD_EPOCH, seq, n);
    sse_reactor_history_post(f->reactor, h);
}

static void wait_asked(fixture_t *f, unsigned n)
{
    for (int waited = 0; f->n_asked < n && waited < WAIT_MS; waited += 5)
        pump(f);
    assert_int_equal(f->n_asked, n);
}

static unsigned count(const sse_buf_t *text, const char *what)
{
    unsigned n = 0;
    const char *at = text->p, *end = text->p + text->n;
    while (at && (at = memmem(at, (size_t)(end - at), what, strlen(what)))) {
        at++;
        n++;
    }
    return n;
}

/* Reads until `mark` has come, or to the end of the stream. */
static void read_until(int fd, sse_buf_t *text, const char *mark)
{
    char part[4096];
    struct pollfd p = {fd, POLLIN, 0};
    while (!mark || !count(text, mark)) {
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        ssize_t n = read(fd, part, sizeof part);
        if (n <= 0) {
            assert_null(mark);
            return;
        }
        sse_buf_add(text, part, (size_t)n);
    }
}

/* What waits for a slow reader, as the hub's counter of the last second has it. */
static void wait_queued(fixture_t *f, unsigned long long least)
{
    const sse_reactor_stats_t *stats = sse_reactor_stats(f->reactor);
    for (int waited = 0; waited < WAIT_MS; waited += 5) {
        if (atomic_load(&stats->queued) >= least)
            return;
        pump(f);
    }
    fail();
}

/* The position on the last block of that event; epoch 0 if there is none. */
static sse_pos_t last_id(const sse_buf_t *text, const char *event)
{
    sse_pos_t pos = {0, 0}, found = {0, 0};
    char want[64];
    bool end_mark;
    snprintf(want, sizeof want, "event: %s", event);
    for (size_t at = 0; at < text->n;) {
        const char *nl = memchr(text->p + at, '\n', text->n - at);
        sse_str_t line = {text->p + at, nl ? (size_t)(nl - text->p) - at : text->n - at};
        if (line.n > 4 && !memcmp(line.p, "id: ", 4))
            assert_int_equal(
                sse_eventid_parse((sse_str_t){line.p + 4, line.n - 4}, &pos, &end_mark),
                APR_SUCCESS);
        if (sse_str_eq(line, sse_str(want)))
            found = pos;
        at += line.n + 1;
    }
    return found;
}

/* Positions stepped back while old messages waited, then the client is too slow: what it is told
 * last is the position after the step, and that there was one. */
static void slow_end_after_a_reset_has_the_new_position(void **state)
{
    fixture_t f;
    sse_buf_t text = {0};
    start(&f, 0);
    int fd = attach(&f, (sse_pos_t){OLD_EPOCH, 100}, true);
    read_until(fd, &text, "stream-open");
    for (uint64_t seq = 101; seq <= 103; seq++)
        post(&f, OLD_EPOCH, seq, 15000);
    sse_reactor_reset_post(f.reactor, SSE_STR("r"), (sse_pos_t){NEW_EPOCH, 5});
    for (uint64_t seq = 6; seq <= 9; seq++)
        post(&f, NEW_EPOCH, seq, 15000);
    wait_queued(&f, 1);
    read_until(fd, &text, NULL);
    assert_int_equal(count(&text, "\"slow\""), 1);
    assert_int_equal(count(&text, "broker-reset"), 1);
    sse_pos_t reset = last_id(&text, "stream-reset"), end = last_id(&text, "stream-end");
    assert_true(reset.epoch == NEW_EPOCH && reset.seq == 5);
    assert_true(end.epoch == NEW_EPOCH && end.seq == 5);
    sse_buf_clear(&text);
    close(fd);
    stop(&f);
}

/* Old messages that go out after the step are no progress in the new positions. */
static void old_messages_do_not_move_the_cursor_after_a_reset(void **state)
{
    fixture_t f;
    sse_buf_t text = {0};
    start(&f, 0);
    int fd = attach(&f, (sse_pos_t){OLD_EPOCH, 100}, true);
    read_until(fd, &text, "stream-open");
    for (uint64_t seq = 101; seq <= 103; seq++)
        post(&f, OLD_EPOCH, seq, 15000);
    wait_queued(&f, 1);
    sse_reactor_reset_post(f.reactor, SSE_STR("r"), (sse_pos_t){NEW_EPOCH, 5});
    read_until(fd, &text, "broker-reset");
    sse_buf_clear(&text);
    for (int waited = 0; waited < 1500; waited += 5) /* the reactor looks each second */
        pump(&f);
    assert_true(f.cursor_epoch != NEW_EPOCH);
    post(&f, NEW_EPOCH, 6, 10);
    read_until(fd, &text, "event: e");
    for (int waited = 0; f.cursor_epoch != NEW_EPOCH && waited < WAIT_MS; waited += 5)
        pump(&f);
    assert_true(f.cursor_epoch == NEW_EPOCH);
    assert_int_equal(f.cursor, 6);
    sse_buf_clear(&text);
    close(fd);
    stop(&f);
}

/* The position told with a gap in the middle of a replay is not taken back, however much of the
 * stream the socket had room for when the client was found too slow: `fillers` more messages before
 * the gap. True when the gap had been told. */
static bool end_slow_after_a_gap(fixture_t *f, unsigned fillers, size_t size)
{
    sse_buf_t text = {0};
    unsigned before = f->n_asked;
    int fd = attach(f, (sse_pos_t){OLD_EPOCH, 10}, false);
    uint64_t seq = 20;
    for (unsigned i = 0; i < fillers; i++) {
        wait_asked(f, ++before);
        answer(f, ++seq, size, 0, true, 0);
    }
    wait_asked(f, before + 1);
    answer(f, 0, 0, 50, false, 60);
    for (uint64_t live = 61; live <= 66; live++)
        post(f, OLD_EPOCH, live, 15000);
    wait_queued(f, 1);
    read_until(fd, &text, NULL);
    assert_int_equal(count(&text, "\"slow\""), 1);
    unsigned told = count(&text, "stream-reset");
    uint64_t reset = last_id(&text, "stream-reset").seq, end = last_id(&text, "stream-end").seq;
    if (told) {
        assert_int_equal(told, 1);
        assert_int_equal(reset, 60);
        assert_true(end == 60 || end == 61);
    } else {
        assert_true(end <= seq);
        assert_true(end == 10 || end > 20);
    }
    sse_buf_clear(&text);
    close(fd);
    return told;
}

static void slow_end_after_a_gap_does_not_go_back(void **state)
{
    fixture_t f;
    unsigned told = 0, untold = 0;
    start(&f, 0);
    for (size_t size = 100; size <= 400; size *= 2) {
        for (unsigned fillers = 0; fillers < 10; fillers++) {
            if (end_slow_after_a_gap(&f, fillers, size))
                told++;
            else
                untold++;
        }
    }
    assert_true(told && untold);
    stop(&f);
}

static void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Heartbeats are for idle streams: one that gets a message every 300 ms needs none each second. */
static void busy_streams_get_no_heartbeat(void **state)
{
    fixture_t f;
    sse_buf_t text = {0};
    start(&f, 1);
    int fd = attach(&f, (sse_pos_t){OLD_EPOCH, 10}, true);
    read_until(fd, &text, "stream-open");
    for (uint64_t seq = 11; seq <= 24; seq++) {
        post(&f, OLD_EPOCH, seq, 10);
        sleep_ms(300);
    }
    post(&f, OLD_EPOCH, 25, 5000);
    read_until(fd, &text, "xxxxxxxxxxx");
    assert_int_equal(count(&text, "\n:\n"), 0);
    read_until(fd, &text, "\n:\n");
    sse_buf_clear(&text);
    close(fd);
    stop(&f);
}

/* Another stream carries the event, but so newly that the broker may not send it here yet: history
 * tells what was published since the subscription. */
static void a_new_subscription_is_read_though_others_carry_the_event(void **state)
{
    fixture_t f;
    start_with(&f, 0, true);
    int other = attach_as(&f, SSE_STR("u"), "e", (sse_pos_t){OLD_EPOCH, 5}, false);
    wait_asked(&f, 1);
    int fd = attach_as(&f, SSE_STR("w"), NULL, (sse_pos_t){OLD_EPOCH, 5}, true);
    sse_buf_t text = {0};
    read_until(fd, &text, "stream-open");
    sse_record_t *record = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("w"), 1, 0);
    record->subs[0].event = sse_strndup("e", 1);
    record->subs[0].start = 5;
    sse_reactor_record_post(f.reactor, record, NULL);
    wait_asked(&f, 2);
    post(&f, OLD_EPOCH, 7, 10); /* passes the stream by, which is behind: it is in the answer */
    answer(&f, 6, 20, 0, false, 7);
    read_until(fd, &text, "xxxxxxxxxxxxxxxxxxxx");
    /* The same again is nothing new. */
    sse_reactor_record_post(f.reactor, record, NULL);
    sse_record_unref(record);
    post(&f, OLD_EPOCH, 8, 30);
    read_until(fd, &text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_int_equal(f.n_asked, 2);
    sse_buf_clear(&text);
    stop(&f);
    close(fd);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_subscription_is_read_though_others_carry_the_event),
        cmocka_unit_test(slow_end_after_a_reset_has_the_new_position),
        cmocka_unit_test(old_messages_do_not_move_the_cursor_after_a_reset),
        cmocka_unit_test(slow_end_after_a_gap_does_not_go_back),
        cmocka_unit_test(busy_streams_get_no_heartbeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
