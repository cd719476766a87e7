/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of look-ups: what it gives back, for how long, and that it stays small. */
#include "cmocka_all.h"

#include "httpd/authcache.h"

#include <time.h>

static apr_pool_t *pool;
static sse_authcache_t *cache;

static int set_up(void **state)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    cache = sse_authcache_create(pool);
    return 0;
}

static int tear_down(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static sse_authcache_key_t key_of(unsigned number)
{
    static const int source = 0, server = 0;
    sse_authcache_key_t key = {.source = &source, .server = &server};
    memcpy(key.session, &number, sizeof(number));
    return key;
}

static sse_identity_t user(const char *name)
{
    static const char *const groups[] = {"admin", "staff"};
    return (sse_identity_t){.who = SSE_WHO_USER,
                            .user = name,
                            .groups = groups,
                            .n_groups = 2,
                            .groups_known = true,
                            .has_session = true};
}

static void a_user_comes_back_whole(void **state)
{
    sse_authcache_key_t key = key_of(1);
    sse_identity_t in = user("7"), out;
    uint64_t now = sse_authcache_now(), when = 0;
    sse_authcache_put(cache, &key, &in, now);
    assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    assert_int_equal(when, now);
    assert_string_equal(out.user, "7");
    assert_true(out.groups_known);
    assert_int_equal(out.n_groups, 2);
    assert_string_equal(out.groups[0], "admin");
    assert_string_equal(out.groups[1], "staff");
}

static void other_keys_know_nothing_of_it(void **state)
{
    sse_authcache_key_t key = key_of(2), other = key;
    sse_identity_t in = user("7"), out;
    uint64_t when;
    sse_authcache_put(cache, &key, &in, sse_authcache_now());
    other.session[31] = 1;
    assert_false(sse_authcache_get(cache, &other, 10, pool, &out, &when));
    other = key;
    other.source = &other;
    assert_false(sse_authcache_get(cache, &other, 10, pool, &out, &when));
    other = key;
    other.server = &other;
    assert_false(sse_authcache_get(cache, &other, 10, pool, &out, &when));
    assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
}

static void age_and_the_sessions_end_bound_it(void **state)
{
    sse_authcache_key_t key = key_of(3);
    sse_identity_t in = user("7"), out;
    uint64_t now = sse_authcache_now(), when;
    sse_authcache_put(cache, &key, &in, now - 11000000);
    assert_false(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    sse_authcache_put(cache, &key, &in, now - 9000000);
    assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    in.session_expires = (int64_t)time(NULL) - 1;
    sse_authcache_put(cache, &key, &in, now);
    assert_false(sse_authcache_get(cache, &key, 10, pool, &out, &when));
}

static void an_older_look_up_does_not_replace_a_newer_one(void **state)
{
    sse_authcache_key_t key = key_of(4);
    sse_identity_t newer = user("new"), older = user("old"), out;
    uint64_t now = sse_authcache_now(), when;
    sse_authcache_put(cache, &key, &newer, now);
    sse_authcache_put(cache, &key, &older, now - 1);
    assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    assert_string_equal(out.user, "new");
}

static void only_users_are_remembered(void **state)
{
    sse_authcache_key_t key = key_of(5);
    sse_identity_t in = user("7"), out;
    uint64_t when;
    in.who = SSE_WHO_ANONYMOUS;
    sse_authcache_put(cache, &key, &in, sse_authcache_now());
    assert_false(sse_authcache_get(cache, &key, 10, pool, &out, &when));
}

static void forgetting_forgets(void **state)
{
    sse_authcache_key_t key = key_of(6);
    sse_identity_t in = user("7"), out;
    uint64_t when;
    sse_authcache_put(cache, &key, &in, sse_authcache_now());
    sse_authcache_forget(cache, &key);
    assert_false(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    sse_authcache_forget(cache, &key);
}

static void it_is_bounded_and_keeps_the_newest(void **state)
{
    sse_identity_t in = user("7"), out;
    uint64_t now = sse_authcache_now(), when;
    unsigned kept = 0;
    for (unsigned i = 0; i < 100000; i++) {
        sse_authcache_key_t key = key_of(i);
        sse_authcache_put(cache, &key, &in, now - 100000 + i);
    }
    for (unsigned i = 0; i < 100000; i++) {
        sse_authcache_key_t key = key_of(i);
        kept += sse_authcache_get(cache, &key, 3600, pool, &out, &when);
    }
    assert_int_equal(kept, 2048);
    sse_authcache_key_t last = key_of(99999);
    assert_true(sse_authcache_get(cache, &last, 3600, pool, &out, &when));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_user_comes_back_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_keys_know_nothing_of_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(age_and_the_sessions_end_bound_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_look_up_does_not_replace_a_newer_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(only_users_are_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgetting_forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_bounded_and_keeps_the_newest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
