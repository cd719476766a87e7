/* SPDX-License-Identifier: Apache-2.0 */
/* What the embedded driver makes of a history that the reader thread brings back while publishing
 * goes on: every way in which what was read and what memory holds can lie to each other. No thread
 * runs here. */
#include "broker/local_impl.h"
#include "cmocka_all.h"

#include <stdlib.h>

static const sse_channel_t event = {SSE_CHANNEL_EVENT, {"e", 1}};
static sse_local_t l;

/* ---- the answer ---- */

static unsigned answers;
static apr_status_t answered;
static uint64_t got[64];
static size_t n_got;
static bool more;
static sse_pos_t pos;
static size_t n_gaps;
static uint64_t gap_end;

static void on_history(void *baton, apr_status_t status, const sse_history_t *h)
{
    answers++;
    answered = status;
    if (!h)
        return;
    n_got = h->n_messages;
    for (size_t i = 0; i < n_got; i++)
        got[i] = h->messages[i]->pos.seq;
    more = h->more;
    pos = h->pos;
    n_gaps = h->n_gaps;
    gap_end = h->gap_end;
}

static void assert_got(uint64_t first, uint64_t last, bool expect_more)
{
    assert_int_equal(answers, 1);
    assert_int_equal(answered, APR_SUCCESS);
    assert_int_equal(n_got, last - first + 1);
    for (size_t i = 0; i < n_got; i++)
        assert_int_equal(got[i], first + i);
    assert_int_equal(more, expect_more);
    assert_int_equal(pos.epoch, l.pos.epoch);
    assert_int_equal(pos.seq, l.pos.seq);
}

/* ---- the scene ---- */

static sse_message_t *make_message(uint64_t seq)
{
    return sse_message_create((sse_pos_t){9, seq}, SSE_STR("r"), SSE_STR("e"), SSE_STR("1"), false,
                              sse_local_now_ms(), 0, &event, 1);
}

/* Memory holds floor + 1 to last; all of it has been given to the upcall. */
static void set_scene(uint64_t floor, uint64_t last)
{
    memset(&l, 0, sizeof(l));
    sse_jobq_init(&l.to_reader);
    l.ready_tail = &l.ready;
    sse_window_init(&l.window, 1000, 3600);
    sse_window_restart(&l.window, floor);
    for (uint64_t seq = floor + 1; seq <= last; seq++) {
        sse_message_t *m = make_message(seq);
        sse_window_add(&l.window, m);
        sse_message_unref(m);
    }
    l.pos = (sse_pos_t){9, last};
    l.reads = 1;
    answers = 0;
    n_got = 0;
}

static void clear_scene(void)
{
    assert_int_equal(l.reads, 0);
    sse_window_clear(&l.window);
    sse_jobq_clear(&l.to_reader);
}

/* What the reader brings: messages first to last (none if first is above), read when the store was
 * at `seen`. */
static sse_job_t *make_read(uint64_t after, uint64_t first, uint64_t last, uint64_t seen,
                            size_t max)
{
    sse_job_t *job = sse_job_create(SSE_JOB_HISTORY);
    job->realm = SSE_STR("r");
    job->cb.history = on_history;
    job->ranges = sse_arena_alloc(&job->arena, sizeof(*job->ranges));
    job->ranges[0] = (sse_range_t){event, after};
    job->n_ranges = 1;
    job->max_messages = max;
    job->max_bytes = 1 << 20;
    job->gaps = sse_arena_alloc(&job->arena, sizeof(*job->gaps));
    job->messages = sse_arena_alloc(&job->arena, max * sizeof(sse_message_t *));
    for (uint64_t seq = first; seq <= last; seq++)
        job->messages[job->n_messages++] = make_message(seq);
    job->pos = (sse_pos_t){9, seen};
    return job;
}

static void what_is_not_yet_told_comes_by_the_upcall(void **state)
{
    set_scene(5, 10);
    sse_local_history_back(&l, make_read(2, 3, 13, 13, 50));
    assert_got(3, 10, false);
    clear_scene();
    /* Also where the limit had cut: what is left all comes by the upcall. */
    set_scene(5, 10);
    sse_job_t *job = make_read(2, 3, 12, 20, 10);
    job->more = true;
    sse_local_history_back(&l, job);
    assert_got(3, 10, false);
    clear_scene();
}

static void what_was_told_meanwhile_comes_from_memory(void **state)
{
    set_scene(5, 10);
    sse_local_history_back(&l, make_read(2, 3, 7, 7, 50));
    assert_got(3, 10, false);
    clear_scene();
    /* Up to the limit. */
    set_scene(5, 10);
    sse_local_history_back(&l, make_read(2, 3, 7, 7, 6));
    assert_got(3, 8, true);
    clear_scene();
    set_scene(5, 10);
    sse_local_history_back(&l, make_read(2, 3, 7, 7, 5));
    assert_got(3, 7, true);
    clear_scene();
}

static void a_cut_portion_is_given_as_it_is(void **state)
{
    set_scene(20, 30);
    sse_job_t *job = make_read(2, 3, 7, 15, 5);
    job->more = true;
    sse_local_history_back(&l, job);
    assert_got(3, 7, true);
    clear_scene();
}

static void memory_that_moved_on_leaves_something_to_ask_for(void **state)
{
    set_scene(20, 30);
    sse_local_history_back(&l, make_read(2, 3, 7, 7, 50));
    assert_got(3, 7, true);
    clear_scene();
}

static void nothing_read_and_memory_moved_on_is_read_again(void **state)
{
    set_scene(20, 30);
    sse_local_history_back(&l, make_read(2, 1, 0, 7, 50));
    assert_int_equal(answers, 0);
    assert_int_equal(l.reads, 1);
    sse_job_t *job = sse_jobq_take(&l.to_reader);
    assert_non_null(job);
    assert_int_equal(job->ranges[0].after, 7);
    l.reads = 0;
    sse_job_free(job);
    clear_scene();
}

/* The reader ends with what it had: nothing more is sent to it. */
static void what_comes_back_while_stopping_ends(void **state)
{
    set_scene(20, 30);
    l.stopping = true;
    sse_jobq_close(&l.to_reader);
    sse_local_history_back(&l, make_read(2, 1, 0, 7, 50));
    assert_int_equal(answers, 1);
    assert_int_equal(answered, APR_EOF);
    assert_true(sse_jobq_is_empty(&l.to_reader));
    clear_scene();
}

static void gaps_of_both_are_told(void **state)
{
    set_scene(5, 10);
    sse_window_forget(&l.window, SSE_STR("r"), event, 8);
    sse_job_t *job = make_read(2, 5, 5, 6, 50);
    job->gaps[0] = true;
    job->gap_end = 4;
    sse_local_history_back(&l, job);
    assert_int_equal(n_got, 3);
    assert_int_equal(got[1], 9);
    assert_int_equal(n_gaps, 1);
    assert_int_equal(gap_end, 8);
    clear_scene();
}

static void another_epoch_or_a_failure_is_no_answer(void **state)
{
    set_scene(5, 10);
    sse_job_t *job = make_read(2, 3, 7, 7, 50);
    job->pos.epoch = 8;
    sse_local_history_back(&l, job);
    assert_int_equal(answers, 1);
    assert_int_equal(answered, APR_EAGAIN);
    clear_scene();
    set_scene(5, 10);
    job = make_read(2, 1, 0, 7, 50);
    job->status = APR_EOF;
    sse_local_history_back(&l, job);
    assert_int_equal(answers, 1);
    assert_int_equal(answered, APR_EOF);
    clear_scene();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_yet_told_comes_by_the_upcall),
        cmocka_unit_test(what_was_told_meanwhile_comes_from_memory),
        cmocka_unit_test(a_cut_portion_is_given_as_it_is),
        cmocka_unit_test(memory_that_moved_on_leaves_something_to_ask_for),
        cmocka_unit_test(nothing_read_and_memory_moved_on_is_read_again),
        cmocka_unit_test(what_comes_back_while_stopping_ends),
        cmocka_unit_test(gaps_of_both_are_told),
        cmocka_unit_test(another_epoch_or_a_failure_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
