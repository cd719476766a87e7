/* SPDX-License-Identifier: Apache-2.0 */
/* Log messages: levels, escaping, length. */
#include "cmocka_all.h"

#include "core/log.h"

static sse_log_level_t seen_level;
static char seen[4000];
static unsigned seen_count;

static void keep(sse_log_level_t level, const char *message)
{
    seen_level = level;
    seen_count++;
    strncpy(seen, message, sizeof(seen) - 1);
}

static int install(void **state)
{
    seen_count = 0;
    sse_log_sink_set(keep, SSE_LOG_INFO);
    return 0;
}

static void passes_level_and_text(void **state)
{
    sse_log(SSE_LOG_INFO, "%s of %d", "one", 2);
    assert_int_equal(seen_level, SSE_LOG_INFO);
    assert_string_equal(seen, "one of 2");
}

static void drops_what_is_not_wanted(void **state)
{
    assert_false(sse_log_wants(SSE_LOG_DEBUG));
    assert_true(sse_log_wants(SSE_LOG_CRIT));
    sse_log(SSE_LOG_DEBUG, "no");
    assert_int_equal(seen_count, 0);
}

static void escapes_control_characters(void **state)
{
    sse_log(SSE_LOG_INFO, "a%sz", "\r\n\t\x1b[0m\x7f");
    assert_string_equal(seen, "a\\x0d\\x0a\\x09\\x1b[0m\\x7fz");
}

static void escapes_c1_but_not_letters(void **state)
{
    sse_log(SSE_LOG_INFO, "%s", "\xc2\x9b \xc2\xa0 \xc3\x9b \xc2");
    assert_string_equal(seen, "\\xc2\\x9b \xc2\xa0 \xc3\x9b \xc2");
}

static void keeps_two_thousand_bytes(void **state)
{
    char text[3001];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sse_log(SSE_LOG_INFO, "%s", text);
    assert_int_equal(strlen(seen), 2000);
    memset(text, '\n', sizeof(text) - 1);
    sse_log(SSE_LOG_INFO, "%s", text);
    assert_int_equal(strlen(seen), 2000);
    assert_string_equal(seen + 1996, "\\x0a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(passes_level_and_text, install),
        cmocka_unit_test_setup(drops_what_is_not_wanted, install),
        cmocka_unit_test_setup(escapes_control_characters, install),
        cmocka_unit_test_setup(escapes_c1_but_not_letters, install),
        cmocka_unit_test_setup(keeps_two_thousand_bytes, install),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
