/* SPDX-License-Identifier: Apache-2.0 */
/* Percent escapes, and what is none. */
#include "cmocka_all.h"

#include "core/percent.h"

static void knows_digits(void **state)
{
    static const char all[] = "0123456789abcdef0123456789ABCDEF";

    for (int c = 0; c < 256; c++) {
        const char *at = c ? strchr(all, c) : NULL;

        assert_int_equal(sse_percent_digit((char)c), at ? (at - all) % 16 : -1);
    }
}

static void undoes_escapes(void **state)
{
    static const struct {
        sse_str_t in, out;
        bool plus;
    } cases[] = {
        {SSE_STR(""), SSE_STR(""), true},
        {SSE_STR("plain"), SSE_STR("plain"), true},
        {SSE_STR("a%20b+c"), SSE_STR("a b c"), true},
        {SSE_STR("a%20b+c"), SSE_STR("a b+c"), false},
        {SSE_STR("%2B%2b"), SSE_STR("++"), true},
        {SSE_STR("%c3%BC"), SSE_STR("\xc3\xbc"), false},
        {SSE_STR("%2525"), SSE_STR("%25"), false},
        {SSE_STR("a%00b"), SSE_STR("a\0b"), false},
        {SSE_STR("%ff"), SSE_STR("\xff"), false},
    };

    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        char out[32];
        size_t n = 99;

        assert_int_equal(sse_percent_decode(cases[i].in, cases[i].plus, out, &n), APR_SUCCESS);
        if (!sse_str_eq((sse_str_t){out, n}, cases[i].out))
            fail_msg("%s: %.*s", cases[i].in.p, (int)n, out);
    }
}

static void refuses_broken_escapes(void **state)
{
    static const sse_str_t bad[] = {SSE_STR("%"),   SSE_STR("%4"),  SSE_STR("a%4"), SSE_STR("%zz"),
                                    SSE_STR("%4g"), SSE_STR("%g4"), SSE_STR("%%41")};

    for (size_t i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        char out[32];
        size_t n = 99;

        assert_int_equal(sse_percent_decode(bad[i], true, out, &n), APR_EINVAL);
        assert_int_equal(n, 99);
    }
    /* What stands behind the slice does not belong to it. */
    char out[4];
    size_t n = 99;
    assert_int_equal(sse_percent_decode((sse_str_t){"%41", 2}, true, out, &n), APR_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_digits),
        cmocka_unit_test(undoes_escapes),
        cmocka_unit_test(refuses_broken_escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
