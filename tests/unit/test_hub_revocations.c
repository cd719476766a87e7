/* SPDX-License-Identifier: Apache-2.0 */
/* Revocations: older look-ups do not count, newer ones do, and nothing is remembered for ever. */
#include "cmocka_all.h"
#include "hub/revocations.h"
#include <stdio.h>

static void test_stale(void **state)
{
    sse_revocations_t r = {.memory = 60 * 1000000};
    uint64_t before = sse_revocations_clock();
    sse_revocations_add(&r, 'u', SSE_STR("a"), SSE_STR("1"));
    assert_true(sse_revocations_stale(&r, 'u', SSE_STR("a"), SSE_STR("1"), before));
    assert_false(
        sse_revocations_stale(&r, 'u', SSE_STR("a"), SSE_STR("1"), sse_revocations_clock() + 1));
    assert_false(sse_revocations_stale(&r, 'u', SSE_STR("b"), SSE_STR("1"), before));
    assert_false(sse_revocations_stale(&r, 's', SSE_STR("a"), SSE_STR("1"), before));
    assert_false(sse_revocations_stale(&r, 'u', SSE_STR("a"), SSE_STR("1"),
                                       0)); /* from no store: nothing to renew */
    sse_revocations_expire(&r);
    assert_true(sse_revocations_stale(&r, 'u', SSE_STR("a"), SSE_STR("1"), before));
    sse_revocations_clear(&r);
    assert_null(r.all);
}

static void test_expire(void **state)
{
    sse_revocations_t r = {.memory = 0};
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i);
        sse_revocations_add(&r, 'u', SSE_STR("a"), sse_str(name));
    }
    while (r.all) /* the clock moves on */
        sse_revocations_expire(&r);
    assert_null(r.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
