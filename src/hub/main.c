/* SPDX-License-Identifier: Apache-2.0 */
/* The sse-hub program. httpd's parent starts it with its configuration in a memory file; by hand it
 * runs from a file:
 *
 *     sse-hub --config-fd N | --config FILE | --version
 *
 * It logs to stderr, which under httpd is the error log, in lines of httpd's shape. */
#include "core/fdpass.h"
#include "core/log.h"
#include "hub/hub.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONFIG_MAX (256 * 1024)

static void log_line(sse_log_level_t level, const char *message)
{
    static const char *const names[] = {"emerg", "alert",  "crit", "error",
                                        "warn",  "notice", "info", "debug"};
    char line[2600], when[40];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof when, "%a %b %d %H:%M:%S", &tm);
    int n =
        snprintf(line, sizeof line, "[%s.%06ld %d] [sse:%s] [pid %ld] hub: %s\n", when,
                 now.tv_nsec / 1000, tm.tm_year + 1900, names[level & 7], (long)getpid(), message);
    if (n > 0 &&
        write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
        return; /* there is nowhere to say it */
}

static apr_status_t read_file(const char *path, char **out_data, size_t *out_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return APR_FROM_OS_ERROR(errno);
    apr_status_t rv = APR_EINVAL;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= CONFIG_MAX) {
        char *data = malloc((size_t)st.st_size + 1);
        ssize_t n = data ? read(fd, data, (size_t)st.st_size) : -1;
        if (n >= 0) {
            *out_data = data;
            *out_len = (size_t)n;
            rv = APR_SUCCESS;
        } else {
            free(data);
        }
    }
    close(fd);
    return rv;
}

static apr_status_t load(int argc, char **argv, sse_hubconf_t *conf, char *problem)
{
    char *data;
    size_t n;
    apr_status_t rv;
    if (!strcmp(argv[1], "--config-fd")) {
        int fd = atoi(argv[2]);
        rv = sse_fdpass_memfd_read(fd, CONFIG_MAX, &data, &n);
        close(fd);
    } else {
        rv = read_file(argv[2], &data, &n);
    }
    if (rv != APR_SUCCESS) {
        snprintf(problem, 256, "cannot read the configuration %s", argv[2]);
        return rv;
    }
    rv = sse_hubconf_read((sse_str_t){data, n}, conf, problem);
    free(data);
    return rv;
}

#ifdef __SANITIZE_ADDRESS__
/* The leak checker looks in when all keys are gone. */
static void let_leak_checker_in(void)
{
    prctl(PR_SET_DUMPABLE, 1);
}
#endif

/* Keys of clients' TLS connections pass through here: no core dump, and no other process of the
 * same user may look in (ptrace(2), /proc). */
static void keep_memory_private(void)
{
    prctl(PR_SET_DUMPABLE, 0);
#ifdef __SANITIZE_ADDRESS__
    atexit(let_leak_checker_in);
#endif
}

int main(int argc, char **argv)
{
    char problem[256] = "";
    sse_hubconf_t conf;
    sse_hub_t *hub;
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        puts("sse-hub " SSE_VERSION);
        return 0;
    }
    if (argc != 3 || (strcmp(argv[1], "--config-fd") && strcmp(argv[1], "--config"))) {
        fputs("usage: sse-hub --config-fd N | --config FILE | --version\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "sse-hub");
    keep_memory_private();
    sse_log_sink_set(log_line, SSE_LOG_NOTICE);
    sse_hubconf_init(&conf);
    if (load(argc, argv, &conf, problem) != APR_SUCCESS) {
        sse_log(SSE_LOG_CRIT, "SSE0200: the hub cannot start: %s", problem);
        sse_hubconf_clear(&conf);
        return 1;
    }
    sse_log_sink_set(log_line, (sse_log_level_t)conf.log_level);
    if (sse_hub_create(&conf, &hub, problem) != APR_SUCCESS) {
        sse_log(SSE_LOG_CRIT, "SSE0200: the hub cannot start: %s", problem);
        sse_hubconf_clear(&conf);
        return 1;
    }
    sse_hub_run(hub);
    return 0;
}
