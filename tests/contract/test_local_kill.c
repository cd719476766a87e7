/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at random moments: a child publishes through the embedded driver and reports every
 * acknowledgement over a pipe; the parent kills it, opens the store again and looks: nothing
 * acknowledged is lost, nothing is there twice, numbers only grow. SSE_KILL_ROUNDS says how often
 * (30), SSE_TEST_SEED when. */
#include "rig.h"

#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_FLIGHT 48
#define NUMBERS_MAX 4000000
#define REALM SSE_STR("kill")

world_t world;

/* What the child says: a number that was sent, or its acknowledgement. */
typedef struct report_t {
    uint64_t number;
    uint64_t seq; /* 0: sent, not acknowledged */
} report_t;

static uint64_t *acked; /* sequence number by number; 0 = not known */
static uint64_t sent_upto, last_seq, known_epoch;
static unsigned long resent, repeated;

static uint64_t number_of(const sse_message_t *m)
{
    char text[24] = "";
    memcpy(text, m->data.p, m->data.n < sizeof(text) ? m->data.n : sizeof(text) - 1);
    return strtoull(text, NULL, 10);
}

static void make_item(uint64_t number, char text[24], char key[32], const sse_channel_t *event,
                      sse_publish_t *out)
{
    snprintf(text, 24, "%llu", (unsigned long long)number);
    snprintf(key, 32, "key-%llu", (unsigned long long)number);
    *out = (sse_publish_t){.event = event->name,
                           .data = sse_str(text),
                           .channels = event,
                           .n_channels = 1,
                           .key = sse_str(key)};
}

/* ---- the child ---- */

typedef struct child_t {
    rig_t *rig;
    int pipe;
    uint64_t next;
    unsigned in_flight;
} child_t;

typedef struct batch_t {
    child_t *child;
    uint64_t first;
    size_t n;
} batch_t;

static void say(child_t *c, uint64_t number, uint64_t seq)
{
    report_t report = {number, seq};
    if (write(c->pipe, &report, sizeof(report)) != sizeof(report))
        _exit(1);
}

static void on_acknowledged(void *baton, apr_status_t status, const sse_published_t *results,
                            size_t n, size_t bad)
{
    batch_t *batch = baton;
    child_t *c = batch->child;
    if (status != APR_SUCCESS)
        _exit(2);
    for (size_t i = 0; i < n; i++)
        say(c, batch->first + i, results[i].pos.seq);
    c->in_flight--;
    free(batch);
}

static void on_fleeting(void *baton, apr_status_t status, const sse_published_t *results, size_t n,
                        size_t bad)
{
}

/* One to four messages with keys to the event that is looked at, and now and then one that the
 * trimming will meet. */
static void child_publish(child_t *c)
{
    static const sse_channel_t event = {SSE_CHANNEL_EVENT, {"e", 1}},
                               fleeting = {SSE_CHANNEL_EVENT, {"f", 1}};
    char text[4][24], key[4][32];
    sse_publish_t items[4];
    batch_t *batch = sse_malloc(sizeof(*batch));
    *batch = (batch_t){c, c->next, 1 + (size_t)(random() % 4)};
    for (size_t i = 0; i < batch->n; i++) {
        make_item(c->next, text[i], key[i], &event, &items[i]);
        say(c, c->next++, 0);
    }
    c->in_flight++;
    c->rig->broker->driver->publish(c->rig->broker, REALM, items, batch->n, on_acknowledged, batch);
    sse_publish_t brief = {.event = fleeting.name,
                           .data = SSE_STR("x"),
                           .channels = &fleeting,
                           .n_channels = 1,
                           .replace = SSE_STR("r"),
                           .ttl = 1};
    if (random() % 3 == 0)
        brief.replace = SSE_STR_NONE;
    c->rig->broker->driver->publish(c->rig->broker, REALM, &brief, 1, on_fleeting, NULL);
}

static void child_run(int fd, uint64_t first, unsigned seed)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    srandom(seed);
    child_t c = {.pipe = fd, .next = first};
    c.rig = rig_start();
    for (;;) {
        while (c.in_flight < IN_FLIGHT)
            child_publish(&c);
        rig_run_ms(c.rig, 0);
        uv_run(&c.rig->loop, UV_RUN_ONCE);
        for (size_t i = 0; i < c.rig->n_messages; i++)
            sse_message_unref(c.rig->messages[i]);
        c.rig->n_messages = 0;
    }
}

/* ---- the parent ---- */

static void hear(int fd, int timeout_ms)
{
    report_t reports[256];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t end = uv_hrtime() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        uint64_t now = uv_hrtime();
        if (timeout_ms >= 0 && now >= end)
            return;
        if (poll(&p, 1, timeout_ms < 0 ? -1 : (int)((end - now) / 1000000) + 1) <= 0)
            continue;
        ssize_t n = read(fd, reports, sizeof(reports));
        if (n <= 0)
            return;
        assert_int_equal((size_t)n % sizeof(report_t), 0);
        for (size_t i = 0; i < (size_t)n / sizeof(report_t); i++) {
            assert_true(reports[i].number < NUMBERS_MAX);
            if (reports[i].number + 1 > sent_upto)
                sent_upto = reports[i].number + 1;
            if (reports[i].seq) {
                assert_int_equal(acked[reports[i].number], 0);
                acked[reports[i].number] = reports[i].seq;
            }
        }
    }
}

static void kill_one(unsigned round)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    unsigned seed = (unsigned)random();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        child_run(fds[1], sent_upto, seed);
    }
    close(fds[1]);
    /* Some die while they open the store, some in the midst of work. */
    int ms = round % 5 == 0 ? (int)(random() % 8) : (int)(random() % 150);
    hear(fds[0], ms);
    kill(pid, SIGKILL);
    int how;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    if (!WIFSIGNALED(how))
        fail_msg("the child ended by itself: %d", WEXITSTATUS(how));
    hear(fds[0], -1);
    close(fds[0]);
}

/* Goes through everything in the store. `seen` gets the sequence number of each number found. */
static void look(rig_t *r, uint64_t *seen)
{
    uint64_t after = 0;
    memset(seen, 0, sent_upto * sizeof(*seen));
    do {
        sse_range_t range = {EVENT("e"), after};
        assert_int_equal(rig_history(r, REALM, &range, 1, 10000, 64 << 20), APR_SUCCESS);
        assert_int_equal(r->n_gaps, 0);
        for (size_t i = 0; i < r->n_history; i++) {
            uint64_t number = number_of(r->history[i]);
            after = r->history[i]->pos.seq;
            assert_true(number < sent_upto);
            if (seen[number])
                fail_msg("%llu is there twice", (unsigned long long)number);
            seen[number] = after;
        }
    } while (r->more);
    for (uint64_t n = 0; n < sent_upto; n++) {
        if (acked[n] && seen[n] != acked[n])
            fail_msg("%llu was acknowledged as %llu and is %llu", (unsigned long long)n,
                     (unsigned long long)acked[n], (unsigned long long)seen[n]);
    }
}

/* Repeats what was under way with its key: afterwards each is there once. */
static void repeat_unknown(rig_t *r, const uint64_t *seen)
{
    static const sse_channel_t event = {SSE_CHANNEL_EVENT, {"e", 1}};
    for (uint64_t n = 0; n < sent_upto; n++) {
        char text[24], key[32];
        sse_publish_t item;
        if (acked[n])
            continue;
        make_item(n, text, key, &event, &item);
        assert_int_equal(rig_publish(r, REALM, &item, 1), APR_SUCCESS);
        assert_int_equal(r->published[0].repeated, seen[n] != 0);
        if (seen[n])
            assert_int_equal(r->published[0].pos.seq, seen[n]);
        acked[n] = r->published[0].pos.seq;
        resent++;
        repeated += seen[n] != 0;
    }
}

static void nothing_acknowledged_is_lost_or_doubled(void **state)
{
    const char *rounds = getenv("SSE_KILL_ROUNDS"), *seed = getenv("SSE_TEST_SEED");
    unsigned n = rounds ? (unsigned)strtoul(rounds, NULL, 10) : 30;
    unsigned s = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)getpid();
    print_message("seed %u, %u rounds\n", s, n);
    srandom(s);
    acked = sse_calloc(NUMBERS_MAX, sizeof(*acked));
    uint64_t *seen = sse_calloc(NUMBERS_MAX, sizeof(*seen));
    rig_history_count = NUMBERS_MAX;
    for (unsigned round = 0; round < n; round++) {
        kill_one(round);
        rig_t *r = rig_start();
        assert_int_equal(rig_connect(r, REALM, "", NULL, 0), APR_SUCCESS);
        assert_true(r->pos.seq >= last_seq);
        if (known_epoch)
            assert_int_equal(r->pos.epoch, known_epoch);
        known_epoch = r->pos.epoch;
        last_seq = r->pos.seq;
        look(r, seen);
        repeat_unknown(r, seen);
        /* A number given out now is above all that were ever seen. */
        uint64_t seq = rig_send(r, REALM, EVENT("g"), "1");
        assert_true(seq > last_seq);
        for (uint64_t i = 0; i < sent_upto; i++)
            assert_true(acked[i] < seq);
        last_seq = seq;
        rig_stop(r);
    }
    print_message("%llu messages; of %lu under way at a kill %lu were there already\n",
                  (unsigned long long)sent_upto, resent, repeated);
    assert_true(sent_upto > 0);
    free(acked);
    free(seen);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

int main(void)
{
    char dir[4096];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/sse-kill-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 99;
    }
    world = (world_t){.url = "local", .state_dir = dir};
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_acknowledged_is_lost_or_doubled)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed ? 1 : 0;
}
