/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds of look-ups: slots of one child and slots that children share, also when one dies with
 * a slot, and connections that are closed when they are waited for too long. httpd's questions to
 * the MPM are answered here. */
#include "cmocka_all.h"
#include "httpd/lookups.h"

#include <ap_mpm.h>
#include <apr_general.h>
#include <http_log.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int mpm_threads, mpm_daemons;
static apr_pool_t *pool;

apr_status_t ap_mpm_query(int code, int *result)
{
    *result = code == AP_MPMQ_MAX_THREADS ? mpm_threads : mpm_daemons;
    return APR_SUCCESS;
}

void ap_log_error_(const char *file, int line, int module_index, int level, apr_status_t status,
                   const server_rec *s, const char *fmt, ...)
{
}

static void start(int threads, int daemons)
{
    mpm_threads = threads;
    mpm_daemons = daemons;
    apr_pool_create(&pool, NULL);
    assert_int_equal(sse_lookups_post_config(pool, NULL, NULL, NULL), OK);
    sse_lookups_child_init(pool);
}

static void stop(void)
{
    apr_pool_destroy(pool);
}

static void *end_soon(void *unused)
{
    poll(NULL, 0, 100);
    sse_lookups_end();
    return NULL;
}

static void a_child_has_so_many(void **state)
{
    pthread_t thread;
    start(25, 4);
    for (int i = 0; i < SSE_LOOKUPS_MAX; i++)
        assert_true(sse_lookups_begin());
    apr_time_t began = apr_time_now();
    assert_false(sse_lookups_begin());
    assert_true(apr_time_now() - began >= apr_time_from_msec(900));
    /* One that comes free is waited for. */
    assert_int_equal(pthread_create(&thread, NULL, end_soon, NULL), 0);
    assert_true(sse_lookups_begin());
    pthread_join(thread, NULL);
    /* None has come free for long: nobody waits any more. */
    poll(NULL, 0, 2200);
    began = apr_time_now();
    assert_false(sse_lookups_begin());
    assert_true(apr_time_now() - began < apr_time_from_msec(500));
    for (int i = 0; i < SSE_LOOKUPS_MAX; i++)
        sse_lookups_end();
    assert_true(sse_lookups_begin());
    stop();
}

static pid_t child_with_slots(int n)
{
    int ready[2];
    char ok = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (!pid) {
        for (int i = 0; i < n; i++)
            ok += sse_lookups_begin();
        if (write(ready[1], &ok, 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &ok, 1), 1);
    assert_int_equal(ok, n);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

/* Where a child has one thread, the number is the server's: a quarter of its children. */
static void children_share_and_a_dead_one_has_none(void **state)
{
    start(0, 80);
    pid_t pid = child_with_slots(15);
    for (int i = 0; i < 5; i++)
        assert_true(sse_lookups_begin());
    assert_false(sse_lookups_begin());
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 15; i++)
        assert_true(sse_lookups_begin());
    assert_false(sse_lookups_begin());
    stop();
}

static bool is_open(int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 0;
}

static void what_is_waited_for_too_long_is_closed(void **state)
{
    int late[2], quick[2];
    start(25, 4);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, late), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, quick), 0);
    apr_time_t began = apr_time_now();
    sse_watch_t *one = sse_lookups_watch(late[0], apr_time_from_msec(600));
    sse_watch_t *two = sse_lookups_watch(quick[0], apr_time_from_sec(60));
    assert_true(one && two);
    assert_null(sse_lookups_watch(-1, 0));
    assert_false(sse_lookups_unwatch(NULL));
    struct pollfd p = {late[0], POLLIN, 0};
    assert_int_equal(poll(&p, 1, 5000), 1); /* as a client library waits */
    assert_true(apr_time_now() - began >= apr_time_from_msec(600));
    assert_true(is_open(quick[0]));
    assert_true(sse_lookups_unwatch(one));
    assert_false(sse_lookups_unwatch(two));
    assert_true(is_open(quick[0]));
    /* What is no longer waited for is nobody's business. */
    assert_false(sse_lookups_unwatch(sse_lookups_watch(quick[0], apr_time_from_msec(1))));
    poll(NULL, 0, 600);
    assert_true(is_open(quick[0]));
    for (int i = 0; i < SSE_LOOKUPS_MAX; i++)
        assert_non_null(sse_lookups_watch(quick[0], apr_time_from_sec(60)));
    assert_null(sse_lookups_watch(quick[0], apr_time_from_sec(60)));
    stop();
    for (int i = 0; i < 2; i++) {
        close(late[i]);
        close(quick[i]);
    }
}

/* The watching thread sleeps after a quiet time and is woken by the next look-up. */
static void a_quiet_time_is_no_end(void **state)
{
    int fds[2];
    start(25, 4);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    poll(NULL, 0, 11000);
    sse_watch_t *watch = sse_lookups_watch(fds[0], apr_time_from_msec(100));
    struct pollfd p = {fds[0], POLLIN, 0};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_true(sse_lookups_unwatch(watch));
    stop();
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_has_so_many),
        cmocka_unit_test(children_share_and_a_dead_one_has_none),
        cmocka_unit_test(what_is_waited_for_too_long_is_closed),
        cmocka_unit_test(a_quiet_time_is_no_end),
    };
    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
