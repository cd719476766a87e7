/* SPDX-License-Identifier: Apache-2.0 */
/* The child's way from fork to exec. The parent has one thread, so that the child may call what it
 * likes; it keeps to plain system calls all the same and owns nothing. */
#include "httpd/hubspawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FREE_FD 7
#define FDS_ASIDE 64        /* above all that the hub gets */
#define FDS_DEFAULT 1048576 /* descriptors that root gives a hub without SSEMaxStreams */
#define FDS_BESIDE 1024     /* descriptors that are no streams */

/* A line of httpd's shape on stderr, which is the error log. */
static void fail(const char *code_and_what, const char *detail)
{
    char stamp[64] = "";
    int err = errno;
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%a %b %d %H:%M:%S", &tm);
    dprintf(2, "[%s.%06ld %d] [sse:error] [pid %ld] (%d)%s: %s%s\n", stamp, now.tv_nsec / 1000,
            tm.tm_year + 1900, (long)getpid(), err, strerror(err), code_and_what, detail);
    _exit(SSE_HUBSPAWN_FAILED);
}

static void reset_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static rlim_t kernel_limit(void)
{
    char text[32] = "";
    int fd = open("/proc/sys/fs/nr_open", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    rlim_t limit = (rlim_t)strtoull(text, NULL, 10);
    return limit ? limit : FDS_DEFAULT;
}

/* As root up to what is wanted, else up to the hard limit. A refusal is no failure: the hub counts
 * what it has got. */
static void raise_limit(int64_t max_streams)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    rlim_t wanted = max_streams ? (rlim_t)max_streams + FDS_BESIDE : FDS_DEFAULT;
    rlim_t most = kernel_limit();
    if (wanted > most)
        wanted = most;
    struct rlimit raised = {wanted > limit.rlim_cur ? wanted : limit.rlim_cur,
                            wanted > limit.rlim_max ? wanted : limit.rlim_max};
    if (!setrlimit(RLIMIT_NOFILE, &raised))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void drop_privileges(const sse_hubspawn_t *spawn)
{
    if (!spawn->drop)
        return;
    int rc =
        spawn->user_name ? initgroups(spawn->user_name, spawn->gid) : setgroups(1, &spawn->gid);
    if (setgid(spawn->gid) || rc || setuid(spawn->uid))
        fail("SSE0114: the hub cannot become httpd's User ",
             spawn->user_name ? spawn->user_name : "");
}

/* Puts the four descriptors at their numbers, inheritable, and closes all others but the standard
 * ones. */
static void place_descriptors(const sse_hubspawn_t *spawn)
{
    int from[] = {spawn->config_fd, spawn->rendezvous_fd, spawn->parent_fd, spawn->admin_fd};
    bool failed = false;
    for (size_t i = 0; i < SSE_ARRAY_LEN(from); i++) {
        if (from[i] < 0)
            continue;
        from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FDS_ASIDE);
        failed = failed || from[i] < 0;
    }
    for (size_t i = 0; i < SSE_ARRAY_LEN(from); i++) {
        int to = SSE_HUBSPAWN_CONFIG_FD + (int)i;
        if (from[i] < 0)
            close(to);
        else
            failed = failed || dup2(from[i], to) < 0;
    }
    if (failed)
        fail("SSE0115: the hub cannot inherit a descriptor", "");
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
    }
    if (syscall(SYS_close_range, FIRST_FREE_FD, ~0U, 0)) {
        struct rlimit limit;
        int last = getrlimit(RLIMIT_NOFILE, &limit) ? 65536 : (int)limit.rlim_cur;
        for (int fd = FIRST_FREE_FD; fd < last; fd++)
            close(fd);
    }
}

static void become_hub(const sse_hubspawn_t *spawn, pid_t parent)
{
    reset_signals();
    setpgid(0, 0);
    place_descriptors(spawn);
    raise_limit(spawn->max_streams);
    drop_privileges(spawn);
    /* The lifeline may be held open by a process that another module forked from the parent. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    struct timespec delay = {spawn->delay_ms / 1000, spawn->delay_ms % 1000 * 1000000L};
    while (nanosleep(&delay, &delay) && errno == EINTR)
        ;
    char number[16];
    snprintf(number, sizeof(number), "%d", SSE_HUBSPAWN_CONFIG_FD);
    char *const argv[] = {(char *)spawn->program, "--config-fd", number, NULL};
    execv(spawn->program, argv);
    fail("SSE0116: cannot execute SSEHubProgram ", spawn->program);
}

apr_status_t sse_hubspawn_fork(const sse_hubspawn_t *spawn, pid_t *out_pid)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (!pid)
        become_hub(spawn, parent);
    *out_pid = pid;
    return APR_SUCCESS;
}
