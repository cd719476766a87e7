/* SPDX-License-Identifier: Apache-2.0 */
/* The hub's configuration: defaults, a round trip of every member, and what a bad text is told. */
#include "cmocka_all.h"

#include "core/hubconf.h"

#include <stdlib.h>

static void defaults_are_the_documented_ones(void **state)
{
    sse_hubconf_t c;

    sse_hubconf_init(&c);
    assert_string_equal(c.broker, "local");
    assert_string_equal(c.durability, "normal");
    assert_int_equal(c.state_dir[0], '/');
    assert_int_equal(c.driver_dir[0], '/');
    assert_int_equal(c.history_count, 1000);
    assert_int_equal(c.history_seconds, 3600);
    assert_int_equal(c.heartbeat, 15);
    assert_int_equal(c.retry, 3000);
    assert_int_equal(c.max_age, 900);
    assert_int_equal(c.max_streams_per_user, 64);
    assert_int_equal(c.max_streams_per_host, 0);
    assert_int_equal(c.stream_buffer, 1048576);
    assert_int_equal(c.max_message_size, 262144);
    assert_int_equal(c.presence_grace, 5);
    assert_int_equal(c.rendezvous_fd, -1);
    assert_int_equal(c.uid, -1);
    sse_hubconf_clear(&c);
    assert_null(c.broker);
}

static void set_text(char **at, const char *text)
{
    free(*at);
    *at = sse_strndup(text, strlen(text));
}

static void every_member_makes_the_round_trip(void **state)
{
    /* All numbers lie between the strings and the end of the struct. */
    const size_t n_numbers =
        (sizeof(sse_hubconf_t) - offsetof(sse_hubconf_t, threads)) / sizeof(int64_t);
    sse_hubconf_t a, b;
    sse_buf_t text = {0};
    char problem[256] = "";
    size_t i;

    sse_hubconf_init(&a);
    set_text(&a.broker, "redis://:p\"w\\@h/0\n");
    set_text(&a.state_dir, "/var/lib/\xc3\xa9");
    set_text(&a.driver_dir, "");
    set_text(&a.durability, "full");
    for (i = 0; i < n_numbers; i++)
        (&a.threads)[i] = (int64_t)(i + 100);
    a.log_level = 7;
    sse_hubconf_write(&a, &text);
    sse_hubconf_init(&b);
    if (sse_hubconf_read(sse_buf_slice(&text), &b, problem) != APR_SUCCESS)
        fail_msg("%s", problem);
    assert_string_equal(a.broker, b.broker);
    assert_string_equal(a.state_dir, b.state_dir);
    assert_string_equal(a.driver_dir, b.driver_dir);
    assert_string_equal(a.durability, b.durability);
    assert_memory_equal(&a.threads, &b.threads, n_numbers * sizeof(int64_t));
    sse_buf_clear(&text);
    sse_hubconf_clear(&a);
    sse_hubconf_clear(&b);
}

static void members_left_out_keep_their_value(void **state)
{
    sse_hubconf_t c;
    char problem[256];

    sse_hubconf_init(&c);
    assert_int_equal(sse_hubconf_read(SSE_STR("{\"retry\": 5}"), &c, problem), APR_SUCCESS);
    assert_int_equal(c.retry, 5);
    assert_string_equal(c.broker, "local");
    assert_int_equal(c.max_age, 900);
    sse_hubconf_clear(&c);
}

static void says_what_is_wrong(void **state)
{
    static const struct {
        const char *json, *problem;
    } cases[] = {
        {"{", "not JSON: unexpected end at byte 1"},
        {"[]", "not a JSON object"},
        {"{\"colour\": 1}", "unknown member \"colour\""},
        {"{\"broker\": 1}", "member \"broker\" must be a string without NUL"},
        {"{\"broker\": \"a\\u0000b\"}", "member \"broker\" must be a string without NUL"},
        {"{\"retry\": \"3\"}", "member \"retry\" must be a whole number from 0 to 2147483647"},
        {"{\"retry\": -1}", "member \"retry\" must be a whole number from 0 to 2147483647"},
        {"{\"retry\": 1.5}", "member \"retry\" must be a whole number from 0 to 2147483647"},
        {"{\"log_level\": 8}", "member \"log_level\" must be a whole number from 2 to 7"},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_hubconf_t c;
        char problem[256] = "";

        sse_hubconf_init(&c);
        assert_int_equal(sse_hubconf_read(sse_str(cases[i].json), &c, problem), APR_EINVAL);
        assert_string_equal(problem, cases[i].problem);
        sse_hubconf_clear(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(every_member_makes_the_round_trip),
        cmocka_unit_test(members_left_out_keep_their_value),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
