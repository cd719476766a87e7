/* SPDX-License-Identifier: Apache-2.0 */
/* Records in memory: what is kept, what is let go, and what is certainly not stored. */
#include "broker/local_records.h"
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#define REALM SSE_STR("a")

static void keep(sse_records_t *rs, sse_channel_kind_t kind, const char *name, uint64_t blocked)
{
    sse_record_t *record = sse_record_create(kind, REALM, sse_str(name), 0, 0);
    record->blocked_until = blocked;
    sse_records_keep(rs, record);
    sse_record_unref(record);
}

static const sse_record_t *user(sse_records_t *rs, const char *name)
{
    return sse_records_find(rs, SSE_CHANNEL_USER, REALM, sse_str(name));
}

static bool absent(sse_records_t *rs, const char *name)
{
    return sse_records_absent(rs, SSE_CHANNEL_USER, REALM, sse_str(name));
}

static void test_kept(void **state)
{
    sse_records_t rs = {0};
    assert_null(user(&rs, "1"));
    keep(&rs, SSE_CHANNEL_USER, "1", 5);
    assert_int_equal(user(&rs, "1")->blocked_until, 5);
    assert_null(sse_records_find(&rs, SSE_CHANNEL_GROUP, REALM, SSE_STR("1")));
    assert_null(sse_records_find(&rs, SSE_CHANNEL_USER, SSE_STR("b"), SSE_STR("1")));
    keep(&rs, SSE_CHANNEL_USER, "1", 6);
    assert_int_equal(user(&rs, "1")->blocked_until, 6);
    /* A change replaces what is kept, and keeps nothing that was not. */
    sse_record_t *changed = sse_record_create(SSE_CHANNEL_USER, REALM, SSE_STR("1"), 0, 0);
    sse_record_t *unknown = sse_record_create(SSE_CHANNEL_USER, REALM, SSE_STR("2"), 0, 0);
    sse_records_changed(&rs, changed);
    sse_records_changed(&rs, unknown);
    assert_ptr_equal(user(&rs, "1"), changed);
    assert_null(user(&rs, "2"));
    sse_record_unref(changed);
    sse_record_unref(unknown);
    sse_records_drop(&rs, SSE_CHANNEL_USER, REALM, SSE_STR("1"));
    assert_null(user(&rs, "1"));
    sse_records_clear(&rs);
}

static void test_absent(void **state)
{
    sse_records_t rs = {0};
    unsigned char *stored = calloc(1, SSE_RECORDS_KNOWN_BYTES);
    assert_non_null(stored);
    sse_records_mark_in(stored, SSE_CHANNEL_USER, REALM, SSE_STR("stored"));
    assert_false(absent(&rs, "1")); /* nobody knows yet */
    sse_records_mark(&rs, SSE_CHANNEL_USER, REALM, SSE_STR("early"));
    sse_records_known(&rs, stored);
    free(stored);
    assert_true(absent(&rs, "1"));
    assert_false(absent(&rs, "stored"));
    assert_false(absent(&rs, "early"));
    /* What was kept and is let go may have streams. */
    keep(&rs, SSE_CHANNEL_USER, "2", 0);
    sse_records_forget_all(&rs);
    assert_null(user(&rs, "2"));
    assert_false(absent(&rs, "2"));
    sse_records_clear(&rs);
}

static void test_bounded(void **state)
{
    sse_records_t rs = {0};
    unsigned char *stored = calloc(1, SSE_RECORDS_KNOWN_BYTES);
    char name[16];
    unsigned kept = 0;
    assert_non_null(stored);
    sse_records_known(&rs, stored);
    free(stored);
    keep(&rs, SSE_CHANNEL_USER, "asked for", 0);
    keep(&rs, SSE_CHANNEL_USER, "behind", 0);
    sse_records_behind(&rs, REALM, SSE_STR("behind"), 1);
    for (unsigned i = 0; i < 40000; i++) {
        snprintf(name, sizeof name, "%u", i);
        keep(&rs, SSE_CHANNEL_USER, name, 0);
        assert_non_null(user(&rs, "asked for"));
    }
    for (unsigned i = 0; i < 40000; i++) {
        snprintf(name, sizeof name, "%u", i);
        if (user(&rs, name))
            kept++;
        else
            assert_false(absent(&rs, name));
    }
    assert_in_range(kept, 10000, 20000);
    assert_true(sse_records_is_behind(&rs, REALM, SSE_STR("behind")));
    sse_records_behind(&rs, REALM, SSE_STR("behind"), -1);
    assert_false(sse_records_is_behind(&rs, REALM, SSE_STR("behind")));
    sse_records_clear(&rs);
}

static void test_who_comes_once(void **state)
{
    sse_records_t rs = {0};
    assert_false(sse_records_came_again(&rs, REALM, SSE_STR("1")));
    assert_true(sse_records_came_again(&rs, REALM, SSE_STR("1")));
    assert_false(sse_records_came_again(&rs, REALM, SSE_STR("2")));
    sse_records_tick(&rs);
    assert_false(sse_records_came_again(&rs, REALM, SSE_STR("1")));
    sse_records_clear(&rs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_who_comes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
