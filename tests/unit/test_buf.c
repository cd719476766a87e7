/* SPDX-License-Identifier: Apache-2.0 */
/* The byte buffer: growth, contents, and that it stops the process rather than wrap a size. */
#include "cmocka_all.h"

#include "core/buf.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void appends_in_order(void **state)
{
    sse_buf_t b = {0};

    assert_null(sse_buf_slice(&b).p);
    sse_buf_cstr(&b, "one ");
    sse_buf_str(&b, SSE_STR("two "));
    sse_buf_add(&b, "three", 5);
    sse_buf_char(&b, '!');
    sse_buf_printf(&b, " %d %s", 4, "five");
    assert_str(sse_buf_slice(&b), "one two three! 4 five");
    sse_buf_clear(&b);
    assert_null(b.p);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.cap, 0);
}

static void adds_nothing_from_nowhere(void **state)
{
    sse_buf_t b = {0};

    sse_buf_add(&b, NULL, 0);
    sse_buf_str(&b, SSE_STR_NONE);
    sse_buf_cstr(&b, "");
    assert_int_equal(b.n, 0);
    sse_buf_clear(&b);
}

static void grows_without_losing(void **state)
{
    sse_buf_t b = {0};
    size_t i;

    for (i = 0; i < 100000; i++)
        sse_buf_char(&b, (char)('a' + i % 26));
    assert_int_equal(b.n, 100000);
    assert_true(b.cap >= b.n && b.cap < 4 * b.n);
    for (i = 0; i < b.n; i++)
        assert_int_equal(b.p[i], 'a' + i % 26);
    sse_buf_clear(&b);
}

static void formats_what_does_not_fit_at_first(void **state)
{
    sse_buf_t b = {0};
    char text[5001];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sse_buf_printf(&b, "<%s>", text);
    assert_int_equal(b.n, 5002);
    assert_int_equal(b.p[0], '<');
    assert_int_equal(b.p[5001], '>');
    sse_buf_clear(&b);
}

static void reserve_makes_room_once(void **state)
{
    sse_buf_t b = {0};
    char *p;

    sse_buf_reserve(&b, 1000);
    p = b.p;
    sse_buf_reserve(&b, 1000);
    memset(b.p, 0, 1000);
    b.n = 1000;
    assert_ptr_equal(b.p, p);
    sse_buf_clear(&b);
}

static void aborts_when_sizes_wrap(void **state)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct rlimit none = {0, 0};
        sse_buf_t b = {0};

        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        sse_buf_char(&b, 'x');
        sse_buf_reserve(&b, SIZE_MAX);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void strndup_ends_with_nul(void **state)
{
    char *copy = sse_strndup("a\0bc", 3);

    assert_memory_equal(copy, "a\0b\0", 4);
    free(copy);
    copy = sse_strndup(NULL, 0);
    assert_string_equal(copy, "");
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(adds_nothing_from_nowhere),
        cmocka_unit_test(grows_without_losing),
        cmocka_unit_test(formats_what_does_not_fit_at_first),
        cmocka_unit_test(reserve_makes_room_once),
        cmocka_unit_test(aborts_when_sizes_wrap),
        cmocka_unit_test(strndup_ends_with_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
