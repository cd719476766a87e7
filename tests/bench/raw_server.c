/* SPDX-License-Identifier: Apache-2.0 */
/* The floor that script/bench measures against: a server that can only accept sockets and, for each
 * POST, send() the request's body to all of them in a loop. No frames, users, queues or history;
 * one thread. The cheapest that fan-out over TCP can be with a system call per delivery. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 20000, MAX_REQUEST = 65536 };

static int streams[MAX_FDS];
static size_t n_streams;

static const char stream_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: open\n\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static void send_to_all(const char *data, size_t len)
{
    for (size_t i = 0; i < n_streams;) {
        if (send(streams[i], data, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len) {
            i++;
            continue;
        }
        close(streams[i]);
        streams[i] = streams[--n_streams];
    }
}

/* False: the descriptor is no request connection any more. */
static bool serve(int epfd, int fd)
{
    static char request[MAX_REQUEST + 1];
    size_t len = 0, body_len = 0;
    const char *body = NULL;
    do {
        ssize_t n = recv(fd, request + len, MAX_REQUEST - len, 0);
        if (n <= 0) {
            close(fd);
            return false;
        }
        len += (size_t)n;
        request[len] = 0;
        const char *end = strstr(request, "\r\n\r\n");
        const char *length = strcasestr(request, "content-length:");
        if (!end)
            continue;
        body = end + 4;
        body_len = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
    } while (!body || len - (size_t)(body - request) < body_len);
    if (!strncmp(request, "POST ", 5)) {
        send_to_all(body, body_len);
        return send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) > 0;
    }
    epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL);
    if (n_streams == MAX_FDS || send(fd, stream_head, sizeof(stream_head) - 1, MSG_NOSIGNAL) < 0)
        close(fd);
    else
        streams[n_streams++] = fd;
    return false;
}

static void accept_one(int epfd, int listener)
{
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev))
        close(fd);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    struct rlimit files;
    int one = 1;
    if (argc != 2)
        errx(2, "usage: bench-raw PORT");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    here.sin_port = htons((uint16_t)atoi(argv[1]));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 4096))
        err(1, "port %s", argv[1]);
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = listener};
    if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &ev))
        err(1, "epoll");
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epfd, events, 64, -1);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_one(epfd, listener);
            else
                serve(epfd, events[i].data.fd);
        }
    }
}
