/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of the load client; see the header. Lines are collected up to the length that matters, so
 * the cost per stream is fixed and small however long the messages are: the client shares the
 * machine with the server it measures. */
#include "load_streams.h"

#include "load_samples.h"
#include "load_template.h"

#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void load_streams_create(load_streams_t *set, uint32_t n_streams)
{
    set->streams = calloc(n_streams, sizeof(*set->streams));
    if (!set->streams)
        err(1, "streams");
    set->n_streams = n_streams;
    for (uint32_t i = 0; i < n_streams; i++)
        set->streams[i].fd = -1;
}

void load_streams_free(load_streams_t *set)
{
    for (uint32_t i = 0; i < set->n_streams; i++)
        load_streams_close(set, i);
    free(set->streams);
    set->streams = NULL;
    set->n_streams = 0;
}

void load_streams_close(load_streams_t *set, uint32_t i)
{
    load_stream_t *s = &set->streams[i];
    if (s->state == LOAD_CLOSED)
        return;
    if (s->state == LOAD_READY)
        set->n_ready--;
    else
        set->n_opening--;
    if (s->ssl)
        load_tls_free(s->ssl);
    s->ssl = NULL;
    close(s->fd);
    s->fd = -1;
    s->state = LOAD_CLOSED;
}

void load_streams_open(load_streams_t *set, uint32_t i, bool resume)
{
    load_stream_t *s = &set->streams[i];
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + i % (set->sources ? set->sources : 1));
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    s->state = LOAD_CONNECTING;
    s->seq = LOAD_NO_SEQ;
    s->n_messages = 0;
    s->line_len = 0;
    s->h2 = (load_h2_t){0};
    s->started = load_samples_now();
    if (!resume) {
        s->last_seq = LOAD_NO_SEQ;
        s->last_id[0] = 0;
    }
    if (s->fd < 0)
        err(1, "stream %u: socket", i);
    setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(s->fd, (struct sockaddr *)&from, sizeof(from)))
        err(1, "stream %u: bind", i);
    struct sockaddr_in server = set->servers[i % set->n_servers];
    if (set->tls_port)
        server.sin_port = htons(set->tls_port);
    if (connect(s->fd, (const struct sockaddr *)&server, sizeof(server)) && errno != EINPROGRESS)
        err(1, "stream %u: connect", i);
    struct epoll_event ev = {.events = EPOLLOUT, .data.u64 = i};
    if (epoll_ctl(set->epfd, EPOLL_CTL_ADD, s->fd, &ev))
        err(1, "stream %u: epoll_ctl", i);
    set->n_opening++;
}

static void wait_for(load_streams_t *set, uint32_t i, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.u64 = i};
    if (epoll_ctl(set->epfd, EPOLL_CTL_MOD, set->streams[i].fd, &ev))
        err(1, "stream %u: epoll_ctl", i);
}

static void send_h2_request(load_streams_t *set, uint32_t i)
{
    load_stream_t *s = &set->streams[i];
    load_values_t values = {.user = i, .groups = set->groups};
    char *path = load_template_fill(set->path, &values, NULL);
    unsigned char request[2048];
    load_tls_send(s->ssl, request, load_h2_request(path, s->last_id, request));
    wait_for(set, i, EPOLLIN);
    s->state = LOAD_HEAD;
    free(path);
}

static void send_request(load_streams_t *set, uint32_t i)
{
    load_stream_t *s = &set->streams[i];
    load_values_t values = {.user = i, .groups = set->groups};
    char *path = load_template_fill(set->path, &values, NULL);
    char *headers = load_template_fill(set->headers, &values, NULL);
    char *basic = set->basic ? load_template_base64(set->basic, &values) : NULL;
    char request[2048];
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                     "%s%s%s%s%s%s%s\r\n",
                     path, headers, basic ? "Authorization: Basic " : "", basic ? basic : "",
                     basic ? "\r\n" : "", s->last_id[0] ? "Last-Event-ID: " : "", s->last_id,
                     s->last_id[0] ? "\r\n" : "");
    if (n < 0 || (size_t)n >= sizeof(request))
        errx(1, "stream: request is too long");
    if (s->ssl)
        load_tls_send(s->ssl, request, (size_t)n);
    else if (send(s->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        err(1, "stream %u: send", i);
    wait_for(set, i, EPOLLIN);
    s->state = LOAD_HEAD;
    free(path);
    free(headers);
    free(basic);
}

static void take_body_line(load_streams_t *set, uint32_t i, uint64_t now)
{
    load_stream_t *s = &set->streams[i];
    if (s->state == LOAD_BODY && !strncmp(s->line, set->ready, strlen(set->ready))) {
        s->state = LOAD_READY;
        set->n_opening--;
        set->n_ready++;
        set->on_ready(set->ctx, i);
    }
    if (!s->line[0]) {
        uint32_t seq = s->seq;
        if (seq == LOAD_NO_SEQ)
            return;
        s->seq = LOAD_NO_SEQ;
        s->n_messages++;
        set->on_message(set->ctx, i, seq, now);
        s->last_seq = seq;
    } else if (!strncmp(s->line, "id: ", 4)) {
        snprintf(s->last_id, sizeof(s->last_id), "%.63s", s->line + 4);
    } else if (!strncmp(s->line, "data: ", 6)) {
        const char *seq = strstr(s->line, "\"seq\":\"");
        if (seq)
            s->seq = (uint32_t)strtoul(seq + 7, NULL, 10);
    }
}

static void take_line(load_streams_t *set, uint32_t i, uint64_t now)
{
    load_stream_t *s = &set->streams[i];
    if (s->line_len && s->line[s->line_len - 1] == '\r')
        s->line_len--;
    s->line[s->line_len] = 0;
    if (s->state != LOAD_HEAD) {
        take_body_line(set, i, now);
    } else if (!s->line[0]) {
        s->state = LOAD_BODY;
    } else if (!strncmp(s->line, "HTTP/1.1 ", 9) && strncmp(s->line + 9, "200", 3)) {
        errx(1, "stream %u: refused: %s", i, s->line);
    }
    s->line_len = 0;
}

static void take_bytes(load_streams_t *set, uint32_t i, const char *p, size_t n, uint64_t now)
{
    load_stream_t *s = &set->streams[i];
    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t part = end ? (size_t)(end - p) : n;
        size_t room = sizeof(s->line) - 1 - s->line_len;
        size_t kept = part < room ? part : room;
        memcpy(s->line + s->line_len, p, kept);
        s->line_len = (uint16_t)(s->line_len + kept);
        if (!end)
            return;
        take_line(set, i, now);
        p += part + 1;
        n -= part + 1;
    }
}

static void take_h2(load_streams_t *set, uint32_t i, const char *p, size_t n, uint64_t now)
{
    load_stream_t *s = &set->streams[i];
    while (n) {
        load_h2_piece_t piece;
        size_t used = load_h2_take(&s->h2, p, n, &piece);
        if (piece.ack_n)
            load_tls_send(s->ssl, piece.ack, piece.ack_n);
        if (piece.answered)
            s->state = LOAD_BODY;
        if (piece.data)
            take_bytes(set, i, piece.data, piece.n, now);
        if (piece.problem)
            errx(1, "stream %u: %s after %u messages", i, piece.problem, s->n_messages);
        p += used;
        n -= used;
    }
}

/* The connection is made, or the handshake goes on. */
static void proceed(load_streams_t *set, uint32_t i)
{
    load_stream_t *s = &set->streams[i];
    int problem = 0;
    socklen_t len = sizeof(problem);
    if (s->state == LOAD_CONNECTING) {
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &problem, &len) || problem)
            errx(1, "stream %u: connect: %s", i, strerror(problem));
        if (set->tls_port)
            s->ssl = load_tls_create(s->fd, set->h2);
        s->state = LOAD_HANDSHAKE;
    }
    load_tls_want_t want = s->ssl ? load_tls_handshake(s->ssl) : LOAD_TLS_DONE;
    if (want != LOAD_TLS_DONE)
        wait_for(set, i, want == LOAD_TLS_READ ? EPOLLIN : EPOLLOUT);
    else if (set->h2)
        send_h2_request(set, i);
    else
        send_request(set, i);
}

void load_streams_event(load_streams_t *set, uint32_t i)
{
    static char buffer[65536];
    load_stream_t *s = &set->streams[i];
    if (s->state == LOAD_CLOSED)
        return; /* closed by an earlier event of the same batch */
    if (s->state <= LOAD_HANDSHAKE) {
        proceed(set, i);
        return;
    }
    do { /* TLS gives one record at a time, and epoll knows nothing of those that it has read */
        ssize_t n = s->ssl ? load_tls_recv(s->ssl, buffer, sizeof(buffer))
                           : recv(s->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n < 0 && (s->ssl || errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0)
            errx(1, "stream %u: ended by the server after %u messages: %s", i, s->n_messages,
                 n ? strerror(errno) : "end of file");
        set->bytes += (uint64_t)n;
        if (set->h2)
            take_h2(set, i, buffer, (size_t)n, load_samples_now());
        else
            take_bytes(set, i, buffer, (size_t)n, load_samples_now());
    } while (s->ssl && SSL_has_pending(s->ssl));
    if (set->once && s->state == LOAD_READY)
        load_streams_close(set, i);
}
