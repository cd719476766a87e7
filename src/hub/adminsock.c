/* SPDX-License-Identifier: Apache-2.0 */
/* Each connection keeps its owed answers in a list in the order of the requests; the head goes out
 * as soon as it is there. Reading stops while too much is owed or unsent, so a publisher that never
 * reads stops itself. */
#include "hub/adminsock.h"

#include "core/json.h"
#include "core/log.h"
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdlib.h>

#define LINE_MAX_BYTES (SSE_BATCH_BYTES_MAX + 64 * 1024)
#define OWED_MAX 1024
#define UNSENT_MAX (4 * 1024 * 1024)
#define CONNECTIONS_MAX 1024
#define KEEP_MAX (256 * 1024)

typedef struct conn_t conn_t;

/* One answer that is owed; `line` is set when it is there. */
typedef struct owed_t {
    struct owed_t *next;
    conn_t *conn;
    sse_buf_t line;
    sse_buf_t after; /* lines of the feed that came since it was asked for */
    bool done;
} owed_t;

struct conn_t {
    uv_pipe_t pipe;
    sse_adminsock_t *sock;
    unsigned refs; /* the handle, and each answer owed */
    bool closing, reading, ended;
    char *feed; /* realm of the presence feed that the connection follows */
    sse_buf_t in;
    size_t scanned; /* bytes of `in` known to hold no line end */
    owed_t *head, *last;
    size_t n_owed, unsent;
    size_t held; /* bytes of the feed that wait behind answers */
    conn_t *next, **prev;
};

struct sse_adminsock_t {
    uv_pipe_t listener;
    bool listening;
    sse_hub_t *hub;
    conn_t *conns;
    unsigned count;
};

typedef struct write_t {
    uv_write_t req;
    conn_t *conn;
    sse_buf_t bytes;
} write_t;

static void read_on(conn_t *c);

/* ---- life of a connection ---- */

static void conn_unref(conn_t *c)
{
    if (--c->refs)
        return;
    sse_buf_clear(&c->in);
    free(c->feed);
    free(c);
}

static void on_closed(uv_handle_t *handle)
{
    conn_unref(handle->data);
}

static void conn_close(conn_t *c)
{
    if (c->closing)
        return;
    c->closing = true;
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->sock->count--;
    uv_close((uv_handle_t *)&c->pipe, on_closed);
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    write_t *w = (write_t *)req;
    conn_t *c = w->conn;
    c->unsent -= w->bytes.n;
    sse_buf_clear(&w->bytes);
    free(w);
    if (status < 0)
        conn_close(c);
    else if (c->ended && !c->n_owed && !c->unsent)
        conn_close(c); /* the peer has said its last word and heard all answers */
    else
        read_on(c);
}

/* Takes the bytes. */
static void conn_write(conn_t *c, sse_buf_t *bytes)
{
    if (c->closing) {
        sse_buf_clear(bytes);
        return;
    }
    write_t *w = sse_malloc(sizeof *w);
    w->conn = c;
    w->bytes = *bytes;
    *bytes = (sse_buf_t){0};
    c->unsent += w->bytes.n;
    uv_buf_t buf = uv_buf_init(w->bytes.p, (unsigned)w->bytes.n);
    if (uv_write(&w->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written)) {
        c->unsent -= w->bytes.n;
        sse_buf_clear(&w->bytes);
        free(w);
        conn_close(c);
    }
}

static void flush_owed(conn_t *c)
{
    sse_buf_t out = {0};
    while (c->head && c->head->done) {
        owed_t *o = c->head;
        c->head = o->next;
        if (!c->head)
            c->last = NULL;
        c->n_owed--;
        c->held -= o->after.n;
        sse_buf_str(&out, sse_buf_slice(&o->line));
        sse_buf_str(&out, sse_buf_slice(&o->after));
        sse_buf_clear(&o->line);
        sse_buf_clear(&o->after);
        free(o);
    }
    if (out.n)
        conn_write(c, &out);
    sse_buf_clear(&out);
}

/* "Name: value\n" lines as a JSON object. */
static void add_headers(sse_buf_t *line, sse_str_t headers)
{
    bool first = true;
    while (headers.n) {
        const char *nl = memchr(headers.p, '\n', headers.n);
        size_t n = nl ? (size_t)(nl - headers.p) : headers.n;
        const char *colon = memchr(headers.p, ':', n);
        if (colon) {
            size_t skip = (size_t)(colon - headers.p) + 1;
            while (skip < n && headers.p[skip] == ' ')
                skip++;
            sse_buf_cstr(line, first ? "" : ",");
            sse_json_quote(line, (sse_str_t){headers.p, (size_t)(colon - headers.p)});
            sse_buf_char(line, ':');
            sse_json_quote(line, (sse_str_t){headers.p + skip, n - skip});
            first = false;
        }
        headers.p += n + (nl != NULL);
        headers.n -= n + (nl != NULL);
    }
}

static void add_body(sse_buf_t *line, const sse_answer_t *answer)
{
    sse_json_doc_t *doc;
    sse_json_error_t error;
    sse_buf_cstr(line, "},\"body\":");
    if (!answer->body.n) {
        sse_buf_cstr(line, "null");
    } else if (sse_json_parse(answer->body, &doc, &error) == APR_SUCCESS) {
        sse_json_compact(line, sse_json_root(doc)); /* no line end may stand in it */
        sse_json_free(doc);
    } else if (answer->content_type && strstr(answer->content_type, "json")) {
        /* Deeper than the parser goes, since it holds a message that is as deep as may be. Line
         * ends stand only between tokens. */
        size_t at = line->n;
        sse_buf_str(line, answer->body);
        for (; at < line->n; at++)
            if (line->p[at] == '\n' || line->p[at] == '\r')
                line->p[at] = ' ';
    } else {
        sse_json_quote(line, answer->body);
    }
}

static void send_answer(void *baton, const sse_answer_t *answer)
{
    owed_t *o = baton;
    conn_t *c = o->conn;
    sse_buf_printf(&o->line, "{\"status\":%d,\"headers\":{", answer->status);
    add_headers(&o->line, answer->headers);
    add_body(&o->line, answer);
    sse_buf_cstr(&o->line, "}\n");
    o->done = true;
    flush_owed(c);
    conn_unref(c);
}

/* ---- reading ---- */

static owed_t *owe(conn_t *c)
{
    owed_t *o = sse_calloc(1, sizeof *o);
    o->conn = c;
    if (c->last)
        c->last->next = o;
    else
        c->head = o;
    c->last = o;
    c->n_owed++;
    c->refs++;
    return o;
}

static void free_line(void *line)
{
    sse_json_doc_t **backing = line;
    sse_json_free(backing[0]);
    free(backing);
}

static void split_path(sse_str_t path, sse_request_t *req)
{
    const char *mark = path.n ? memchr(path.p, '?', path.n) : NULL;
    size_t n = mark ? (size_t)(mark - path.p) : path.n;
    req->path = (sse_str_t){path.p, n};
    if (mark)
        req->query = (sse_str_t){mark + 1, path.n - n - 1};
}

/* `text` is the line's copy behind one pointer for the document: freed together. */
static void take_line(conn_t *c, sse_str_t line)
{
    static const char *const known[] = {"realm", "method", "path", "body", NULL};
    sse_json_doc_t **backing = sse_malloc(sizeof *backing + line.n);
    char *text = (char *)(backing + 1);
    memcpy(text, line.p, line.n);
    backing[0] = NULL;
    sse_request_t *req = sse_request_create(c->sock->hub);
    req->socket = true;
    req->backing = backing;
    req->backing_free = free_line;
    req->send = send_answer;
    owed_t *owed = owe(c);
    req->baton = owed;

    sse_json_error_t error;
    if (sse_json_parse((sse_str_t){text, line.n}, &backing[0], &error) != APR_SUCCESS) {
        sse_request_problem(req, 400, NULL, "the line is not JSON: %s", error.message);
        return;
    }
    const sse_json_t *root = sse_json_root(backing[0]);
    if (sse_json_type(root) != SSE_JSON_OBJECT) {
        sse_request_problem(req, 400, NULL, "the line must be a JSON object");
        return;
    }
    if (!sse_routes_known(req, root, known))
        return;
    const sse_json_t *realm = sse_json_get(root, "realm"), *body = sse_json_get(root, "body");
    req->realm = realm ? sse_json_string(realm) : SSE_STR("default");
    const char *what = sse_name_realm_problem(req->realm);
    if (what) {
        sse_request_problem(req, 400, "realm", "the realm's name %s", what);
        return;
    }
    const sse_json_t *method = sse_json_get(root, "method"), *path = sse_json_get(root, "path");
    req->method = method ? sse_json_string(method) : SSE_STR_NONE;
    split_path(path ? sse_json_string(path) : SSE_STR_NONE, req);
    if (!req->method.n || !req->path.n) {
        sse_request_problem(req, 400, req->method.n ? "path" : "method",
                            "method and path must be strings");
        return;
    }
    if (body)
        req->body = sse_json_source(body);
    if (sse_str_eq(req->method, SSE_STR("GET")) &&
        sse_str_eq(req->path, SSE_STR("/presence/feed")) && !c->feed)
        c->feed = sse_strndup(req->realm.p, req->realm.n);
    sse_routes_dispatch(req);
}

static void take_lines(conn_t *c)
{
    while (!c->closing && c->n_owed < OWED_MAX && c->unsent < UNSENT_MAX) {
        char *nl =
            c->in.n > c->scanned ? memchr(c->in.p + c->scanned, '\n', c->in.n - c->scanned) : NULL;
        if (!nl) {
            c->scanned = c->in.n;
            break;
        }
        size_t n = (size_t)(nl - c->in.p);
        sse_str_t line = {c->in.p, n && c->in.p[n - 1] == '\r' ? n - 1 : n};
        if (line.n)
            take_line(c, line);
        memmove(c->in.p, c->in.p + n + 1, c->in.n - n - 1);
        c->in.n -= n + 1;
        c->scanned = 0;
        if (!c->in.n && c->in.cap > KEEP_MAX) /* one large line is no reason to keep its room */
            sse_buf_clear(&c->in);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    conn_t *c = handle->data;
    sse_buf_reserve(&c->in, 64 * 1024);
    *buf = uv_buf_init(c->in.p + c->in.n, (unsigned)(c->in.cap - c->in.n));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    conn_t *c = stream->data;
    if (n < 0) {
        c->ended = true;
        uv_read_stop(stream);
        c->reading = false;
        if (!c->n_owed && !c->unsent)
            conn_close(c);
        return;
    }
    c->in.n += (size_t)n;
    c->refs++;
    take_lines(c);
    if (!c->closing && c->scanned > LINE_MAX_BYTES) {
        sse_buf_t line = {0};
        sse_buf_cstr(&line, "{\"status\":413,\"headers\":{},\"body\":{\"type\":\"about:blank\","
                            "\"title\":\"Content Too Large\",\"status\":413,"
                            "\"detail\":\"a line has at most 16 MiB\"}}\n");
        conn_write(c, &line);
        c->ended = true;
    }
    read_on(c);
    conn_unref(c);
}

/* Reads while not too much is owed. */
static void read_on(conn_t *c)
{
    if (c->closing)
        return;
    if (c->n_owed < OWED_MAX && c->unsent < UNSENT_MAX)
        take_lines(c);
    bool want = !c->ended && c->n_owed < OWED_MAX && c->unsent < UNSENT_MAX;
    if (want && !c->reading)
        uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
    else if (!want && c->reading)
        uv_read_stop((uv_stream_t *)&c->pipe);
    c->reading = want;
}

static void on_connection(uv_stream_t *server, int status)
{
    sse_adminsock_t *sock = server->data;
    if (status < 0)
        return;
    conn_t *c = sse_calloc(1, sizeof *c);
    c->sock = sock;
    c->refs = 1;
    uv_pipe_init(&sock->hub->loop, &c->pipe, 0);
    c->pipe.data = c;
    c->next = sock->conns;
    c->prev = &sock->conns;
    if (c->next)
        c->next->prev = &c->next;
    sock->conns = c;
    sock->count++;
    if (uv_accept(server, (uv_stream_t *)&c->pipe) || sock->count > CONNECTIONS_MAX)
        conn_close(c);
    else
        read_on(c);
}

/* ---- the socket ---- */

sse_adminsock_t *sse_adminsock_create(sse_hub_t *hub)
{
    sse_adminsock_t *sock = sse_calloc(1, sizeof *sock);
    sock->hub = hub;
    return sock;
}

void sse_adminsock_listen(sse_adminsock_t *sock)
{
    sse_hub_t *hub = sock->hub;
    if (hub->conf.admin_fd < 0 || sock->listening)
        return;
    uv_pipe_init(&hub->loop, &sock->listener, 0);
    sock->listener.data = sock;
    sock->listening = true;
    if (uv_pipe_open(&sock->listener, (uv_file)hub->conf.admin_fd) ||
        uv_listen((uv_stream_t *)&sock->listener, 128, on_connection))
        sse_log(SSE_LOG_ERR, "SSE0205: cannot listen on the admin socket that httpd made");
}

void sse_adminsock_feed(sse_adminsock_t *sock, sse_str_t realm, sse_str_t json)
{
    conn_t *next;
    for (conn_t *c = sock->conns; c; c = next) {
        next = c->next;
        if (!c->feed || !sse_str_eq(realm, sse_str(c->feed)))
            continue;
        if (c->unsent + c->held > UNSENT_MAX) { /* a follower that does not read must begin anew */
            conn_close(c);
            continue;
        }
        if (c->last) { /* in its place behind what is still to be answered */
            sse_buf_str(&c->last->after, json);
            sse_buf_char(&c->last->after, '\n');
            c->held += json.n + 1;
            continue;
        }
        sse_buf_t line = {0};
        sse_buf_str(&line, json);
        sse_buf_char(&line, '\n');
        conn_write(c, &line);
    }
}

void sse_adminsock_close(sse_adminsock_t *sock)
{
    if (sock->listening)
        uv_close((uv_handle_t *)&sock->listener, NULL);
    sock->listening = false;
    while (sock->conns)
        conn_close(sock->conns);
}

void sse_adminsock_free(sse_adminsock_t *sock)
{
    free(sock);
}
