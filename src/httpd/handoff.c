/* SPDX-License-Identifier: Apache-2.0 */
/* The ways a stream is carried. Where the socket itself is given away, httpd writes the head and
 * lets go of the socket without shutting it down: a connection that is marked aborted is only
 * closed, and the hub's descriptor keeps the socket open. */
#include "httpd/handoff.h"

#include "core/crypto.h"
#include "core/render.h"
#include "httpd/config.h"
#include "httpd/park.h"
#include "httpd/relay.h"
#include "httpd/socketpair.h"
#include "httpd/tls.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_ssl.h>
#include <unistd.h>
#include <util_filter.h>

/* Clients come back 10 to 20 s after a fault of which nobody knows how long it lasts. */
#define RETRY_MS 10000

/* Content filters that edit the head. */
static const char *const head_filters[] = {"fixup_headers_out", "fixup_headers_err", "session_out"};

/* Protocol filters that hold or cut a body; the others make the head. */
static const char *const body_filters[] = {"byterange", "content_length", "rate_limit"};

/* Filters of the connection that leave its bytes alone. */
static const char *const plain_connection_filters[] = {"core", "log_input_output", "reqtimeout"};

static const char *const tls_filters[] = {"ssl/tls filter", "ssl/tls coalescing filter"};

static bool is_named(const ap_filter_t *f, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(f->frec->name, names[i]))
            return true;
    return false;
}

/* The first filter of the connection that changes or holds bytes; NULL when there is none. */
static const ap_filter_t *find_obstacle(const conn_rec *c, bool tls)
{
    for (const ap_filter_t *f = c->output_filters; f; f = f->next)
        if (!is_named(f, plain_connection_filters, SSE_ARRAY_LEN(plain_connection_filters)) &&
            !(tls && is_named(f, tls_filters, SSE_ARRAY_LEN(tls_filters))))
            return f;
    return NULL;
}

/* Where the socket cannot be given away, an MPM that suspends connections still holds no thread. */
static sse_carriage_t second_best(void)
{
    return sse_relay_possible() ? SSE_CARRIED_RELAY : SSE_CARRIED_PARKED;
}

sse_carriage_t sse_handoff_choose(request_rec *r)
{
    conn_rec *c = r->connection;
    if (c->master || r->main || r->proto_num >= 2000)
        return SSE_CARRIED_PARKED;
    bool tls = ap_ssl_conn_is_ssl(c);
    const ap_filter_t *obstacle = find_obstacle(c, tls);
    if (obstacle) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "no hand-off past the filter \"%s\"",
                      obstacle->frec->name);
        return second_best();
    }
    const char *problem = tls ? sse_tls_problem(r) : NULL;
    if (!problem)
        return tls ? SSE_CARRIED_TLS : SSE_CARRIED_CLEAR;
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "no hand-off of this TLS connection: %s", problem);
    return second_best();
}

/* Takes every filter off the response that could change or hold its body (compression,
 * substitution, caching, ranges); what makes or edits the head stays. */
static void strip_filters(request_rec *r)
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
    strip_filters(r);
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

/* The head is out, but there is no way to the hub: the place is given back, and the client is told
 * within the stream. */
static int give_up(request_rec *r, sse_answer_t *answer, uint64_t ticket, apr_status_t why)
{
    ap_log_rerror(APLOG_MARK, APLOG_INFO, why, r, "the stream could not be given to the hub");
    sse_hublink_release(answer, ticket);
    sse_hublink_done(answer);
    sse_buf_t body = {0};
    uint32_t ms;
    render_unavailable(&body, &ms);
    int rc = sse_handoff_send(r, sse_buf_slice(&body));
    sse_buf_clear(&body);
    return rc;
}

/* ---- the head, kept back ---- */

/* A head that httpd's filters made and that the hub is to write with the stream's first bytes: one
 * segment and one wake-up of the client instead of two. */
typedef struct head_t {
    ap_filter_t *filter;
    size_t n;
    bool passing; /* it is too large: it goes out here */
    char bytes[SSE_WIRE_HEAD_MAX];
} head_t;

static ap_filter_rec_t *head_filter;
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) * count_bytes_out;

static apr_status_t take_head(ap_filter_t *f, apr_bucket_brigade *bb)
{
    head_t *head = f->ctx;
    apr_off_t more = 0;
    apr_status_t rv = head->passing ? APR_SUCCESS : apr_brigade_length(bb, 1, &more);
    if (rv != APR_SUCCESS)
        return rv;
    if (!head->passing && head->n + (apr_size_t)more <= sizeof(head->bytes)) {
        apr_size_t n = sizeof(head->bytes) - head->n;
        rv = apr_brigade_flatten(bb, head->bytes + head->n, &n);
        head->n += n;
        apr_brigade_cleanup(bb);
        return rv;
    }
    head->passing = true;
    if (head->n)
        APR_BRIGADE_INSERT_HEAD(
            bb, apr_bucket_pool_create(head->bytes, head->n, f->r->pool, f->c->bucket_alloc));
    head->n = 0;
    return ap_pass_brigade(f->next, bb);
}

static void retrieve(void)
{
    count_bytes_out = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
}

void sse_handoff_register_hooks(void)
{
    /* Behind what makes the head, before the connection's filters. */
    head_filter = ap_register_output_filter("SSE_HEAD", take_head, NULL, AP_FTYPE_TRANSCODE);
    ap_hook_optional_fn_retrieve(retrieve, NULL, NULL, APR_HOOK_MIDDLE);
}

/* NULL where httpd itself must write: something of an earlier response may wait before it. */
static head_t *keep_head(request_rec *r, sse_carriage_t carriage)
{
    if (carriage != SSE_CARRIED_CLEAR || r->connection->data_in_output_filters)
        return NULL;
    head_t *head = apr_palloc(r->pool, sizeof(*head));
    head->n = 0;
    head->passing = false;
    head->filter = ap_add_output_filter_handle(head_filter, head, r, r->connection);
    return head;
}

/* The hub does not write it after all. */
static void send_head(request_rec *r, head_t *head)
{
    conn_rec *c = r->connection;
    if (!head || !head->n)
        return;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_brigade_write(bb, NULL, NULL, head->bytes, head->n);
    head->n = 0;
    ap_pass_brigade(c->output_filters, bb);
}

static bool write_head(request_rec *r)
{
    conn_rec *c = r->connection;
    /* An HTTP/2 stream shares its connection: what it holds back is nobody else's to count. */
    return ap_rflush(r) >= 0 && !c->aborted && (c->master || !c->data_in_output_filters);
}

/* False when the TLS connection turned out not to be one that can be given away: nothing has been
 * sent to the hub then. */
static bool give_socket(request_rec *r, sse_answer_t *answer, uint64_t ticket, sse_tls_hand_t *hand,
                        head_t *head, int *out_rc)
{
    conn_rec *c = r->connection;
    int client;
    sse_tlsstate_t state;
    unsigned char packed[SSE_TLSSTATE_LEN];
    sse_wire_attach_t attach = {.ticket = ticket, .carriage = SSE_CARRIED_CLEAR};
    apr_status_t rv = apr_os_sock_get(&client, ap_get_conn_socket(c));
    if (hand && rv == APR_SUCCESS) {
        rv = sse_tls_finish(hand, SSE_STR("\r\n\r\n"), &state);
        if (rv == APR_SUCCESS) {
            sse_tlsstate_pack(&state, packed);
            attach.carriage = SSE_CARRIED_TLS;
            attach.tls = (sse_str_t){(const char *)packed, sizeof(packed)};
        }
        sse_crypto_wipe(&state, sizeof(state));
    }
    if (rv != APR_SUCCESS)
        return false;
    if (head)
        attach.head = (sse_str_t){head->bytes, head->n};
    rv = sse_hublink_attach(answer, &attach, client);
    if (hand)
        sse_crypto_wipe(packed, sizeof(packed));
    if (rv != APR_SUCCESS) {
        send_head(r, head);
        *out_rc = give_up(r, answer, ticket, rv);
        return true;
    }
    if (attach.head.n && count_bytes_out) /* for the access log: nobody else counts them */
        count_bytes_out(c, (apr_off_t)attach.head.n);
    /* From here on the socket is the hub's: httpd must not write to it nor shut it down, whatever
     * happens. */
    if (hand)
        sse_tls_let_go(hand);
    c->aborted = 1;
    *out_rc = OK;
    return true;
}

static int relay(request_rec *r, sse_answer_t *answer, uint64_t ticket)
{
    int rc;
    apr_status_t rv = sse_relay_start(r, answer, ticket, &rc);
    return rv == APR_SUCCESS ? rc : give_up(r, answer, ticket, rv);
}

static int park(request_rec *r, sse_answer_t *answer, uint64_t ticket)
{
    int pair[2];
    const sse_wire_attach_t attach = {.ticket = ticket, .carriage = SSE_CARRIED_PARKED};
    apr_status_t rv = sse_socketpair_open(pair);
    if (rv != APR_SUCCESS)
        return give_up(r, answer, ticket, rv);
    rv = sse_hublink_attach(answer, &attach, pair[1]);
    close(pair[1]);
    int rc;
    if (rv == APR_SUCCESS) {
        sse_hublink_done(answer);
        rc = sse_park_pump(r, pair[0]);
    } else {
        rc = give_up(r, answer, ticket, rv);
    }
    close(pair[0]);
    return rc;
}

int sse_handoff_stream(request_rec *r, sse_answer_t *answer, uint64_t ticket,
                       sse_carriage_t carriage)
{
    int rc = OK;
    sse_handoff_set_head(r);
    sse_tls_hand_t *hand = carriage == SSE_CARRIED_TLS ? sse_tls_begin(r) : NULL;
    head_t *head = keep_head(r, carriage);
    bool written = write_head(r);
    if (head)
        ap_remove_output_filter(head->filter);
    if (!written) {
        sse_hublink_release(answer, ticket);
        r->connection->aborted = 1;
        return OK;
    }
    if (carriage == SSE_CARRIED_CLEAR || carriage == SSE_CARRIED_TLS) {
        if (give_socket(r, answer, ticket, hand, head, &rc))
            return rc;
        send_head(r, head);
        carriage = second_best();
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "no hand-off of this connection: its next record cannot be told");
    }
    return carriage == SSE_CARRIED_RELAY ? relay(r, answer, ticket) : park(r, answer, ticket);
}
