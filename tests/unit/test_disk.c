/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker's store over time, which is simulated: ages, ttl, keys, sessions that run
 * out, a clock that is set back, channels that nobody uses any more. */
#include "broker/disk.h"
#include "cmocka_all.h"
#include "core/buf.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOUR 3600000ll
#define DAY (24 * HOUR)
#define REALM SSE_STR("default")
#define EVENT(n) ((sse_channel_t){SSE_CHANNEL_EVENT, SSE_STR(n)})
#define USER(n) ((sse_channel_t){SSE_CHANNEL_USER, SSE_STR(n)})

static char dir[4096];
static sse_disk_t *disk;
static sse_disk_reader_t *reader;
static int64_t now_ms;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int set_up(void **state)
{
    char problem[256], aside[64];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/sse-disk-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    now_ms = 1700000000000;
    sse_disk_conf_t conf = {.dir = dir, .history_count = 1000, .history_seconds = 3600};
    return sse_disk_open(&conf, &disk, aside, problem) || sse_disk_reader_open(&conf, &reader);
}

static int tear_down(void **state)
{
    sse_disk_reader_close(reader);
    sse_disk_close(disk);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

typedef apr_status_t (*act_fn)(sse_disk_t *disk, sse_job_t *job, int64_t now);

static apr_status_t act(act_fn fn, sse_job_t *job)
{
    assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
    apr_status_t status = fn(disk, job, now_ms);
    assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
    return status;
}

static sse_job_t *make_job(sse_job_kind_t kind, sse_channel_t owner)
{
    sse_job_t *job = sse_job_create(kind);
    job->realm = REALM;
    job->owner = owner;
    return job;
}

static apr_status_t publish(sse_channel_t channel, const char *data, const char *key, uint32_t ttl,
                            sse_published_t *out)
{
    sse_publish_t item = {.event = SSE_STR("event"),
                          .data = sse_str(data),
                          .channels = &channel,
                          .n_channels = 1,
                          .key = sse_str(key),
                          .ttl = ttl};
    sse_job_t *job = make_job(SSE_JOB_PUBLISH, channel);
    job->items = &item;
    job->n_items = 1;
    apr_status_t status = act(sse_disk_publish, job);
    if (status == APR_SUCCESS)
        *out = job->published[0];
    sse_job_free(job);
    return status;
}

static uint64_t send_one(sse_channel_t channel, uint32_t ttl)
{
    sse_published_t published;
    assert_int_equal(publish(channel, "1", NULL, ttl, &published), APR_SUCCESS);
    return published.pos.seq;
}

/* How many messages a channel has after `after`; *gap_end is 0 without a gap. */
static size_t read_channel(sse_channel_t channel, uint64_t after, uint64_t *gap_end)
{
    sse_range_t range = {channel, after};
    sse_job_t *job = make_job(SSE_JOB_HISTORY, channel);
    job->ranges = &range;
    job->n_ranges = 1;
    job->max_messages = 5000;
    job->max_bytes = 1 << 20;
    assert_int_equal(sse_disk_reader_history(reader, job, now_ms), APR_SUCCESS);
    size_t n = job->n_messages;
    *gap_end = job->gaps[0] ? job->gap_end : 0;
    sse_job_free(job);
    return n;
}

static void trim(void)
{
    for (bool more = true; more;) {
        assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
        assert_int_equal(sse_disk_trim(disk, 50, now_ms, &more), APR_SUCCESS);
        assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
    }
}

static void expire(sse_job_t *job)
{
    for (bool more = true; more;) {
        assert_int_equal(sse_disk_begin(disk), APR_SUCCESS);
        assert_int_equal(sse_disk_expire(disk, job, now_ms, &more), APR_SUCCESS);
        assert_int_equal(sse_disk_commit(disk), APR_SUCCESS);
    }
}

static void age_makes_a_gap_before_and_after_trimming(void **state)
{
    uint64_t gap, first = send_one(EVENT("e"), 0), second = send_one(EVENT("e"), 0);
    now_ms += HOUR - 1;
    uint64_t third = send_one(EVENT("e"), 0);
    assert_int_equal(read_channel(EVENT("e"), first, &gap), 2);
    assert_int_equal(gap, 0);
    now_ms += 1;
    assert_int_equal(read_channel(EVENT("e"), first, &gap), 1);
    assert_int_equal(gap, second);
    trim();
    assert_int_equal(sse_disk_rows(disk, "message"), 1);
    assert_int_equal(read_channel(EVENT("e"), first, &gap), 1);
    assert_int_equal(gap, second);
    assert_int_equal(read_channel(EVENT("e"), second, &gap), 1);
    assert_int_equal(gap, 0);
    now_ms += HOUR;
    trim();
    assert_int_equal(sse_disk_rows(disk, "delivery"), 0);
    /* The number goes on from where it was, though nothing is left. */
    assert_int_equal(send_one(EVENT("e"), 0), third + 1);
}

static void a_ttl_is_trimmed_though_it_stands_in_the_middle(void **state)
{
    uint64_t gap, first = send_one(EVENT("e"), 0), brief = send_one(EVENT("e"), 10);
    send_one(EVENT("e"), 0);
    now_ms += 10000;
    assert_int_equal(read_channel(EVENT("e"), first, &gap), 1);
    assert_int_equal(gap, brief);
    trim();
    assert_int_equal(sse_disk_rows(disk, "message"), 2);
    assert_int_equal(read_channel(EVENT("e"), first, &gap), 1);
    assert_int_equal(gap, brief);
    assert_int_equal(read_channel(EVENT("e"), brief, &gap), 1);
    assert_int_equal(gap, 0);
}

static void a_clock_set_back_loses_nothing(void **state)
{
    uint64_t gap, first = send_one(EVENT("e"), 0);
    now_ms -= HOUR;
    uint64_t second = send_one(EVENT("e"), 0);
    assert_true(second > first);
    trim();
    assert_int_equal(read_channel(EVENT("e"), 0, &gap), 2);
    assert_int_equal(gap, 0);
    /* The older one keeps the younger in front of it: what is lost is lost from the front only. */
    now_ms += HOUR + 1;
    trim();
    assert_int_equal(read_channel(EVENT("e"), 0, &gap), 2);
    assert_int_equal(gap, 0);
    now_ms += HOUR;
    trim();
    assert_int_equal(read_channel(EVENT("e"), 0, &gap), 0);
    assert_int_equal(gap, second);
}

static void keys_hold_for_the_age_of_history(void **state)
{
    sse_published_t first, again;
    assert_int_equal(publish(EVENT("e"), "1", "k", 0, &first), APR_SUCCESS);
    now_ms += HOUR - 1;
    assert_int_equal(publish(EVENT("e"), "1", "k", 0, &again), APR_SUCCESS);
    assert_true(again.repeated);
    assert_int_equal(publish(EVENT("e"), "2", "k", 0, &again), APR_EEXIST);
    now_ms += 1;
    assert_int_equal(publish(EVENT("e"), "2", "k", 0, &again), APR_SUCCESS);
    assert_false(again.repeated);
    assert_int_equal(sse_disk_rows(disk, "idem"), 1);
    now_ms += HOUR + 1;
    trim();
    assert_int_equal(sse_disk_rows(disk, "idem"), 0);
}

static void many_keys_are_purged_as_fast_as_they_come(void **state)
{
    sse_published_t published;
    char key[16];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(publish(EVENT("e"), "1", key, 0, &published), APR_SUCCESS);
    }
    now_ms += HOUR + 1;
    trim();
    assert_int_equal(sse_disk_rows(disk, "idem"), 0);
    assert_int_equal(sse_disk_rows(disk, "message"), 0);
}

static void subscribe(sse_channel_t owner, const char *event, char session, apr_status_t expected)
{
    char bytes[SSE_SESSION_HASH_LEN];
    memset(bytes, session, sizeof(bytes));
    sse_str_t name = sse_str(event);
    sse_job_t *job = make_job(SSE_JOB_SUBSCRIBE, owner);
    job->names = &name;
    job->n_names = 1;
    job->session = session ? (sse_str_t){bytes, sizeof(bytes)} : SSE_STR_NONE;
    assert_int_equal(act(sse_disk_subscribe, job), expected);
    sse_job_free(job);
}

static apr_status_t connect_user(sse_disk_t *d, sse_job_t *job, int64_t now)
{
    return sse_disk_connect(d, job, now, false);
}

static void expired_sessions_are_told(void **state)
{
    char bytes[SSE_SESSION_HASH_LEN];
    memset(bytes, 'a', sizeof(bytes));
    subscribe(USER("1"), "e", 'a', APR_SUCCESS);
    subscribe(USER("1"), "f", 0, APR_SUCCESS);
    subscribe(USER("2"), "e", 'b', APR_SUCCESS);
    sse_job_t *job = make_job(SSE_JOB_CONNECT, USER("1"));
    job->session = (sse_str_t){bytes, sizeof(bytes)};
    job->session_expires = (uint64_t)(now_ms / 1000) + 60;
    assert_int_equal(act(connect_user, job), APR_SUCCESS);
    assert_int_equal(job->record->n_subs, 2);
    sse_job_free(job);

    job = sse_job_create(SSE_JOB_EXPIRED);
    now_ms += 59000;
    expire(job);
    assert_int_equal(job->n_changes, 0);
    now_ms += 1000;
    expire(job);
    assert_int_equal(job->n_changes, 1);
    assert_string_equal(job->changes[0].record->name, "1");
    assert_int_equal(job->changes[0].record->n_subs, 1);
    assert_string_equal(job->changes[0].record->subs[0].event, "f");
    sse_job_free(job);

    /* A session of which nobody ever said when it ends goes after thirty days. */
    job = sse_job_create(SSE_JOB_EXPIRED);
    now_ms += 31 * DAY;
    expire(job);
    assert_int_equal(job->n_changes, 1);
    assert_string_equal(job->changes[0].record->name, "2");
    assert_int_equal(sse_disk_rows(disk, "sub"), 1);
    sse_job_free(job);
}

static void an_owner_has_a_limit_of_subscriptions(void **state)
{
    char event[16];
    for (int i = 0; i < SSE_OWNER_SUBS_MAX; i++) {
        snprintf(event, sizeof(event), "e%d", i);
        subscribe(USER("1"), event, 0, APR_SUCCESS);
    }
    subscribe(USER("1"), "one more", 0, APR_EINVAL);
    assert_int_equal(sse_disk_rows(disk, "sub"), SSE_OWNER_SUBS_MAX);
    subscribe(USER("2"), "one more", 0, APR_SUCCESS);
}

static void long_unused_channels_go_and_the_doubt_is_kept(void **state)
{
    uint64_t gap, old = send_one(EVENT("old"), 0);
    now_ms += 2 * HOUR;
    trim();
    assert_int_equal(sse_disk_rows(disk, "channel"), 1);
    now_ms += 31 * DAY;
    uint64_t young = send_one(EVENT("young"), 0);
    sse_job_t *job = sse_job_create(SSE_JOB_EXPIRED);
    expire(job);
    sse_job_free(job);
    assert_int_equal(sse_disk_rows(disk, "channel"), 1);
    /* Nothing is known of it any more: a position from then may have missed something, a younger
     * one has not. */
    assert_int_equal(read_channel(EVENT("old"), old - 1, &gap), 0);
    assert_int_equal(gap, old);
    assert_int_equal(read_channel(EVENT("old"), old, &gap), 0);
    assert_int_equal(gap, 0);
    assert_int_equal(read_channel(EVENT("young"), young - 1, &gap), 1);
    assert_int_equal(gap, 0);
}

static void a_forgotten_user_leaves_no_row(void **state)
{
    sse_channel_t both[] = {USER("secret"), USER("other")};
    sse_publish_t item = {
        .event = SSE_STR("e"), .data = SSE_STR("1"), .channels = both, .n_channels = 2};
    sse_job_t *job = make_job(SSE_JOB_PUBLISH, USER("secret"));
    job->items = &item;
    job->n_items = 1;
    assert_int_equal(act(sse_disk_publish, job), APR_SUCCESS);
    sse_job_free(job);
    send_one(USER("secret"), 0);
    subscribe(USER("secret"), "e", 0, APR_SUCCESS);
    job = make_job(SSE_JOB_FORGET, USER("secret"));
    assert_int_equal(act(sse_disk_forget, job), APR_SUCCESS);
    sse_job_free(job);
    trim();
    assert_int_equal(sse_disk_rows(disk, "sub"), 0);
    assert_int_equal(sse_disk_rows(disk, "channel"), 1);
    assert_int_equal(sse_disk_rows(disk, "message"), 1);
    sse_range_t range = {USER("other"), 0};
    job = make_job(SSE_JOB_HISTORY, USER("other"));
    job->ranges = &range;
    job->n_ranges = 1;
    job->max_messages = job->max_bytes = 100;
    assert_int_equal(sse_disk_reader_history(reader, job, now_ms), APR_SUCCESS);
    assert_int_equal(job->n_messages, 1);
    assert_int_equal(job->messages[0]->n_targets, 1);
    assert_int_equal(job->messages[0]->targets[0].n, 5);
    sse_job_free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(age_makes_a_gap_before_and_after_trimming, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_ttl_is_trimmed_though_it_stands_in_the_middle, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_clock_set_back_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_hold_for_the_age_of_history, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_keys_are_purged_as_fast_as_they_come, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(expired_sessions_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_owner_has_a_limit_of_subscriptions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_unused_channels_go_and_the_doubt_is_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_forgotten_user_leaves_no_row, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
