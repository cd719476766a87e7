/* SPDX-License-Identifier: Apache-2.0 */
/* See request.h. */
#include "hub/request.h"

#include "core/percent.h"
#include "hub/hub.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

sse_request_t *sse_request_create(sse_hub_t *hub)
{
    sse_request_t *req = sse_calloc(1, sizeof *req);
    req->hub = hub;
    return req;
}

void sse_request_answer(sse_request_t *req, const sse_answer_t *answer)
{
    req->send(req->baton, answer);
    sse_json_free(req->doc);
    if (req->backing_free)
        req->backing_free(req->backing);
    free(req->name);
    free(req);
}

void sse_request_json(sse_request_t *req, int status, sse_buf_t *body)
{
    sse_answer_t answer = {
        .status = status, .content_type = "application/json", .body = sse_buf_slice(body)};
    sse_request_answer(req, &answer);
    sse_buf_clear(body);
}

static const char *title(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 503:
        return "Service Unavailable";
    default:
        return "Error";
    }
}

static void send_problem(sse_request_t *req, int status, const char *detail, sse_str_t errors,
                         const char *headers)
{
    sse_buf_t body = {0};
    sse_buf_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":",
                   title(status), status);
    sse_json_quote(&body, sse_str(detail));
    if (errors.n) {
        sse_buf_cstr(&body, ",\"errors\":[");
        sse_buf_str(&body, errors);
        sse_buf_char(&body, ']');
    }
    sse_buf_char(&body, '}');
    sse_answer_t answer = {.status = status,
                           .content_type = "application/problem+json",
                           .headers = sse_str(headers),
                           .body = sse_buf_slice(&body)};
    sse_request_answer(req, &answer);
    sse_buf_clear(&body);
}

void sse_request_problem(sse_request_t *req, int status, const char *member, const char *fmt, ...)
{
    char detail[600];
    sse_buf_t errors = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    if (member) {
        sse_buf_cstr(&errors, "{\"member\":");
        sse_json_quote(&errors, sse_str(member));
        sse_buf_cstr(&errors, ",\"detail\":");
        sse_json_quote(&errors, sse_str(detail));
        sse_buf_char(&errors, '}');
    }
    send_problem(req, status, detail, sse_buf_slice(&errors), NULL);
    sse_buf_clear(&errors);
}

void sse_request_problems(sse_request_t *req, int status, const char *detail, sse_str_t errors)
{
    send_problem(req, status, detail, errors, NULL);
}

void sse_request_failed(sse_request_t *req, apr_status_t status)
{
    if (status == APR_EINVAL)
        send_problem(req, 400, "the broker refused the request as invalid", SSE_STR_NONE, NULL);
    else
        send_problem(req, 503,
                     "the broker is away or cannot write; the outcome is open: repeat with a key",
                     SSE_STR_NONE, "Retry-After: 2\n");
}

void sse_request_done(void *req, apr_status_t status)
{
    sse_buf_t body = {0};
    if (status != APR_SUCCESS) {
        sse_request_failed(req, status);
        return;
    }
    sse_buf_cstr(&body, "{}");
    sse_request_json(req, 200, &body);
}

void sse_request_not_allowed(sse_request_t *req, const char *allow)
{
    char headers[64], detail[200];
    snprintf(headers, sizeof headers, "Allow: %s\n", allow);
    snprintf(detail, sizeof detail, "%.*s is not a method of this path; allowed: %s",
             (int)(req->method.n < 20 ? req->method.n : 20), req->method.p, allow);
    send_problem(req, 405, detail, SSE_STR_NONE, headers);
}

/* ---- query and path ---- */

apr_status_t sse_request_decode(sse_str_t in, bool query, sse_buf_t *out)
{
    size_t n;
    sse_buf_reserve(out, in.n);
    if (sse_percent_decode(in, query, out->p + out->n, &n) != APR_SUCCESS ||
        memchr(out->p + out->n, '\0', n))
        return APR_EINVAL;
    out->n += n;
    return APR_SUCCESS;
}

apr_status_t sse_request_param(const sse_request_t *req, const char *name, char **out_value,
                               size_t *out_len)
{
    const char *p = req->query.p, *end = p + req->query.n;
    size_t name_len = strlen(name);
    while (p && p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp ? amp : end;
        const char *eq = memchr(p, '=', (size_t)(stop - p));
        if (eq && (size_t)(eq - p) == name_len && !memcmp(p, name, name_len)) {
            sse_buf_t value = {0};
            sse_buf_reserve(&value, 1);
            if (sse_request_decode((sse_str_t){eq + 1, (size_t)(stop - eq - 1)}, true, &value) !=
                APR_SUCCESS) {
                sse_buf_clear(&value);
                return APR_EINVAL;
            }
            *out_len = value.n;
            sse_buf_char(&value, '\0');
            *out_value = value.p;
            return APR_SUCCESS;
        }
        p = stop + 1;
    }
    return APR_NOTFOUND;
}

/* ---- body ---- */

static bool is_json(sse_str_t type)
{
    static const char json[] = "application/json";
    size_t n = sizeof json - 1;
    return type.n >= n && !strncasecmp(type.p, json, n) &&
           (type.n == n || type.p[n] == ';' || isspace((unsigned char)type.p[n]));
}

const sse_json_t *sse_request_object(sse_request_t *req)
{
    sse_json_error_t error;
    if (!req->socket && !is_json(req->content_type)) {
        sse_request_problem(req, 415, NULL, "the body must be application/json");
        return NULL;
    }
    if (sse_json_parse(req->body, &req->doc, &error) != APR_SUCCESS) {
        sse_request_problem(req, 400, NULL, "the body is not JSON: %s", error.message);
        return NULL;
    }
    const sse_json_t *root = sse_json_root(req->doc);
    if (sse_json_type(root) != SSE_JSON_OBJECT) {
        sse_request_problem(req, 400, NULL, "the body must be a JSON object");
        return NULL;
    }
    return root;
}
