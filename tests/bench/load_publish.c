/* SPDX-License-Identifier: Apache-2.0 */
/* Publishers of the load client; see the header. */
#include "load_publish.h"

#include "load_samples.h"

#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void connect_again(load_publisher_t *pub)
{
    int one = 1;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    const struct sockaddr *server = (const struct sockaddr *)&pub->server;
    socklen_t len = sizeof(pub->server);
    if (pub->socket) {
        if (strlen(pub->socket) >= sizeof(path.sun_path))
            errx(1, "publisher: %s is too long for a socket", pub->socket);
        strcpy(path.sun_path, pub->socket);
        server = (const struct sockaddr *)&path;
        len = sizeof(path);
    }
    if (pub->fd >= 0)
        close(pub->fd);
    pub->fd = socket(server->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pub->fd < 0 || connect(pub->fd, server, len))
        err(1, "publisher: connect");
    if (!pub->socket)
        setsockopt(pub->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = pub->tag};
    if (epoll_ctl(pub->epfd, EPOLL_CTL_ADD, pub->fd, &ev))
        err(1, "publisher: epoll_ctl");
}

void load_publish_open(load_publisher_t *pub, const struct sockaddr_in *server, const char *socket,
                       int epfd, uint64_t tag)
{
    *pub =
        (load_publisher_t){.fd = -1, .epfd = epfd, .tag = tag, .server = *server, .socket = socket};
    connect_again(pub);
}

void load_publish_close(load_publisher_t *pub)
{
    free(pub->request);
    close(pub->fd);
    pub->request = NULL;
    pub->fd = -1;
}

/* Requests of this program fit the socket buffer, or the server reads while we write: waiting here
 * is no deadlock. What a closed connection does not take is repeated when its end is read. */
static void write_request(load_publisher_t *pub)
{
    pub->request_done = 0;
    while (pub->request_done < pub->request_len) {
        ssize_t n = send(pub->fd, pub->request + pub->request_done,
                         pub->request_len - pub->request_done, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        if (n < 0 && errno != EINTR)
            err(1, "publisher: send");
        if (n > 0)
            pub->request_done += (size_t)n;
    }
}

void load_publish_send(load_publisher_t *pub, const char *path, const char *headers,
                       const char *body, size_t body_len)
{
    int n = pub->socket
                ? asprintf(&pub->request,
                           "{\"method\":\"POST\",\"path\":\"/publish\",\"body\":%s}\n", body)
                : asprintf(&pub->request,
                           "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n%s",
                           path, headers, body_len, body);
    if (n < 0)
        err(1, "publisher");
    pub->request_len = (size_t)n;
    pub->answer_len = 0;
    pub->retries = 0;
    pub->busy = true;
    pub->sent_at = load_samples_now();
    write_request(pub);
}

/* True when pub->answer holds a whole answer. */
static bool answer_complete(const load_publisher_t *pub)
{
    if (pub->socket)
        return strchr(pub->answer, '\n') != NULL;
    const char *head_end = strstr(pub->answer, "\r\n\r\n");
    if (!head_end)
        return false;
    size_t body = pub->answer_len - (size_t)(head_end + 4 - pub->answer);
    for (const char *line = strstr(pub->answer, "\r\n"); line && line < head_end;
         line = strstr(line + 2, "\r\n")) {
        if (!strncasecmp(line + 2, "content-length:", 15))
            return body >= strtoull(line + 17, NULL, 10);
        if (!strncasecmp(line + 2, "transfer-encoding: chunked", 26))
            return strstr(head_end + 2, "\r\n0\r\n\r\n") != NULL;
    }
    return true;
}

bool load_publish_event(load_publisher_t *pub)
{
    ssize_t n = recv(pub->fd, pub->answer + pub->answer_len,
                     sizeof(pub->answer) - 1 - pub->answer_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        if (pub->answer_len || pub->retries++ > 3)
            errx(1, "publisher: the server closed the connection: %s",
                 n ? strerror(errno) : "end of file");
        connect_again(pub);
        if (pub->busy)
            write_request(pub);
        return false;
    }
    if (!pub->busy)
        errx(1, "publisher: the server spoke unasked");
    pub->answer_len += (size_t)n;
    pub->answer[pub->answer_len] = 0;
    if (!answer_complete(pub)) {
        if (pub->answer_len == sizeof(pub->answer) - 1)
            errx(1, "publisher: answer is too long");
        return false;
    }
    const char *good = pub->socket ? "{\"status\":2" : "HTTP/1.1 2";
    if (strncmp(pub->answer, good, strlen(good)))
        errx(1, "publisher: refused: %s", pub->answer);
    free(pub->request);
    pub->request = NULL;
    pub->busy = false;
    pub->answer_len = 0;
    pub->retries = 0;
    return true;
}
