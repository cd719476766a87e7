/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis broker's URL. */
#include "cmocka_all.h"
#include "core/brokerurl.h"

#include <string.h>

static sse_brokerurl_t url;
static char problem[256];

static bool good(const char *text)
{
    problem[0] = '\0';
    return sse_brokerurl_parse(sse_str(text), &url, problem) == APR_SUCCESS;
}

static void one_server(void **state)
{
    assert_true(good("redis://cache.example"));
    assert_int_equal(url.kind, SSE_BROKERURL_SERVER);
    assert_int_equal(url.n_hosts, 1);
    assert_string_equal(url.hosts[0].name, "cache.example");
    assert_int_equal(url.hosts[0].port, 6379);
    assert_int_equal(url.db, 0);
    assert_string_equal(url.prefix, "sse:");
    assert_int_equal(url.lease, 15);
    assert_true(url.verify && !url.tls && !url.user && !url.password);
    sse_brokerurl_clear(&url);

    assert_true(
        good("rediss://me:p%40ss%2fw@[::1]:7000/3?prefix=a:&wait=2&lease=5&ca=/etc/ca.pem"));
    assert_true(url.tls);
    assert_string_equal(url.user, "me");
    assert_string_equal(url.password, "p@ss/w");
    assert_string_equal(url.hosts[0].name, "::1");
    assert_int_equal(url.hosts[0].port, 7000);
    assert_int_equal(url.db, 3);
    assert_string_equal(url.prefix, "a:");
    assert_int_equal(url.wait, 2);
    assert_int_equal(url.lease, 5);
    assert_string_equal(url.ca, "/etc/ca.pem");
    sse_brokerurl_clear(&url);

    assert_true(good("redis://:secret@h/0?prefix="));
    assert_null(url.user);
    assert_string_equal(url.password, "secret");
    assert_string_equal(url.prefix, "");
    sse_brokerurl_clear(&url);
}

static void other_kinds(void **state)
{
    assert_true(good("redis+unix:///run/redis/redis.sock?db=2"));
    assert_string_equal(url.path, "/run/redis/redis.sock");
    assert_int_equal(url.db, 2);
    sse_brokerurl_clear(&url);
    assert_true(good("redis+sentinel://a,b:27000,c/mymaster/1?sentinel_password=x&tls=1"));
    assert_int_equal(url.kind, SSE_BROKERURL_SENTINEL);
    assert_int_equal(url.n_hosts, 3);
    assert_int_equal(url.hosts[0].port, 26379);
    assert_int_equal(url.hosts[1].port, 27000);
    assert_string_equal(url.master, "mymaster");
    assert_int_equal(url.db, 1);
    assert_true(url.tls);
    sse_brokerurl_clear(&url);
    assert_true(good("redis+cluster://a,b/"));
    assert_int_equal(url.kind, SSE_BROKERURL_CLUSTER);
    assert_int_equal(url.n_hosts, 2);
    sse_brokerurl_clear(&url);
}

static void bad_ones_are_told_in_a_sentence(void **state)
{
    static const char *const bad[] = {
        "",
        "redis",
        "http://h",
        "redis://",
        "redis://:6379",
        "redis://h:",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://::1",
        "redis://[::1",
        "redis://[::1]7",
        "redis://a,b",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/10000",
        "redis://h/1/2",
        "redis://h o",
        "redis://h\n",
        "redis://pw@h",
        "redis://:@h",
        "redis://:a%zz@h",
        "redis://:a%0a@h",
        "redis://h?x=1",
        "redis://h?prefix",
        "redis://h?prefix={a}",
        "redis://h?wait=-1",
        "redis://h?wait=101",
        "redis://h?lease=1",
        "redis://h?tls=yes",
        "redis://h?cert=/a",
        "redis+unix://",
        "redis+unix://run/x.sock",
        "redis+sentinel://a,b",
        "redis+sentinel://a,,b/m",
        "redis+cluster://a/1",
        "redis+cluster://a?db=1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (good(bad[i]))
            fail_msg("taken: %s", bad[i]);
        assert_true(strlen(problem) > 10);
    }
    assert_false(good("redis://u:hunter2@h:bad"));
    assert_null(strstr(problem, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_server),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(bad_ones_are_told_in_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
