/* SPDX-License-Identifier: Apache-2.0 */
/* See redis_conn.h. States go forwards only: a connection that is lost is closed and another one
 * opened by its owner. */
#include "broker/redis_conn.h"

#include "broker/tlspipe.h"
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_SIZE 65536
#define TICK_MS 500

typedef enum state_t { RESOLVING, CONNECTING, GREETING, READY, LOST } state_t;

typedef struct waiter_t {
    sse_redisconn_fn fn;
    void *baton;
    uint64_t since; /* loop ms */
} waiter_t;

struct sse_redisconn_t {
    sse_redisconn_conf_t conf;
    sse_redisconn_events_t events;
    void *owner;
    state_t state;
    bool closing, has_socket, resolving;
    unsigned handles, greetings;
    uint64_t opened; /* loop ms */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } socket;
    uv_timer_t timer;
    uv_prepare_t flush;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    redisReader *reader;
    sse_tlspipe_t *tls;
    sse_buf_t out;     /* commands that wait for the end of this turn */
    waiter_t *waiters; /* a ring */
    size_t head, n, cap;
    void (*closed)(void *baton);
    void *closed_baton;
    char input[READ_SIZE];
};

/* ---- the end ---- */

static void fail_waiters(sse_redisconn_t *c)
{
    while (c->n) {
        waiter_t w = c->waiters[c->head];
        c->head = (c->head + 1) & (c->cap - 1);
        c->n--;
        if (w.fn)
            w.fn(w.baton, NULL);
    }
}

static void lose(sse_redisconn_t *c, const char *why)
{
    if (c->state == LOST || c->closing)
        return;
    char text[300];
    snprintf(text, sizeof text, "%s", why);
    c->state = LOST;
    uv_timer_stop(&c->timer);
    uv_prepare_stop(&c->flush);
    fail_waiters(c);
    if (!c->closing)
        c->events.lost(c->owner, text);
}

static void release(sse_redisconn_t *c)
{
    if (c->handles || c->resolving)
        return;
    if (c->closed)
        c->closed(c->closed_baton);
    redisReaderFree(c->reader);
    sse_tlspipe_free(c->tls);
    sse_buf_clear(&c->out);
    free(c->waiters);
    free(c);
}

static void on_closed(uv_handle_t *handle)
{
    sse_redisconn_t *c = handle->data;
    c->handles--;
    release(c);
}

void sse_redisconn_close(sse_redisconn_t *c, void (*closed)(void *baton), void *baton)
{
    c->closing = true;
    c->closed = closed;
    c->closed_baton = baton;
    fail_waiters(c);
    if (c->resolving)
        uv_cancel((uv_req_t *)&c->resolve);
    if (c->has_socket)
        uv_close(&c->socket.handle, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
    uv_close((uv_handle_t *)&c->flush, on_closed);
}

bool sse_redisconn_ready(const sse_redisconn_t *c)
{
    return c->state == READY && !c->closing;
}

/* ---- sending ---- */

typedef struct write_t {
    uv_write_t req;
    sse_redisconn_t *c;
    sse_buf_t bytes;
} write_t;

static void on_written(uv_write_t *req, int status)
{
    write_t *w = (write_t *)req;
    if (status < 0 && status != UV_ECANCELED)
        lose(w->c, uv_strerror(status));
    sse_buf_clear(&w->bytes);
    free(w);
}

/* Takes the bytes over. */
static void write_wire(sse_redisconn_t *c, sse_buf_t *bytes)
{
    if (!bytes->n) {
        sse_buf_clear(bytes);
        return;
    }
    write_t *w = sse_calloc(1, sizeof *w);
    w->c = c;
    w->bytes = *bytes;
    *bytes = (sse_buf_t){0};
    uv_buf_t buf = uv_buf_init(w->bytes.p, (unsigned)w->bytes.n);
    int rc = uv_write(&w->req, &c->socket.stream, &buf, 1, on_written);
    if (rc < 0) {
        sse_buf_clear(&w->bytes);
        free(w);
        lose(c, uv_strerror(rc));
    }
}

static void on_flush(uv_prepare_t *handle)
{
    sse_redisconn_t *c = handle->data;
    if (c->state == READY && c->events.flushing)
        c->events.flushing(c->owner);
    uv_prepare_stop(handle);
    if (c->state < GREETING || c->state == LOST || (c->tls && !sse_tlspipe_ready(c->tls)))
        return;
    sse_buf_t bytes = c->out;
    c->out = (sse_buf_t){0};
    if (c->tls) {
        char problem[256];
        sse_buf_t wire = {0};
        apr_status_t status = sse_tlspipe_write(c->tls, sse_buf_slice(&bytes), &wire, problem);
        sse_buf_clear(&bytes);
        if (status != APR_SUCCESS) {
            sse_buf_clear(&wire);
            lose(c, problem);
            return;
        }
        bytes = wire;
    }
    write_wire(c, &bytes);
}

void sse_redisconn_args(sse_buf_t *out, size_t n)
{
    sse_buf_printf(out, "*%zu\r\n", n);
}

void sse_redisconn_arg(sse_buf_t *out, sse_str_t arg)
{
    sse_buf_printf(out, "$%zu\r\n", arg.n);
    sse_buf_str(out, arg);
    sse_buf_add(out, "\r\n", 2);
}

void sse_redisconn_send(sse_redisconn_t *c, sse_str_t command, sse_redisconn_fn fn, void *baton)
{
    sse_buf_str(&c->out, command);
    if (!c->conf.pushed || c->state < READY) {
        if (c->n == c->cap) {
            size_t cap = c->cap ? 2 * c->cap : 16;
            waiter_t *ring = sse_malloc(cap * sizeof *ring);
            for (size_t i = 0; i < c->n; i++)
                ring[i] = c->waiters[(c->head + i) & (c->cap - 1)];
            free(c->waiters);
            c->waiters = ring;
            c->cap = cap;
            c->head = 0;
        }
        c->waiters[(c->head + c->n++) & (c->cap - 1)] = (waiter_t){fn, baton, uv_now(c->conf.loop)};
    }
    uv_prepare_start(&c->flush, on_flush);
}

void sse_redisconn_flush(sse_redisconn_t *c)
{
    uv_prepare_start(&c->flush, on_flush);
}

/* ---- greeting ---- */

static void on_greeted(void *baton, redisReply *reply)
{
    sse_redisconn_t *c = baton;
    char why[256] = "";
    if (reply && reply->type == REDIS_REPLY_ERROR)
        snprintf(why, sizeof why, "the server says: %s", reply->str);
    if (reply)
        freeReplyObject(reply);
    if (!reply || c->state == LOST)
        return;
    if (*why) {
        lose(c, why);
        return;
    }
    if (--c->greetings)
        return;
    c->state = READY;
    c->events.ready(c->owner);
}

static void greet_with(sse_redisconn_t *c, size_t n, const sse_str_t *args)
{
    sse_buf_t command = {0};
    sse_redisconn_args(&command, n);
    for (size_t i = 0; i < n; i++)
        sse_redisconn_arg(&command, args[i]);
    c->greetings++;
    sse_redisconn_send(c, sse_buf_slice(&command), on_greeted, c);
    sse_buf_clear(&command);
}

static void greet(sse_redisconn_t *c)
{
    c->state = GREETING;
    if (c->conf.password && c->conf.user)
        greet_with(
            c, 3, (sse_str_t[]){SSE_STR("AUTH"), sse_str(c->conf.user), sse_str(c->conf.password)});
    else if (c->conf.password)
        greet_with(c, 2, (sse_str_t[]){SSE_STR("AUTH"), sse_str(c->conf.password)});
    if (c->conf.db) {
        char db[16];
        snprintf(db, sizeof db, "%u", c->conf.db);
        greet_with(c, 2, (sse_str_t[]){SSE_STR("SELECT"), sse_str(db)});
    }
    greet_with(c, 1, (sse_str_t[]){SSE_STR("PING")});
}

/* ---- receiving ---- */

static void take_reply(sse_redisconn_t *c, redisReply *reply)
{
    if (!c->n || !c->waiters[c->head].fn) {
        if (!c->n && c->conf.pushed)
            c->events.push(c->owner, reply);
        freeReplyObject(reply);
        if (!c->n)
            return;
        c->head = (c->head + 1) & (c->cap - 1);
        c->n--;
        return;
    }
    waiter_t w = c->waiters[c->head];
    c->head = (c->head + 1) & (c->cap - 1);
    c->n--;
    w.fn(w.baton, reply);
}

static void take_plain(sse_redisconn_t *c, const char *p, size_t n)
{
    void *reply = NULL;
    if (redisReaderFeed(c->reader, p, n) != REDIS_OK) {
        lose(c, c->reader->errstr);
        return;
    }
    while (c->state != LOST && !c->closing) {
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
            lose(c, c->reader->errstr);
            return;
        }
        if (!reply)
            return;
        take_reply(c, reply);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    sse_redisconn_t *c = handle->data;
    *buf = uv_buf_init(c->input, sizeof c->input);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    sse_redisconn_t *c = stream->data;
    if (n == 0 || c->closing)
        return;
    if (n < 0) {
        lose(c, n == UV_EOF ? "the server closed the connection" : uv_strerror((int)n));
        return;
    }
    if (!c->tls) {
        take_plain(c, buf->base, (size_t)n);
        return;
    }
    char problem[256] = "the server closed the connection";
    sse_buf_t plain = {0}, wire = {0};
    bool was_ready = sse_tlspipe_ready(c->tls);
    apr_status_t status =
        sse_tlspipe_read(c->tls, (sse_str_t){buf->base, (size_t)n}, &plain, &wire, problem);
    write_wire(c, &wire);
    if (!was_ready && sse_tlspipe_ready(c->tls))
        greet(c);
    if (plain.n)
        take_plain(c, plain.p, plain.n);
    sse_buf_clear(&plain);
    if (status != APR_SUCCESS)
        lose(c, problem);
}

/* ---- connecting ---- */

static void on_connected(uv_connect_t *req, int status)
{
    sse_redisconn_t *c = req->data;
    if (c->closing || c->state == LOST)
        return;
    if (status < 0) {
        lose(c, uv_strerror(status));
        return;
    }
    uv_read_start(&c->socket.stream, on_alloc, on_read);
    if (!c->conf.tls) {
        greet(c);
        return;
    }
    char problem[256];
    sse_buf_t wire = {0};
    sse_tlspipe_conf_t conf = {c->conf.host ? c->conf.host : "localhost", c->conf.verify,
                               c->conf.ca, c->conf.cert, c->conf.key};
    if (sse_tlspipe_create(&conf, &c->tls, &wire, problem) != APR_SUCCESS)
        lose(c, problem);
    else
        write_wire(c, &wire);
}

static void connect_tcp(sse_redisconn_t *c, const struct sockaddr *address)
{
    c->state = CONNECTING;
    uv_tcp_init(c->conf.loop, &c->socket.tcp);
    c->has_socket = true;
    c->handles++;
    c->socket.handle.data = c;
    c->connect.data = c;
    uv_tcp_nodelay(&c->socket.tcp, 1);
    uv_tcp_keepalive(&c->socket.tcp, 1, 30);
    int rc = uv_tcp_connect(&c->connect, &c->socket.tcp, address, on_connected);
    if (rc < 0)
        lose(c, uv_strerror(rc));
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    sse_redisconn_t *c = req->data;
    c->resolving = false;
    if (c->closing)
        release(c);
    else if (status < 0)
        lose(c, uv_strerror(status));
    else if (c->state != LOST)
        connect_tcp(c, found->ai_addr);
    uv_freeaddrinfo(found);
}

static void on_tick(uv_timer_t *timer)
{
    sse_redisconn_t *c = timer->data;
    uint64_t now = uv_now(c->conf.loop);
    if (c->state < READY && now - c->opened > c->conf.connect_ms)
        lose(c, "no connection within the time for it");
    else if (c->n && now - c->waiters[c->head].since > c->conf.reply_ms)
        lose(c, "the server does not answer");
}

/* Begun in a turn of its own, so that no event comes within the call that opens. */
static void on_begin(uv_timer_t *timer)
{
    sse_redisconn_t *c = timer->data;
    uv_timer_start(timer, on_tick, TICK_MS, TICK_MS);
    if (c->conf.path) {
        c->state = CONNECTING;
        uv_pipe_init(c->conf.loop, &c->socket.pipe, 0);
        c->has_socket = true;
        c->handles++;
        c->socket.handle.data = c;
        c->connect.data = c;
        uv_pipe_connect(&c->connect, &c->socket.pipe, c->conf.path, on_connected);
        return;
    }
    struct sockaddr_storage address;
    if (!uv_ip4_addr(c->conf.host, c->conf.port, (struct sockaddr_in *)&address) ||
        !uv_ip6_addr(c->conf.host, c->conf.port, (struct sockaddr_in6 *)&address)) {
        connect_tcp(c, (struct sockaddr *)&address);
        return;
    }
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    snprintf(port, sizeof port, "%u", c->conf.port);
    c->resolve.data = c;
    int rc = uv_getaddrinfo(c->conf.loop, &c->resolve, on_resolved, c->conf.host, port, &hints);
    c->resolving = rc == 0;
    if (rc < 0)
        lose(c, uv_strerror(rc));
}

sse_redisconn_t *sse_redisconn_open(const sse_redisconn_conf_t *conf,
                                    const sse_redisconn_events_t *events, void *owner)
{
    sse_redisconn_t *c = sse_calloc(1, sizeof *c);
    c->conf = *conf;
    c->events = *events;
    c->owner = owner;
    c->opened = uv_now(conf->loop);
    c->reader = redisReaderCreate();
    if (!c->reader)
        abort();
    c->reader->maxbuf = 1 << 20;
    uv_timer_init(conf->loop, &c->timer);
    uv_prepare_init(conf->loop, &c->flush);
    c->handles = 2;
    c->timer.data = c->flush.data = c;
    uv_timer_start(&c->timer, on_begin, 0, 0);
    return c;
}
