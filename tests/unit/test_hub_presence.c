/* SPDX-License-Identifier: Apache-2.0 */
/* Presence: who is online, and pages in order. */
#include "cmocka_all.h"
#include "hub/presence.h"
#include <stdio.h>
#include <stdlib.h>

static sse_str_t user(int i)
{
    static char text[8][16];
    static int next;
    char *out = text[next++ % 8];
    snprintf(out, sizeof text[0], "%d", i);
    return sse_str(out);
}

static void test_changes(void **state)
{
    sse_presence_t p = {0};
    assert_true(sse_presence_user(&p, SSE_STR("r"), user(1), 1, true));
    assert_false(sse_presence_user(&p, SSE_STR("r"), user(1), 2, true));
    assert_int_equal(sse_presence_find(&p, SSE_STR("r"), user(1))->streams, 2);
    assert_null(sse_presence_find(&p, SSE_STR("other"), user(1)));
    assert_false(sse_presence_user(&p, SSE_STR("r"), user(1), 0, true)); /* its grace */
    assert_true(sse_presence_user(&p, SSE_STR("r"), user(1), 0, false));
    assert_false(sse_presence_user(&p, SSE_STR("r"), user(1), 0, false));
    assert_null(p.realms);
    sse_presence_stream(&p, SSE_STR("r"), 1);
    assert_int_equal(sse_presence_realm(&p, SSE_STR("r"))->streams, 1);
    sse_presence_stream(&p, SSE_STR("r"), -1);
    assert_null(p.realms);
}

static void test_polls(void **state)
{
    sse_presence_t p = {0};
    assert_true(sse_presence_poll(&p, SSE_STR("r"), user(1), 1));
    assert_int_equal(sse_presence_find(&p, SSE_STR("r"), user(1))->streams, 0);
    assert_false(sse_presence_poll(&p, SSE_STR("r"), user(1), 1));
    assert_false(sse_presence_poll(&p, SSE_STR("r"), user(1), -1));
    /* A stream comes and goes between two polls. */
    assert_false(sse_presence_user(&p, SSE_STR("r"), user(1), 1, true));
    assert_false(sse_presence_user(&p, SSE_STR("r"), user(1), 0, false));
    assert_true(sse_presence_poll(&p, SSE_STR("r"), user(1), -1));
    assert_null(p.realms);
    /* And a poll while a stream is open. */
    assert_true(sse_presence_user(&p, SSE_STR("r"), user(1), 1, true));
    assert_false(sse_presence_poll(&p, SSE_STR("r"), user(1), 1));
    assert_false(sse_presence_poll(&p, SSE_STR("r"), user(1), -1));
    assert_true(sse_presence_user(&p, SSE_STR("r"), user(1), 0, false));
    assert_false(sse_presence_poll(&p, SSE_STR("r"), user(1), -1));
    assert_null(p.realms);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void test_pages(void **state)
{
    enum { N = 1000 };
    static char names[N][8];
    char *sorted[N];
    sse_presence_t p = {0};
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "%d", i * 7919 % 100000);
        sorted[i] = names[i];
        sse_presence_user(&p, SSE_STR("r"), sse_str(names[i]), 1, true);
    }
    qsort(sorted, N, sizeof *sorted, by_text);
    size_t seen = 0;
    sse_str_t after = SSE_STR_NONE;
    bool more = true;
    while (more) {
        const sse_present_t **page;
        size_t n;
        sse_presence_page(&p, SSE_STR("r"), NULL, 0, after, 37, &page, &n, &more);
        assert_true(n == 37 || !more);
        for (size_t i = 0; i < n; i++)
            assert_string_equal(page[i]->user, sorted[seen++]);
        after = (sse_str_t){page[n - 1]->user, page[n - 1]->link.n};
        free(page);
    }
    assert_int_equal(seen, N);

    sse_str_t only[] = {SSE_STR("nobody"), sse_str(names[3]), sse_str(names[1])};
    const sse_present_t **page;
    size_t n;
    sse_presence_page(&p, SSE_STR("r"), only, 3, SSE_STR_NONE, 10, &page, &n, &more);
    assert_int_equal(n, 2);
    assert_false(more);
    free(page);
    sse_presence_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_polls),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
