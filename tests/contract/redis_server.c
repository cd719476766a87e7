/* SPDX-License-Identifier: Apache-2.0 */
/* See redis_server.h. */
#include "redis_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "/usr/bin/redis-server"
#define START_MS 20000

static void die(const char *what)
{
    perror(what);
    exit(99);
}

static int free_port(void)
{
    for (int i = 0; i < 1000; i++) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        int port = 20000 + (int)((now.tv_nsec / 7 + getpid() * 31 + i * 97) % 12000);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int rc = bind(fd, (struct sockaddr *)&at, sizeof at);
        close(fd);
        if (rc == 0)
            return port;
    }
    die("no free port");
    return 0;
}

bool redis_server_make(redis_server_t *s)
{
    const char *tmp = getenv("TMPDIR");
    memset(s, 0, sizeof *s);
    if (access(PROGRAM, X_OK))
        return false;
    snprintf(s->dir, sizeof s->dir, "%s/sse-redis-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(s->dir))
        die(s->dir);
    snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->dir);
    s->port = free_port();
    return true;
}

static int dial(const redis_server_t *s)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

const char *redis_server_say(redis_server_t *s, const char *command)
{
    static char answer[65536];
    int fd = dial(s);
    answer[0] = '\0';
    if (fd < 0)
        return answer;
    dprintf(fd, "%s\r\n", command);
    struct pollfd p = {fd, POLLIN, 0};
    size_t n = 0;
    while (!strstr(answer, "\r\n") && n < sizeof answer - 1 && poll(&p, 1, 5000) > 0) {
        ssize_t got = read(fd, answer + n, sizeof answer - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        answer[n] = '\0';
    }
    close(fd);
    answer[strcspn(answer, "\r\n")] = '\0';
    return answer;
}

void redis_server_start(redis_server_t *s, const char *const *extra)
{
    char port[8];
    snprintf(port, sizeof port, "%d", s->port);
    const char *args[64] = {
        PROGRAM, "--port",        port,      "--bind",    "127.0.0.1", "--dir",
        s->dir,  "--unixsocket",  s->socket, "--save",    "",          "--appendonly",
        "yes",   "--appendfsync", "always",  "--logfile", "redis.log", "--enable-debug-command",
        "local"};
    size_t n = 0;
    while (args[n])
        n++;
    for (; extra && *extra && n < 63; extra++)
        args[n++] = *extra;
    s->pid = fork();
    if (s->pid < 0)
        die("fork");
    if (s->pid == 0) {
        execv(PROGRAM, (char *const *)args);
        _exit(127);
    }
    struct timespec pause = {0, 10000000};
    for (int i = 0; i < START_MS / 10; i++) {
        if (!strcmp(redis_server_say(s, "PING"), "+PONG"))
            return;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            fprintf(stderr, "redis-server ended\n");
            exit(99);
        }
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "redis-server does not answer\n");
    exit(99);
}

void redis_server_signal(redis_server_t *s, int number)
{
    kill(s->pid, number);
}

void redis_server_kill(redis_server_t *s)
{
    if (!s->pid)
        return;
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    s->pid = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void redis_server_remove(redis_server_t *s)
{
    redis_server_kill(s);
    nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
