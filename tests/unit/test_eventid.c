/* SPDX-License-Identifier: Apache-2.0 */
/* Text of positions: what is written is read back, and nothing else is read. */
#include "cmocka_all.h"

#include "core/eventid.h"

static void writes_and_reads_back(void **state)
{
    static const struct {
        sse_pos_t pos;
        bool end;
        const char *text;
    } cases[] = {
        {{1, 0}, false, "1-0"},
        {{255, 7}, false, "ff-7"},
        {{255, 7}, true, "ff-7.end"},
        {{UINT64_MAX, UINT64_MAX}, false, "ffffffffffffffff-18446744073709551615"},
        {{UINT64_MAX, UINT64_MAX}, true, "ffffffffffffffff-18446744073709551615.end"},
        {{0x1234567890abcdef, 1000000}, false, "1234567890abcdef-1000000"},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        char text[SSE_EVENTID_MAX];
        sse_pos_t pos = {0};
        bool end = !cases[i].end;
        size_t n = sse_eventid_format(cases[i].pos, cases[i].end, text);

        assert_string_equal(text, cases[i].text);
        assert_int_equal(n, strlen(text));
        assert_int_equal(sse_eventid_parse(sse_str(text), &pos, &end), APR_SUCCESS);
        assert_int_equal(pos.epoch, cases[i].pos.epoch);
        assert_int_equal(pos.seq, cases[i].pos.seq);
        assert_int_equal(end, cases[i].end);
    }
}

static void refuses_what_it_cannot_have_written(void **state)
{
    static const char *const bad[] = {
        "",
        "-",
        "1",
        "1-",
        "-1",
        "0-1",
        "00-1",
        "01-1",
        "1-01",
        "1-00",
        "1--1",
        "1-+1",
        "1- 1",
        " 1-1",
        "1-1 ",
        "1-1\n",
        "F-1",
        "fF-1",
        "g-1",
        "1-a",
        "1-1.en",
        "1-1.endx",
        "1-1.END",
        "1-1.",
        "1-.end",
        "1-1.end.end",
        "0x1-1",
        "10000000000000000-1",
        "1-18446744073709551616",
        "1-99999999999999999999",
        "1_1",
        "null",
    };
    sse_pos_t pos = {7, 8};
    bool end = true;
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        if (sse_eventid_parse(sse_str(bad[i]), &pos, &end) != APR_EINVAL)
            fail_msg("took \"%s\"", bad[i]);
    }
    assert_int_equal(sse_eventid_parse((sse_str_t){"1-1\0", 4}, &pos, &end), APR_EINVAL);
    assert_int_equal(sse_eventid_parse(SSE_STR_NONE, &pos, &end), APR_EINVAL);
    assert_int_equal(pos.epoch, 7);
    assert_int_equal(pos.seq, 8);
    assert_true(end);
}

static void reads_no_byte_behind_the_slice(void **state)
{
    sse_pos_t pos;
    bool end;

    assert_int_equal(sse_eventid_parse((sse_str_t){"1-12345", 4}, &pos, &end), APR_SUCCESS);
    assert_int_equal(pos.seq, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_reads_back),
        cmocka_unit_test(refuses_what_it_cannot_have_written),
        cmocka_unit_test(reads_no_byte_behind_the_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
