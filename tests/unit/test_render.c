/* SPDX-License-Identifier: Apache-2.0 */
/* Event-stream blocks, byte for byte. */
#include "cmocka_all.h"

#include "core/render.h"

#include <stdlib.h>

static const sse_pos_t pos = {0xab, 12};

static void splits_data_at_every_kind_of_line_end(void **state)
{
    static const struct {
        const char *data, *lines;
    } cases[] = {
        {"", "data: \n"},
        {"one", "data: one\n"},
        {" one", "data:  one\n"},
        {"one\ntwo", "data: one\ndata: two\n"},
        {"one\rtwo", "data: one\ndata: two\n"},
        {"one\r\ntwo", "data: one\ndata: two\n"},
        {"one\n\rtwo", "data: one\ndata: \ndata: two\n"},
        {"one\r\rtwo", "data: one\ndata: \ndata: two\n"},
        {"one\r\n\r\ntwo", "data: one\ndata: \ndata: two\n"},
        {"one\n", "data: one\ndata: \n"},
        {"one\r", "data: one\ndata: \n"},
        {"one\r\n", "data: one\ndata: \n"},
        {"\n", "data: \ndata: \n"},
        {"\r\n\n\r", "data: \ndata: \ndata: \ndata: \n"},
        {"x\nid: 1\revent: y\r\nretry: 1\n\n",
         "data: x\ndata: id: 1\ndata: event: y\ndata: retry: 1\ndata: \ndata: \n"},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_buf_t out = {0}, expected = {0};

        sse_render_message(&out, pos, SSE_STR("a:b"), sse_str(cases[i].data));
        sse_buf_printf(&expected, "id: ab-12\nevent: a:b\n%s\n", cases[i].lines);
        sse_buf_char(&out, '\0');
        sse_buf_char(&expected, '\0');
        assert_string_equal(out.p, expected.p);
        sse_buf_clear(&out);
        sse_buf_clear(&expected);
    }
}

static void renders_without_a_position(void **state)
{
    sse_buf_t out = {0};

    sse_render_message(&out, (sse_pos_t){0, 5}, SSE_STR("e"), SSE_STR_NONE);
    assert_str(sse_buf_slice(&out), "event: e\ndata: \n\n");
    sse_buf_clear(&out);
}

static void keeps_nul_bytes_inside_the_line(void **state)
{
    sse_buf_t out = {0};

    sse_render_message(&out, (sse_pos_t){0}, SSE_STR("e"), (sse_str_t){"a\0b", 3});
    assert_int_equal(out.n, 9 + 6 + 3 + 2);
    assert_memory_equal(out.p, "event: e\ndata: a\0b\n\n", out.n);
    sse_buf_clear(&out);
}

static void takes_large_data_in_one_allocation(void **state)
{
    size_t n = 256 * 1024;
    char *data = sse_malloc(n);
    sse_buf_t out = {0};

    memset(data, 'd', n);
    sse_render_message(&out, pos, SSE_STR("e"), (sse_str_t){data, n});
    assert_int_equal(out.n, strlen("id: ab-12\nevent: e\ndata: ") + n + 2);
    free(data);
    sse_buf_clear(&out);
}

static void renders_the_servers_own_blocks(void **state)
{
    const sse_str_t names[] = {SSE_STR("a:b"), SSE_STR("q\"\\")};
    sse_buf_t out = {0};

    sse_render_retry(&out, 4294967295u);
    sse_render_open(&out, pos, true);
    sse_render_open(&out, (sse_pos_t){0}, false);
    sse_render_reset(&out, pos, SSE_RESET_UNKNOWN_ID, NULL, 0);
    sse_render_reset(&out, pos, SSE_RESET_EXPIRED, names, 2);
    sse_render_reset(&out, pos, SSE_RESET_SLOW, names, 0);
    sse_render_end(&out, pos, SSE_END_LOGOUT);
    sse_render_end(&out, pos, SSE_END_MAX_AGE);
    sse_render_end(&out, (sse_pos_t){0}, SSE_END_BUSY);
    sse_render_heartbeat(&out);
    assert_str(
        sse_buf_slice(&out),
        "retry: 4294967295\n\n"
        "id: ab-12\nevent: stream-open\ndata: {\"resumed\": true}\n\n"
        "event: stream-open\ndata: {\"resumed\": false}\n\n"
        "id: ab-12\nevent: stream-reset\ndata: {\"reason\": \"unknown-id\", \"events\": null}\n\n"
        "id: ab-12\nevent: stream-reset\ndata: {\"reason\": \"expired\", \"events\": [\"a:b\", "
        "\"q\\\"\\\\\"]}\n\n"
        "id: ab-12\nevent: stream-reset\ndata: {\"reason\": \"slow\", \"events\": []}\n\n"
        "id: ab-12.end\nevent: stream-end\ndata: {\"reason\": \"logout\"}\n\n"
        "id: ab-12\nevent: stream-end\ndata: {\"reason\": \"max-age\"}\n\n"
        "event: stream-end\ndata: {\"reason\": \"busy\"}\n\n"
        ":\n\n");
    sse_buf_clear(&out);
}

static void reasons_have_names(void **state)
{
    static const char *const names[] = {"logout",      "expired", "deactivated", "disconnected",
                                        "replaced",    "max-age", "slow",        "shutdown",
                                        "unavailable", "busy"};
    static const bool final[] = {true, false, true, true, true, false, false, false, false, false};
    sse_end_reason_t reason = SSE_END_SLOW;
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(names); i++) {
        assert_string_equal(sse_end_reason_name((sse_end_reason_t)i), names[i]);
        assert_int_equal(sse_end_reason_parse(sse_str(names[i]), &reason), APR_SUCCESS);
        assert_int_equal(reason, i);
        assert_int_equal(sse_end_reason_final(reason), final[i]);
    }
    assert_int_equal(sse_end_reason_parse(SSE_STR("max_age"), &reason), APR_EINVAL);
    assert_int_equal(sse_end_reason_parse(SSE_STR_NONE, &reason), APR_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_data_at_every_kind_of_line_end),
        cmocka_unit_test(renders_without_a_position),
        cmocka_unit_test(keeps_nul_bytes_inside_the_line),
        cmocka_unit_test(takes_large_data_in_one_allocation),
        cmocka_unit_test(renders_the_servers_own_blocks),
        cmocka_unit_test(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
