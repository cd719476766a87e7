/* SPDX-License-Identifier: Apache-2.0 */
/* Origins: one spelling for equal ones, nothing for what is none. */
#include "cmocka_all.h"

#include "httpd/origin.h"

static apr_pool_t *pool;

static int set_up(void **state)
{
    apr_initialize();
    return apr_pool_create(&pool, NULL);
}

static int tear_down(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static void equal_origins_have_one_spelling(void **state)
{
    static const char *const cases[][2] = {
        {"https://example.org", "https://example.org"},
        {"HTTPS://Example.ORG", "https://example.org"},
        {"https://example.org:443", "https://example.org"},
        {"http://example.org:80", "http://example.org"},
        {"http://example.org:443", "http://example.org:443"},
        {"http://example.org:0080", "http://example.org"},
        {"https://127.0.0.1:8443", "https://127.0.0.1:8443"},
        {"http://[::1]:8000", "http://[::1]:8000"},
        {"http://[2001:DB8::1]", "http://[2001:db8::1]"},
        {"http://my_host-1", "http://my_host-1"},
    };
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++)
        assert_string_equal(sse_origin_normalize(cases[i][0], pool), cases[i][1]);
}

static void other_texts_are_no_origins(void **state)
{
    static const char *const cases[] = {
        "",
        "null",
        "*",
        "example.org",
        "ftp://example.org",
        "https://",
        "https://*",
        "https://*.example.org",
        "https://example.org/",
        "https://example.org/x",
        "https://example.org?x",
        "https://user@example.org",
        "https://example.org:",
        "https://example.org:x",
        "https://example.org:0",
        "https://example.org:65536",
        "https://example.org:123456",
        "https://example.org:80 ",
        "https://exa mple.org",
        "http://[::1",
        "http://[]",
        "http://[::1]x",
        "https://example.org, https://evil.org",
    };
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++)
        assert_null(sse_origin_normalize(cases[i], pool));
}

static void a_host_longer_than_names_can_be_is_refused(void **state)
{
    char text[8 + 256 + 1] = "https://";
    memset(text + 8, 'a', 256);
    assert_null(sse_origin_normalize(text, pool));
    text[8 + 255] = '\0';
    assert_string_equal(sse_origin_normalize(text, pool), text);
}

static void the_sites_own_origin_is_made_of_scheme_and_host(void **state)
{
    assert_string_equal(sse_origin_of_site("https", "Example.org:443", pool),
                        "https://example.org");
    assert_string_equal(sse_origin_of_site("http", "example.org:8080", pool),
                        "http://example.org:8080");
    assert_null(sse_origin_of_site("http", "", pool));
    assert_null(sse_origin_of_site("http", "a/b", pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_origins_have_one_spelling),
        cmocka_unit_test(other_texts_are_no_origins),
        cmocka_unit_test(a_host_longer_than_names_can_be_is_refused),
        cmocka_unit_test(the_sites_own_origin_is_made_of_scheme_and_host),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
