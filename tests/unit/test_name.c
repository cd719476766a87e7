/* SPDX-License-Identifier: Apache-2.0 */
/* Which names and patterns are good, and what patterns match. */
#include "cmocka_all.h"

#include "core/name.h"

#include <stdio.h>

static sse_str_t filled(char *buf, size_t n)
{
    memset(buf, 'n', n);
    return (sse_str_t){buf, n};
}

static void takes_good_event_names(void **state)
{
    static const char *const good[] = {
        "message",
        "event:name",
        "group:event",
        "a",
        "stream",
        "opened",
        "errors",
        "%{user}",
        "\xc3\xa9v\xc3\xa9nement",
        "\xf0\x9f\x98\x80",
        "to:everyone",
        "a/b?c#d",
        "..",
        "\xc2\xa0",
    };
    char buf[SSE_EVENT_MAX];
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(good); i++)
        assert_null(sse_name_event_problem(sse_str(good[i])));
    assert_null(sse_name_event_problem(filled(buf, sizeof(buf))));
}

static void says_what_is_wrong_with_event_names(void **state)
{
    static const struct {
        const char *name, *says;
    } bad[] = {
        {"", "is empty"},
        {"open", "reserved"},
        {"error", "reserved"},
        {"stream-open", "reserved"},
        {"stream-", "reserved"},
        {"a b", "space"},
        {"a*", "'*'"},
        {"a\nb", "control"},
        {"a\rb", "control"},
        {"a\x7f", "control"},
        {"a\xc2\x85", "control"},
        {"a\xc2\x9f", "control"},
        {"\xff", "UTF-8"},
        {"\xc3", "UTF-8"},
    };
    char buf[SSE_EVENT_MAX + 1];
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        const char *problem = sse_name_event_problem(sse_str(bad[i].name));

        assert_non_null(problem);
        assert_non_null(strstr(problem, bad[i].says));
        assert_int_not_equal(problem[strlen(problem) - 1], '.');
    }
    assert_non_null(strstr(sse_name_event_problem((sse_str_t){"a\0b", 3}), "control"));
    assert_non_null(strstr(sse_name_event_problem(filled(buf, sizeof(buf))), "255"));
}

static void checks_realms_users_and_groups(void **state)
{
    char buf[SSE_GROUP_MAX + 1];

    assert_null(sse_name_realm_problem(SSE_STR("Site-1.example_com")));
    assert_null(sse_name_realm_problem(filled(buf, SSE_REALM_MAX)));
    assert_non_null(sse_name_realm_problem(filled(buf, SSE_REALM_MAX + 1)));
    assert_non_null(sse_name_realm_problem(SSE_STR_NONE));
    assert_non_null(sse_name_realm_problem(SSE_STR("a b")));
    assert_non_null(sse_name_realm_problem(SSE_STR("a/b")));
    assert_non_null(sse_name_realm_problem(SSE_STR("\xc3\xa9")));

    assert_null(sse_name_user_problem(SSE_STR("John Doe *")));
    assert_null(sse_name_user_problem(filled(buf, SSE_USER_MAX)));
    assert_non_null(sse_name_user_problem(filled(buf, SSE_USER_MAX + 1)));
    assert_non_null(sse_name_user_problem(SSE_STR_NONE));
    assert_non_null(sse_name_user_problem(SSE_STR("a\n")));

    assert_null(sse_name_group_problem(SSE_STR("site admins")));
    assert_null(sse_name_group_problem(filled(buf, SSE_GROUP_MAX)));
    assert_non_null(sse_name_group_problem(filled(buf, SSE_GROUP_MAX + 1)));
    assert_non_null(sse_name_group_problem(SSE_STR_NONE));
    assert_non_null(sse_name_group_problem(SSE_STR("\xed\xa0\x80")));
}

static void knows_utf8(void **state)
{
    static const char *const good[] = {"",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x7f",
                                      "\xc2\xc0",
                                      "\xe0\x9f\xbf",
                                      "\xe0\xa0",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x90\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xfe",
                                      "\xff",
                                      "ab\xe2\x82z"};
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(good); i++)
        assert_true(sse_name_utf8(sse_str(good[i])));
    for (i = 0; i < SSE_ARRAY_LEN(bad); i++)
        assert_false(sse_name_utf8(sse_str(bad[i])));
    assert_false(sse_name_utf8((sse_str_t){"\xe2\x82\xac", 2}));
}

static void checks_patterns(void **state)
{
    static const char *const good[] = {"*",    "**", "a:*", "user:%{user}:*",
                                       "100%", "%",  "a%b", "plain"};
    static const char *const bad[] = {"",     "a b",    "open", "stream-*", "%{usr}",
                                      "a:%{", "%{user", "a\n",  "\xff"};
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(good); i++)
        assert_null(sse_name_pattern_problem(sse_str(good[i])));
    for (i = 0; i < SSE_ARRAY_LEN(bad); i++)
        assert_non_null(sse_name_pattern_problem(sse_str(bad[i])));
}

static void matches_patterns(void **state)
{
    static const struct {
        const char *pattern, *user, *event;
        bool match;
    } cases[] = {
        {"a", "", "a", true},
        {"a", "", "ab", false},
        {"ab", "", "a", false},
        {"*", "", "abc", true},
        {"*", "", "a:c", false},
        {"**", "", "a:c", true},
        {"***", "", "a:c", true},
        {"a:*", "", "a:", true},
        {"a:*", "", "a:b", true},
        {"a:*", "", "a:b:c", false},
        {"a:*:c", "", "a:b:c", true},
        {"a:*:c", "", "a:b:b:c", false},
        {"a:**:c", "", "a:b:b:c", true},
        {"*:c", "", "a:c", true},
        {"*:c", "", "a:b:c", false},
        {"**c*d", "", "c:c:cd", true},
        {"**c*d", "", "c:c:c:d", false},
        {"*a*b", "", "aab", true},
        {"*ab", "", "aaab", true},
        {"*ab", "", "aaaba", false},
        {"u:%{user}", "7", "u:7", true},
        {"u:%{user}", "7", "u:77", false},
        {"u:%{user}", "", "u:", false},
        {"u:%{user}", "", "u:%{user}", false},
        {"u:%{user}:*", "a:b", "u:a:b:c", true},
        {"u:%{user}", "*", "u:*", true},
        {"u:%{user}", "*", "u:7", false},
        {"u:%{user}", "%{user}", "u:%{user}", true},
        {"%{user}%{user}", "ab", "abab", true},
        {"*%{user}", "aab", "aaaab", true},
        {"100%", "", "100%", true},
        {"%a", "", "%a", true},
        {"", "", "", true},
        {"", "", "a", false},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        if (sse_name_pattern_match(sse_str(cases[i].pattern), sse_str(cases[i].user),
                                   sse_str(cases[i].event)) != cases[i].match)
            fail_msg("pattern \"%s\" user \"%s\" event \"%s\"", cases[i].pattern, cases[i].user,
                     cases[i].event);
    }
}

/* What matching means, by its definition; exponential, so for short texts only. */
static bool match_slowly(const char *p, const char *e)
{
    if (!*p)
        return !*e;
    if (p[0] == '*') {
        bool over = p[1] == '*';
        const char *rest = p + (over ? 2 : 1);

        for (;; e++) {
            if (match_slowly(rest, e))
                return true;
            if (!*e || (!over && *e == ':'))
                return false;
        }
    }
    return *p == *e && match_slowly(p + 1, e + 1);
}

/* Every pattern of up to five of "a:*" on every event of up to five of "a:". */
static void matches_as_defined(void **state)
{
    static const char letters[] = "a:*";
    unsigned long p, e;
    size_t n_matches = 0;

    for (p = 1; p < 1024; p++) {
        char pattern[8] = "", *at = pattern;
        unsigned long v;

        for (v = p; v; v /= 4) {
            if (v % 4 < 3)
                *at++ = letters[v % 4];
        }
        for (e = 1; e < 64; e++) {
            char event[8] = "";
            bool expected;

            at = event;
            for (v = e; v > 1; v /= 2)
                *at++ = letters[v % 2];
            *at = '\0';
            expected = match_slowly(pattern, event);
            n_matches += expected;
            if (sse_name_pattern_match(sse_str(pattern), SSE_STR("u"), sse_str(event)) != expected)
                fail_msg("pattern \"%s\" event \"%s\"", pattern, event);
        }
    }
    assert_true(n_matches > 1000);
}

static void hard_patterns_stay_cheap(void **state)
{
    char pattern[SSE_EVENT_MAX + 1] = "", event[SSE_EVENT_MAX];
    size_t i;

    for (i = 0; i + 3 < sizeof(pattern); i += 3)
        memcpy(pattern + i, i % 2 ? "*a" : "**a", 3);
    memset(event, 'a', sizeof(event));
    event[sizeof(event) - 1] = 'b';
    for (i = 0; i < 100; i++)
        assert_false(sse_name_pattern_match(sse_str(pattern), SSE_STR_NONE,
                                            (sse_str_t){event, sizeof(event)}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_good_event_names),
        cmocka_unit_test(says_what_is_wrong_with_event_names),
        cmocka_unit_test(checks_realms_users_and_groups),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(checks_patterns),
        cmocka_unit_test(matches_patterns),
        cmocka_unit_test(matches_as_defined),
        cmocka_unit_test(hard_patterns_stay_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
