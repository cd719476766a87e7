/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of look-ups: what it gives back, for how long, and that it stays small. */
#include "cmocka_all.h"

#include "httpd/authcache.h"

#include <apr_strings.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
    static const int server = 0;
    sse_authcache_key_t key = {.source = "a source", .server = &server};
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
    other.source[0] = 1;
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
    assert_int_equal(kept, 8192);
    sse_authcache_key_t last = key_of(99999);
    assert_true(sse_authcache_get(cache, &last, 3600, pool, &out, &when));
}

static void too_many_groups_are_not_remembered(void **state)
{
    sse_authcache_key_t key = key_of(7);
    const char *groups[1024], *long_one = apr_pstrmemdup(pool, "", 0);
    sse_identity_t in = user("7"), out;
    uint64_t when;
    for (size_t i = 0; i < SSE_ARRAY_LEN(groups); i++)
        groups[i] = "group";
    in.groups = groups;
    in.n_groups = SSE_ARRAY_LEN(groups);
    sse_authcache_put(cache, &key, &in, sse_authcache_now());
    assert_false(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    in.n_groups = 100;
    sse_authcache_put(cache, &key, &in, sse_authcache_now());
    assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    assert_int_equal(out.n_groups, 100);
    assert_string_equal(out.groups[99], "group");
    for (size_t size = 900; size < 1100; size++) { /* up to where it does not fit, and past it */
        long_one = apr_psprintf(pool, "%0*d", (int)size, 1);
        groups[0] = long_one;
        in.n_groups = 1;
        sse_authcache_forget(cache, &key);
        sse_authcache_put(cache, &key, &in, sse_authcache_now());
        if (sse_authcache_get(cache, &key, 10, pool, &out, &when))
            assert_string_equal(out.groups[0], long_one);
        else
            assert_in_range(size, 850, 1100);
    }
}

static void nothing_is_remembered_without_memory(void **state)
{
    sse_authcache_key_t key = key_of(8);
    sse_identity_t in = user("7"), out;
    uint64_t when;
    sse_authcache_put(NULL, &key, &in, sse_authcache_now());
    assert_false(sse_authcache_get(NULL, &key, 10, pool, &out, &when));
    sse_authcache_forget(NULL, &key);
}

static void every_process_sees_it(void **state)
{
    sse_authcache_key_t key = key_of(9);
    sse_identity_t in = user("7"), out;
    uint64_t when;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sse_authcache_put(cache, &key, &in, sse_authcache_now());
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
    assert_string_equal(out.groups[1], "staff");
}

/* Wherever a process is killed, the others go on, and what they read is whole. */
static void a_killed_process_holds_nobody_up(void **state)
{
    sse_authcache_key_t key = key_of(10);
    sse_identity_t in = user("7"), out;
    uint64_t when;
    int status;
    for (int i = 0; i < 60; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            for (;;)
                sse_authcache_put(cache, &key, &in, sse_authcache_now());
        for (int tries = 0; !sse_authcache_get(cache, &key, 10, pool, &out, &when); tries++)
            assert_in_range(tries, 0, 10000000);
        assert_string_equal(out.user, "7");
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        sse_authcache_put(cache, &key, &in, sse_authcache_now());
        assert_true(sse_authcache_get(cache, &key, 10, pool, &out, &when));
        assert_string_equal(out.groups[0], "admin");
        sse_authcache_forget(cache, &key);
        assert_false(sse_authcache_get(cache, &key, 10, pool, &out, &when));
        apr_pool_clear(pool);
        cache = sse_authcache_create(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_user_comes_back_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_keys_know_nothing_of_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(age_and_the_sessions_end_bound_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_look_up_does_not_replace_a_newer_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_killed_process_holds_nobody_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_process_sees_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_remembered_without_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_groups_are_not_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_users_are_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgetting_forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_bounded_and_keeps_the_newest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
