/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations on the embedded broker's store and memory, held against a simple model: what is
 * kept comes, what is gone is said, nothing else comes or is said. Time is simulated. SSE_TEST_SEED
 * and SSE_TEST_OPS give another run. */
#include "broker/disk.h"
#include "broker/local_window.h"
#include "cmocka_all.h"
#include "core/buf.h"

#include <ftw.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COUNT 12
#define SECONDS 60
#define CHANNELS 9
#define MESSAGES_MAX 200000

static const char realm_name[] = "fuzz";
static const struct {
    sse_channel_kind_t kind;
    const char *name;
} channel_names[CHANNELS] = {
    {SSE_CHANNEL_EVENT, "e0"}, {SSE_CHANNEL_EVENT, "e1"}, {SSE_CHANNEL_EVENT, "e2"},
    {SSE_CHANNEL_USER, "u0"},  {SSE_CHANNEL_USER, "u1"},  {SSE_CHANNEL_USER, "u2"},
    {SSE_CHANNEL_GROUP, "g0"}, {SSE_CHANNEL_GROUP, "g1"}, {SSE_CHANNEL_BROADCAST, ""}};

/* ---- the model ---- */

typedef struct model_message_t {
    bool there; /* a number that was given out */
    unsigned targets;
    unsigned gone; /* channels that were over their count, or were told to forget it */
    bool superseded;
    int64_t published, expires;
    int replace; /* 0: none */
} model_message_t;

static model_message_t *model; /* by sequence number */
static uint64_t last_seq;
static int64_t now_ms;

static bool aged(const model_message_t *m)
{
    return m->published <= now_ms - SECONDS * 1000 || (m->expires && m->expires <= now_ms);
}

static bool dead(const model_message_t *m, unsigned channel)
{
    return (m->gone & 1u << channel) || aged(m);
}

/* How many of the channel's messages from `seq` on certainly count against its limit. */
static unsigned model_rank(uint64_t seq, unsigned channel)
{
    unsigned n = 0;
    for (uint64_t s = seq; s <= last_seq; s++)
        n += model[s].there && (model[s].targets & 1u << channel) && !model[s].superseded &&
             !aged(&model[s]);
    return n;
}

static void model_publish(uint64_t seq, unsigned targets, int replace, int64_t ttl_ms)
{
    if (replace)
        for (uint64_t s = seq - 1; s > 0; s--)
            if (model[s].replace == replace && model[s].targets == targets) {
                model[s].superseded = true;
                break;
            }
    model[seq] = (model_message_t){.there = true,
                                   .targets = targets,
                                   .published = now_ms,
                                   .expires = ttl_ms ? now_ms + ttl_ms : 0,
                                   .replace = replace};
    last_seq = seq;
    /* Whatever is beyond the newest COUNT is gone, at the latest when it is looked for. */
    for (unsigned c = 0; c < CHANNELS; c++) {
        unsigned n = 0;
        for (uint64_t s = seq; (targets & 1u << c) && s > 0; s--) {
            if (!model[s].there || !(model[s].targets & 1u << c) || model[s].superseded)
                continue;
            if (++n > COUNT) {
                if (model[s].gone & 1u << c)
                    break;
                model[s].gone |= 1u << c;
            }
        }
    }
}

/* ---- under test ---- */

static char dir[4096];
static sse_disk_conf_t conf;
static sse_disk_t *disk;
static sse_disk_reader_t *reader;
static sse_window_t window;

static void open_all(void)
{
    char problem[256] = "", aside[64];
    if (sse_disk_open(&conf, &disk, aside, problem) != APR_SUCCESS)
        fail_msg("%s", problem);
    assert_string_equal(aside, "");
    assert_int_equal(sse_disk_reader_open(&conf, &reader), APR_SUCCESS);
    sse_window_init(&window, COUNT, SECONDS);
    sse_window_restart(&window, sse_disk_pos(disk).seq);
}

static void close_all(void)
{
    sse_disk_reader_close(reader);
    sse_disk_close(disk);
    sse_window_clear(&window);
}

static sse_channel_t channel_of(unsigned c)
{
    return (sse_channel_t){channel_names[c].kind, sse_str(channel_names[c].name)};
}

static unsigned below(unsigned n)
{
    return (unsigned)(random() % n);
}

static void publish(void)
{
    unsigned n = 1 + (below(4) == 0 ? below(30) : 0);
    sse_job_t *job = sse_job_create(SSE_JOB_PUBLISH);
    job->realm = sse_str(realm_name);
    job->items = sse_arena_alloc(&job->arena, n * sizeof(*job->items));
    job->n_items = n;
    unsigned targets[32];
    int replace[32];
    for (unsigned i = 0; i < n; i++) {
        sse_channel_t *channels = sse_arena_alloc(&job->arena, CHANNELS * sizeof(*channels));
        sse_publish_t *item = &job->items[i];
        targets[i] = 1u << below(CHANNELS);
        while (below(3) == 0)
            targets[i] |= 1u << below(CHANNELS);
        for (unsigned c = 0; c < CHANNELS; c++)
            if (targets[i] & 1u << c)
                channels[item->n_channels++] = channel_of(c);
        item->channels = channels;
        item->event = SSE_STR("event");
        char data[64];
        snprintf(data, sizeof(data), below(2) ? "%u" : "%u\n", targets[i]);
        item->data = sse_arena_str(&job->arena, sse_str(data));
        item->ttl = below(6) == 0 ? 1 + below(20) : 0;
        replace[i] = below(5) == 0 ? (int)(1 + below(3)) : 0;
        if (replace[i]) {
            snprintf(data, sizeof(data), "r%d", replace[i]);
            item->replace = sse_arena_str(&job->arena, sse_str(data));
        }
    }
    assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
    assert_int_equal(sse_disk_publish(disk, job, now_ms), APR_SUCCESS);
    if (below(20) == 0) { /* the disk failed: as if it had never been */
        sse_disk_rollback(disk);
        assert_int_equal(sse_disk_pos(disk).seq, last_seq);
        sse_job_free(job);
        return;
    }
    assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(job->published[i].pos.seq, last_seq + 1);
        model_publish(job->published[i].pos.seq, targets[i], replace[i],
                      (int64_t)job->items[i].ttl * 1000);
        if (job->superseded[i])
            sse_window_supersede(&window, job->superseded[i]);
        sse_window_add(&window, job->messages[i]);
    }
    sse_job_free(job);
}

static void forget(void)
{
    unsigned c = below(CHANNELS);
    sse_job_t *job = sse_job_create(SSE_JOB_FORGET);
    job->realm = sse_str(realm_name);
    job->owner = channel_of(c);
    assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
    assert_int_equal(sse_disk_forget(disk, job, now_ms), APR_SUCCESS);
    assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
    if (job->forget)
        sse_window_forget(&window, job->realm, job->owner, job->forget);
    sse_job_free(job);
    for (uint64_t s = 1; s <= last_seq; s++)
        if (model[s].targets & 1u << c)
            model[s].gone |= 1u << c;
}

static void trim(void)
{
    bool more;
    assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
    assert_int_equal(sse_disk_trim(disk, 1 + below(40), now_ms, &more), APR_SUCCESS);
    assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
}

/* ---- holding against each other ---- */

static unsigned channel_index(sse_channel_t channel)
{
    for (unsigned c = 0; c < CHANNELS; c++)
        if (channel_names[c].kind == channel.kind &&
            sse_str_eq(sse_str(channel_names[c].name), channel.name))
            return c;
    fail_msg("unknown channel");
    return 0;
}

/* Is a gap of this channel after `after` justified? A user or group that was forgotten leaves no
 * trace of its gaps. */
static void check_gap(const sse_job_t *job, size_t range, uint64_t upto, const bool *returned)
{
    unsigned c = channel_index(job->ranges[range].channel);
    bool lost = false, may = false;
    uint64_t worst = 0;
    for (uint64_t s = job->ranges[range].after + 1; s <= last_seq; s++) {
        const model_message_t *m = &model[s];
        if (!m->there || !(m->targets & 1u << c))
            continue;
        may |= dead(m, c);
        if (!m->superseded && !returned[s] && s <= upto) {
            lost = true;
            worst = s;
        }
    }
    if (job->gaps[range] && !may)
        fail_msg("channel %u after %" PRIu64 ": a gap that is none", c, job->ranges[range].after);
    bool traceless =
        channel_names[c].kind == SSE_CHANNEL_USER || channel_names[c].kind == SSE_CHANNEL_GROUP;
    if (lost && !job->gaps[range] && !traceless)
        fail_msg("channel %u after %" PRIu64 ": %" PRIu64 " is gone in silence", c,
                 job->ranges[range].after, worst);
    if (job->gaps[range] && lost && job->gap_end < worst)
        fail_msg("the gap ends at %" PRIu64 ", but %" PRIu64 " is gone", job->gap_end, worst);
}

static void check_messages(const sse_job_t *job, uint64_t upto, const bool *returned)
{
    for (uint64_t s = 1; s <= upto; s++) {
        const model_message_t *m = &model[s];
        bool due = false, allowed = false;
        for (size_t i = 0; i < job->n_ranges && m->there; i++) {
            unsigned c = channel_index(job->ranges[i].channel);
            if (s <= job->ranges[i].after || !(m->targets & 1u << c) || m->superseded)
                continue;
            /* One that was over the count may come back into it when a later one is superseded, or
             * stay away. */
            bool counted_out = model_rank(s, c) > COUNT;
            due |= !dead(m, c);
            allowed |= !counted_out && !aged(m);
        }
        if (due && !returned[s])
            fail_msg("%" PRIu64 " is missing", s);
        if (returned[s] && !allowed)
            fail_msg("%" PRIu64 " should not come", s);
    }
}

static void check(const sse_job_t *job)
{
    bool *returned = sse_calloc(last_seq + 2, sizeof(*returned));
    for (size_t i = 0; i < job->n_messages; i++) {
        const sse_message_t *m = job->messages[i];
        uint64_t seq = m->pos.seq;
        assert_true(i == 0 || seq > job->messages[i - 1]->pos.seq);
        assert_true(seq <= last_seq);
        char data[64];
        snprintf(data, sizeof(data), "%u", model[seq].targets);
        assert_true(m->data.n >= strlen(data));
        assert_memory_equal(m->data.p, data, strlen(data));
        /* Who was forgotten is struck out. */
        assert_in_range(m->n_targets, 1, (size_t)__builtin_popcount(model[seq].targets));
        for (size_t t = 0; t < m->n_targets; t++) {
            sse_channel_t to = {m->targets[t].kind, {m->targets[t].name, m->targets[t].n}};
            assert_true(model[seq].targets & 1u << channel_index(to));
        }
        returned[seq] = true;
    }
    uint64_t upto = job->more ? job->messages[job->n_messages - 1]->pos.seq : last_seq;
    check_messages(job, upto, returned);
    for (size_t i = 0; i < job->n_ranges; i++)
        check_gap(job, i, upto, returned);
    free(returned);
}

static sse_job_t *make_query(uint64_t lowest)
{
    sse_job_t *job = sse_job_create(SSE_JOB_HISTORY);
    job->realm = sse_str(realm_name);
    job->ranges = sse_arena_alloc(&job->arena, CHANNELS * sizeof(*job->ranges));
    for (unsigned c = 0; c < CHANNELS; c++)
        if (below(3))
            job->ranges[job->n_ranges++] = (sse_range_t){
                channel_of(c),
                lowest + (last_seq > lowest ? below((unsigned)(last_seq - lowest) + 1) : 0)};
    job->max_messages = below(2) ? 1000 : 1 + below(10);
    job->max_bytes = below(2) ? 1 << 20 : 1 + below(500);
    return job;
}

static void query(void)
{
    uint64_t lowest = last_seq > 300 ? last_seq - 300 : 0;
    sse_job_t *job = make_query(lowest);
    assert_int_equal(sse_disk_reader_history(reader, job, now_ms), APR_SUCCESS);
    assert_int_equal(job->pos.seq, last_seq);
    check(job);
    sse_job_free(job);

    job = make_query(window.floor > lowest ? window.floor : lowest);
    job->gaps = sse_arena_alloc(&job->arena, CHANNELS * sizeof(*job->gaps));
    job->messages = sse_arena_alloc(&job->arena, job->max_messages * sizeof(sse_message_t *));
    sse_window_read(&window, job, window.floor, now_ms);
    check(job);
    sse_job_free(job);
}

/* Rows that nothing refers to any more would stay for ever. */
static void check_orphans(void)
{
    char path[4200];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    snprintf(path, sizeof(path), "%s/broker.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(
                         db,
                         "SELECT count(*) FROM message WHERE refs <> (SELECT count(*) FROM delivery"
                         " WHERE delivery.seq = message.seq)",
                         -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void random_operations_agree_with_the_model(void **state)
{
    const char *seed = getenv("SSE_TEST_SEED"), *ops = getenv("SSE_TEST_OPS");
    unsigned s = seed ? (unsigned)strtoul(seed, NULL, 10) : 20;
    unsigned long n = ops ? strtoul(ops, NULL, 10) : 4000;
    print_message("seed %u, %lu operations\n", s, n);
    srandom(s);
    conf = (sse_disk_conf_t){.dir = dir, .history_count = COUNT, .history_seconds = SECONDS};
    model = sse_calloc(MESSAGES_MAX, sizeof(*model));
    now_ms = 1700000000000;
    open_all();
    for (unsigned long i = 0; i < n && last_seq + 40 < MESSAGES_MAX; i++) {
        unsigned what = below(100);
        if (what < 45)
            publish();
        else if (what < 75)
            query();
        else if (what < 85)
            now_ms += below(4000);
        else if (what < 93)
            trim();
        else if (what < 96)
            sse_window_evict(&window, below(60000), now_ms);
        else if (what < 98)
            forget();
        else if (what < 99) {
            close_all();
            open_all();
            assert_int_equal(sse_disk_pos(disk).seq, last_seq);
        } else
            sse_disk_checkpoint(disk);
    }
    print_message("%" PRIu64 " messages\n", last_seq);
    check_orphans();
    /* What memory holds is bounded, and all of it goes. */
    sse_window_evict(&window, 0, now_ms);
    assert_int_equal(window.n, 0);
    assert_int_equal(window.bytes, 0);
    assert_null(window.first);
    close_all();
    free(model);
}

static void the_store_does_not_grow_without_end(void **state)
{
    bool more = true;
    open_all();
    now_ms += SECONDS * 1000 + 1;
    /* The first sweep after a start meets what an earlier life left half done. */
    while (more) {
        sse_job_t *job = sse_job_create(SSE_JOB_EXPIRED);
        assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
        assert_int_equal(sse_disk_expire(disk, job, now_ms, &more), APR_SUCCESS);
        assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
        sse_job_free(job);
    }
    for (more = true; more;) {
        assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
        assert_int_equal(sse_disk_trim(disk, 100, now_ms, &more), APR_SUCCESS);
        assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
    }
    assert_int_equal(sse_disk_rows(disk, "message"), 0);
    assert_int_equal(sse_disk_rows(disk, "delivery"), 0);
    assert_int_equal(sse_disk_rows(disk, "latest"), 0);
    close_all();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/sse-model-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree_with_the_model),
        cmocka_unit_test(the_store_does_not_grow_without_end),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
