/* SPDX-License-Identifier: Apache-2.0 */
/* One admin request on its way through the hub: from the admin handler (by a worker's channel) or
 * the admin socket, to a route, to one answer. The request owns its bytes; the answer frees it.
 * Control loop only. */
#ifndef SSE_REQUEST_H
#define SSE_REQUEST_H

#include "core/buf.h"
#include "core/json.h"

struct sse_hub_t;

typedef struct sse_answer_t {
    int status; /* HTTP status */
    const char *content_type;
    sse_str_t headers; /* "Name: value\n" lines */
    sse_str_t body;
    uint64_t ticket; /* not 0: the presence feed */
} sse_answer_t;

typedef struct sse_request_t {
    struct sse_hub_t *hub;
    sse_str_t realm, method, path, query, content_type, accept, address,
        body;           /* path and query still percent-encoded */
    bool socket;        /* came by the admin socket: JSON whatever the content type */
    const void *source; /* the worker's channel that asks, a mere name; NULL: the admin socket */
    char *name;         /* what '*' of the route's path stands for, decoded */
    size_t name_len;
    sse_json_doc_t *doc; /* the parsed body, where a route asked for it */
    void *backing;       /* owns the bytes behind the slices */
    void (*backing_free)(void *backing);
    void (*send)(void *baton, const sse_answer_t *answer);
    void *baton;
} sse_request_t;

/* Allocated with zeroes; the source fills it and hands it to sse_routes_dispatch. */
sse_request_t *sse_request_create(struct sse_hub_t *hub);

/* Each of these answers and frees the request. */
void sse_request_answer(sse_request_t *req, const sse_answer_t *answer);
void sse_request_json(sse_request_t *req, int status, sse_buf_t *body); /* clears body */
/* RFC 9457. `member` NULL, or the offending member's name ("users[2]"). */
void sse_request_problem(sse_request_t *req, int status, const char *member, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* `errors`: the JSON of the array's elements, comma-separated. */
void sse_request_problems(sse_request_t *req, int status, const char *detail, sse_str_t errors);
/* By the broker's status: 503 with Retry-After, or 400. */
void sse_request_failed(sse_request_t *req, apr_status_t status);
/* A broker's sse_done_fn whose baton is the request: {} or what went wrong. */
void sse_request_done(void *req, apr_status_t status);
/* 405 with Allow. */
void sse_request_not_allowed(sse_request_t *req, const char *allow);

/* Decoded parameter of the query; false if there is none. Caller frees *out_value. APR_EINVAL for
 * bad percent-encoding. */
apr_status_t sse_request_param(const sse_request_t *req, const char *name, char **out_value,
                               size_t *out_len);
/* Appends what a part of the path or (query: '+' is a space) of the query stands for. APR_EINVAL
 * for a bad escape or a NUL. */
apr_status_t sse_request_decode(sse_str_t in, bool query, sse_buf_t *out);

/* Parses the body as a JSON object into req->doc; on failure has answered (400, 415) and returns
 * NULL. */
const sse_json_t *sse_request_object(sse_request_t *req);

#endif
