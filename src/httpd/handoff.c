/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-off of a clear HTTP/1.x stream. httpd writes the head and lets go of the socket without
 * shutting it down: a connection that is marked aborted is only closed, and the hub's descriptor
 * keeps the socket open. */
#include "httpd/handoff.h"

#include "core/crypto.h"
#include "core/render.h"
#include "httpd/config.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <util_filter.h>

/* Clients come back 10 to 20 s after a fault of which nobody knows how long it lasts. */
#define RETRY_MS 10000

/* Content filters that edit the head. */
static const char *const head_filters[] = {"fixup_headers_out", "fixup_headers_err", "session_out"};

/* Protocol filters that hold or cut a body; the others make the head. */
static const char *const body_filters[] = {"byterange", "content_length", "rate_limit"};

/* Filters of the connection that leave its bytes alone. */
static const char *const plain_connection_filters[] = {"core", "log_input_output", "reqtimeout"};

static bool is_named(const ap_filter_t *f, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(f->frec->name, names[i]))
            return true;
    return false;
}

bool sse_handoff_possible(const request_rec *r)
{
    const conn_rec *c = r->connection;
    if (c->master || r->main || ap_ssl_conn_is_ssl((conn_rec *)c) || r->proto_num >= 2000)
        return false;
    for (const ap_filter_t *f = c->output_filters; f; f = f->next)
        if (!is_named(f, plain_connection_filters, SSE_ARRAY_LEN(plain_connection_filters))) {
            ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "no hand-off past the filter \"%s\"",
                          f->frec->name);
            return false;
        }
    return true;
}

void sse_handoff_strip_filters(request_rec *r)
{
    ap_filter_t *next;
    for (ap_filter_t *f = r->output_filters; f && f->frec->ftype < AP_FTYPE_CONNECTION; f = next) {
        next = f->next;
        bool content = f->frec->ftype < AP_FTYPE_PROTOCOL;
        if (content ? !is_named(f, head_filters, SSE_ARRAY_LEN(head_filters))
                    : is_named(f, body_filters, SSE_ARRAY_LEN(body_filters)))
            ap_remove_output_filter(f);
    }
}

void sse_handoff_set_head(request_rec *r)
{
    r->status = HTTP_OK;
    ap_set_content_type(r, "text/event-stream");
    apr_table_setn(r->headers_out, "Cache-Control", "private, no-cache, no-store, no-transform");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no");
    apr_table_unset(r->headers_out, "Content-Length");
    apr_table_unset(r->headers_out, "Accept-Ranges");
    /* Before the head, so that the body is not chunked. */
    r->connection->keepalive = AP_CONN_CLOSE;
    sse_handoff_strip_filters(r);
}

int sse_handoff_send(request_rec *r, sse_str_t body)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_brigade_write(bb, NULL, NULL, body.p, body.n);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(c->bucket_alloc));
    return ap_pass_brigade(r->output_filters, bb) == APR_SUCCESS ? OK : DONE;
}

static void render_unavailable(sse_buf_t *out, uint32_t *out_ms)
{
    uint32_t jitter;
    sse_crypto_random(&jitter, sizeof(jitter));
    *out_ms = RETRY_MS + jitter % RETRY_MS;
    sse_render_retry(out, *out_ms);
    sse_render_end(out, (sse_pos_t){0, 0}, SSE_END_UNAVAILABLE);
}

int sse_handoff_send_unavailable(request_rec *r)
{
    sse_buf_t body = {0};
    uint32_t ms;
    render_unavailable(&body, &ms);
    sse_handoff_set_head(r);
    apr_table_setn(r->headers_out, "Retry-After", apr_psprintf(r->pool, "%u", ms / 1000 + 1));
    int rc = sse_handoff_send(r, sse_buf_slice(&body));
    sse_buf_clear(&body);
    return rc;
}

/* The head is out, but the hub did not take the socket: the client is told within the stream. */
static int end_in_body(request_rec *r)
{
    sse_buf_t body = {0};
    uint32_t ms;
    render_unavailable(&body, &ms);
    int rc = sse_handoff_send(r, sse_buf_slice(&body));
    sse_buf_clear(&body);
    return rc;
}

static bool write_head(request_rec *r)
{
    conn_rec *c = r->connection;
    return ap_rflush(r) >= 0 && !c->aborted && !c->data_in_output_filters;
}

int sse_handoff_stream(request_rec *r, sse_answer_t *answer, uint64_t ticket)
{
    conn_rec *c = r->connection;
    int client = -1;
    sse_handoff_set_head(r);
    if (!write_head(r) || apr_os_sock_get(&client, ap_get_conn_socket(c)) != APR_SUCCESS) {
        sse_hublink_release(answer, ticket);
        c->aborted = 1;
        return OK;
    }
    apr_status_t rv = sse_hublink_attach(answer, ticket, client);
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "the hub went away before the hand-off");
        return end_in_body(r);
    }
    /* From here on the socket is the hub's: httpd must not write to it nor shut it down. */
    c->aborted = 1;
    return OK;
}
