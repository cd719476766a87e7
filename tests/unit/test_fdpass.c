/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams with descriptors, time-outs, the peer's end, and sealed memory files, on real sockets.
 */
#include "cmocka_all.h"

#include "core/buf.h"
#include "core/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;

    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino &&
           sa.st_dev == sb.st_dev;
}

static void pair_is_as_promised(void **state)
{
    int s[2], i;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    for (i = 0; i < 2; i++) {
        int type = 0;
        socklen_t len = sizeof(type);

        assert_true(fcntl(s[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(s[i], F_GETFL) & O_NONBLOCK);
        assert_int_equal(getsockopt(s[i], SOL_SOCKET, SO_TYPE, &type, &len), 0);
        assert_int_equal(type, SOCK_SEQPACKET);
        close(s[i]);
    }
}

static void passes_data_and_descriptors(void **state)
{
    int s[2], send_fds[SSE_FDPASS_FDS_MAX], got[SSE_FDPASS_FDS_MAX];
    char buf[64];
    size_t len, n, i;
    uid_t uid = 12345;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    for (i = 0; i < SSE_FDPASS_FDS_MAX; i++)
        assert_int_equal(sse_fdpass_memfd("t", SSE_STR("x"), &send_fds[i]), APR_SUCCESS);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("one"), send_fds, SSE_FDPASS_FDS_MAX, 0),
                     APR_SUCCESS);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("second"), NULL, 0, 0), APR_SUCCESS);

    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, &uid),
                     APR_SUCCESS);
    assert_str(((sse_str_t){buf, len}), "one");
    assert_int_equal(n, SSE_FDPASS_FDS_MAX);
    assert_int_equal(uid, getuid());
    for (i = 0; i < n; i++) {
        assert_true(same_file(got[i], send_fds[i]));
        assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
        close(got[i]);
        close(send_fds[i]);
    }
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, NULL),
                     APR_SUCCESS);
    assert_str(((sse_str_t){buf, len}), "second");
    assert_int_equal(n, 0);
    close(s[0]);
    close(s[1]);
}

static void refuses_what_cannot_be_sent(void **state)
{
    char *big = sse_calloc(1, SSE_FDPASS_MAX + 1);
    int s[2], fds[SSE_FDPASS_FDS_MAX + 1] = {0}, got[SSE_FDPASS_FDS_MAX];
    size_t len, n;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR_NONE, NULL, 0, 0), APR_EINVAL);
    assert_int_equal(sse_fdpass_send(s[0], (sse_str_t){big, SSE_FDPASS_MAX + 1}, NULL, 0, 0),
                     APR_EINVAL);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("x"), fds, SSE_FDPASS_FDS_MAX + 1, 0),
                     APR_EINVAL);
    assert_int_equal(sse_fdpass_send(s[0], (sse_str_t){big, SSE_FDPASS_MAX}, NULL, 0, 0),
                     APR_SUCCESS);
    assert_int_equal(sse_fdpass_recv(s[1], big, SSE_FDPASS_MAX, 0, &len, got, &n, NULL),
                     APR_SUCCESS);
    assert_int_equal(len, SSE_FDPASS_MAX);
    free(big);
    close(s[0]);
    close(s[1]);
}

static void times_out(void **state)
{
    static char fill[SSE_FDPASS_MAX];
    int s[2], got[SSE_FDPASS_FDS_MAX];
    char buf[8];
    size_t len, n, sent = 0;
    int64_t begin;
    apr_status_t rv;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 0, &len, got, &n, NULL), APR_TIMEUP);
    begin = now_ms();
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 50, &len, got, &n, NULL), APR_TIMEUP);
    assert_true(now_ms() - begin >= 49);

    while ((rv = sse_fdpass_send(s[0], (sse_str_t){fill, sizeof(fill)}, NULL, 0, 0)) == APR_SUCCESS)
        assert_true(++sent < 1000);
    assert_int_equal(rv, APR_TIMEUP);
    assert_true(sent > 0);
    begin = now_ms();
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("x"), NULL, 0, 50), APR_TIMEUP);
    assert_true(now_ms() - begin >= 49);
    close(s[0]);
    close(s[1]);
}

#define ROUNDS 300

/* The far end of a conversation: sends back what it gets. */
static void *echo(void *arg)
{
    int sock = *(int *)arg, got[SSE_FDPASS_FDS_MAX], i;
    char buf[64];
    size_t len, n;

    for (i = 0; i < ROUNDS; i++) {
        if (sse_fdpass_recv(sock, buf, sizeof(buf), 10000, &len, got, &n, NULL) != APR_SUCCESS ||
            sse_fdpass_send(sock, (sse_str_t){buf, len}, NULL, 0, 10000) != APR_SUCCESS)
            return "failed";
    }
    return NULL;
}

static void waits_until_the_peer_speaks(void **state)
{
    int s[2], got[SSE_FDPASS_FDS_MAX], i;
    pthread_t thread;
    void *failed;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    assert_int_equal(pthread_create(&thread, NULL, echo, &s[1]), 0);
    for (i = 0; i < ROUNDS; i++) {
        char sent[16], buf[64];
        size_t len, n, sent_len = (size_t)snprintf(sent, sizeof(sent), "round %d", i);

        assert_int_equal(sse_fdpass_send(s[0], (sse_str_t){sent, sent_len}, NULL, 0, 10000),
                         APR_SUCCESS);
        assert_int_equal(sse_fdpass_recv(s[0], buf, sizeof(buf), 10000, &len, got, &n, NULL),
                         APR_SUCCESS);
        assert_true(sse_str_eq((sse_str_t){buf, len}, (sse_str_t){sent, sent_len}));
    }
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    close(s[0]);
    close(s[1]);
}

static volatile sig_atomic_t n_alarms;

static void count_alarm(int sig)
{
    n_alarms++;
}

static void signals_do_not_shorten_the_wait(void **state)
{
    const struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = count_alarm};
    int s[2], got[SSE_FDPASS_FDS_MAX];
    char buf[8];
    size_t len, n;
    int64_t begin;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    begin = now_ms();
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 100, &len, got, &n, NULL), APR_TIMEUP);
    assert_true(now_ms() - begin >= 99);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_true(n_alarms > 1);
    close(s[0]);
    close(s[1]);
}

static void tells_when_the_peer_is_gone(void **state)
{
    int s[2], got[SSE_FDPASS_FDS_MAX];
    char buf[8];
    size_t len, n;

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("last"), NULL, 0, 0), APR_SUCCESS);
    close(s[0]);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, NULL),
                     APR_SUCCESS);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, NULL), APR_EOF);
    assert_int_equal(sse_fdpass_send(s[1], SSE_STR("x"), NULL, 0, 1000), APR_EOF);
    close(s[1]);
}

static void closes_descriptors_of_bad_datagrams(void **state)
{
    int s[2], many[8], got[SSE_FDPASS_FDS_MAX], i;
    char buf[4];
    size_t len = 77, n = 77, before;
    char control[CMSG_SPACE(sizeof(many))] = {0};
    struct iovec iov = {.iov_base = (void *)"many", .iov_len = 4};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    for (i = 0; i < 8; i++)
        many[i] = s[0];
    before = count_open_fds();

    /* longer than the buffer */
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("too long"), many, 2, 0), APR_SUCCESS);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, NULL),
                     APR_EINVAL);
    assert_int_equal(count_open_fds(), before);

    /* more descriptors than ours would ever send */
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(many));
    memcpy(CMSG_DATA(c), many, sizeof(many));
    assert_int_equal(sendmsg(s[0], &msg, 0), 4);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, NULL),
                     APR_EINVAL);
    assert_int_equal(count_open_fds(), before);

    /* the same where the credentials leave their room to them */
    i = 0;
    assert_int_equal(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &i, sizeof(i)), 0);
    assert_int_equal(sendmsg(s[0], &msg, 0), 4);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 1000, &len, got, &n, NULL),
                     APR_EINVAL);
    assert_int_equal(count_open_fds(), before);
    assert_int_equal(len, 77);
    assert_int_equal(n, 77);
    close(s[0]);
    close(s[1]);
}

static void knows_no_uid_without_credentials(void **state)
{
    int s[2], got[SSE_FDPASS_FDS_MAX];
    char buf[4];
    size_t len, n;
    uid_t uid = 0;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, s), 0);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("x"), NULL, 0, 0), APR_SUCCESS);
    assert_int_equal(sse_fdpass_recv(s[1], buf, sizeof(buf), 0, &len, got, &n, &uid), APR_SUCCESS);
    assert_int_equal(uid, (uid_t)-1);
    close(s[0]);
    close(s[1]);
}

static void memory_files_cannot_change(void **state)
{
    char *data;
    size_t len, n = 3 * 1024 * 1024;
    char *big = sse_malloc(n);
    int fd;

    memset(big, 'm', n);
    assert_int_equal(sse_fdpass_memfd("sse-test", (sse_str_t){big, n}, &fd), APR_SUCCESS);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_int_equal(ftruncate(fd, (off_t)n + 1), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, 0), -1);
    assert_int_equal(sse_fdpass_memfd_read(fd, n - 1, &data, &len), APR_EINVAL);
    assert_int_equal(sse_fdpass_memfd_read(fd, n, &data, &len), APR_SUCCESS);
    assert_int_equal(len, n);
    assert_memory_equal(data, big, n);
    free(data);
    free(big);
    close(fd);

    assert_int_equal(sse_fdpass_memfd("sse-test", SSE_STR_NONE, &fd), APR_SUCCESS);
    assert_int_equal(sse_fdpass_memfd_read(fd, 0, &data, &len), APR_SUCCESS);
    assert_int_equal(len, 0);
    free(data);
    close(fd);
}

static void reads_only_sealed_memory_files(void **state)
{
    char path[] = "/tmp/sse-test-XXXXXX", *data;
    size_t len;
    int fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING), pipes[2];

    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(sse_fdpass_memfd_read(fd, 10, &data, &len), APR_EINVAL);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(sse_fdpass_memfd_read(fd, 10, &data, &len), APR_EINVAL);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(sse_fdpass_memfd_read(fd, 10, &data, &len), APR_SUCCESS);
    assert_str(((sse_str_t){data, len}), "x");
    free(data);
    close(fd);

    fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(sse_fdpass_memfd_read(fd, 10, &data, &len), APR_EINVAL);
    close(fd);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(sse_fdpass_memfd_read(pipes[0], 10, &data, &len), APR_EINVAL);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(sse_fdpass_memfd_read(-1, 10, &data, &len), APR_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_is_as_promised),
        cmocka_unit_test(passes_data_and_descriptors),
        cmocka_unit_test(refuses_what_cannot_be_sent),
        cmocka_unit_test(times_out),
        cmocka_unit_test(waits_until_the_peer_speaks),
        cmocka_unit_test(signals_do_not_shorten_the_wait),
        cmocka_unit_test(tells_when_the_peer_is_gone),
        cmocka_unit_test(closes_descriptors_of_bad_datagrams),
        cmocka_unit_test(knows_no_uid_without_credentials),
        cmocka_unit_test(memory_files_cannot_change),
        cmocka_unit_test(reads_only_sealed_memory_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
