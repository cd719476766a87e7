/* SPDX-License-Identifier: Apache-2.0 */
/* mod_ssl's hooks and the filter that sees the last record. The server's traffic secret of TLS 1.3
 * is only told during the handshake, to a key log callback; so it is kept, for connections of a
 * server with SSETLSHandoff, until the connection ends, and wiped then. */
#include "httpd/tls.h"

#include "core/crypto.h"
#include "httpd/config.h"
#include "httpd/tls_keys.h"

#include <apr_optional_hooks.h>
#include <apr_strings.h>
#include <http_connection.h>
#include <http_protocol.h>
#include <mod_ssl_openssl.h>
#include <util_filter.h>

/* OpenSSL's numbers for extra data are never given back, so they are taken once in the life of the
 * process, not with every configuration. */
#define USERDATA_KEY "mod_sse:tls"

typedef struct numbers_t {
    int of_connection; /* on SSL: tls_conn_t */
    int of_server;     /* on SSL_CTX: the callback that was there before ours */
} numbers_t;

typedef struct tls_conn_t {
    SSL *ssl;
    sse_tls_secret_t secret;
} tls_conn_t;

typedef void (*keylog_fn)(const SSL *ssl, const char *line);

/* Set while the configuration is read, by the parent's only thread. */
static numbers_t numbers = {-1, -1};
static ap_filter_rec_t *capture_filter;

/* ---- hooks ---- */

static void keylog(const SSL *ssl, const char *line)
{
    keylog_fn before = (keylog_fn)SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), numbers.of_server);
    tls_conn_t *conn = SSL_get_ex_data(ssl, numbers.of_connection);
    if (before)
        before(ssl, line);
    if (conn)
        sse_tls_keys_read_line(line, &conn->secret);
}

static bool find_numbers(apr_pool_t *process_pool)
{
    void *found = NULL;
    apr_pool_userdata_get(&found, USERDATA_KEY, process_pool);
    if (!found) {
        /* No functions of ours to free with: this code may be unloaded before OpenSSL is. */
        numbers_t *made = apr_palloc(process_pool, sizeof(*made));
        made->of_connection = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        made->of_server = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        apr_pool_userdata_set(made, USERDATA_KEY, NULL, process_pool);
        found = made;
    }
    numbers = *(const numbers_t *)found;
    return numbers.of_connection >= 0 && numbers.of_server >= 0;
}

static int init_server(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx)
{
    keylog_fn before = SSL_CTX_get_keylog_callback(ctx);
    if (is_proxy || !sse_config_global()->tls_handoff || before == keylog ||
        !find_numbers(s->process->pool))
        return OK;
    SSL_CTX_set_ex_data(ctx, numbers.of_server, (void *)before);
    SSL_CTX_set_keylog_callback(ctx, keylog);
    return OK;
}

static apr_status_t forget(void *data)
{
    tls_conn_t *conn = data;
    sse_crypto_wipe(&conn->secret, sizeof(conn->secret));
    return APR_SUCCESS;
}

static int pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    if (is_proxy || !sse_config_global()->tls_handoff || numbers.of_connection < 0)
        return OK;
    tls_conn_t *conn = apr_pcalloc(c->pool, sizeof(*conn));
    conn->ssl = ssl;
    apr_pool_cleanup_register(c->pool, conn, forget, apr_pool_cleanup_null);
    ap_set_module_config(c->conn_config, &sse_module, conn);
    SSL_set_ex_data(ssl, numbers.of_connection, conn);
    return OK;
}

/* ---- checks ---- */

/* Bytes that the client has sent behind its request would be lost, or be the hub's to answer. */
static const char *input_problem(request_rec *r, SSL *ssl)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    apr_status_t rv =
        ap_get_brigade(c->input_filters, bb, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    bool some = rv == APR_SUCCESS && !APR_BRIGADE_EMPTY(bb);
    apr_brigade_destroy(bb);
    if (some || SSL_has_pending(ssl))
        return "the client has sent more than its request";
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv))
        return "the client is gone";
    return NULL;
}

const char *sse_tls_problem(request_rec *r)
{
    const conn_rec *c = r->connection;
    const tls_conn_t *conn = ap_get_module_config(c->conn_config, &sse_module);
    if (!sse_config_global()->tls_handoff)
        return "SSETLSHandoff is Off";
    if (c->master || strcmp(ap_get_protocol((conn_rec *)c), AP_PROTOCOL_HTTP1))
        return "the protocol is not HTTP/1.x";
    if (!conn)
        return "the connection is not mod_ssl's";
    const char *problem = sse_tls_keys_problem(conn->ssl);
    if (!problem && SSL_version(conn->ssl) == TLS1_3_VERSION && !conn->secret.n)
        problem = "OpenSSL told no traffic secret";
    return problem ? problem : input_problem(r, conn->ssl);
}

/* ---- the last record ---- */

#define HEADER_LEN 5

struct sse_tls_hand_t {
    request_rec *r;
    tls_conn_t *conn;
    ap_filter_t *filter;
    bool updated; /* a key update goes before the head */
    unsigned char header[HEADER_LEN];
    size_t header_n;
    unsigned char *record; /* the record that passes, from its header on */
    size_t record_n, record_len;
};

/* Follows the record layer through what goes to the network. */
static void follow(sse_tls_hand_t *hand, const unsigned char *p, size_t n)
{
    while (n) {
        if (hand->record_n == hand->record_len) { /* between records */
            hand->header[hand->header_n++] = *p++;
            n--;
            if (hand->header_n < HEADER_LEN)
                continue;
            hand->header_n = 0;
            hand->record_len = HEADER_LEN + ((size_t)hand->header[3] << 8 | hand->header[4]);
            hand->record = apr_palloc(hand->r->pool, hand->record_len);
            memcpy(hand->record, hand->header, HEADER_LEN);
            hand->record_n = HEADER_LEN;
        }
        size_t part = hand->record_len - hand->record_n;
        if (part > n)
            part = n;
        memcpy(hand->record + hand->record_n, p, part);
        hand->record_n += part;
        p += part;
        n -= part;
    }
}

static apr_status_t capture(ap_filter_t *f, apr_bucket_brigade *bb)
{
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb);
         b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t n;
        if (APR_BUCKET_IS_METADATA(b))
            continue;
        apr_status_t rv = apr_bucket_read(b, &data, &n, APR_BLOCK_READ);
        if (rv != APR_SUCCESS)
            return rv;
        follow(f->ctx, (const unsigned char *)data, n);
    }
    return ap_pass_brigade(f->next, bb);
}

sse_tls_hand_t *sse_tls_begin(request_rec *r)
{
    conn_rec *c = r->connection;
    sse_tls_hand_t *hand = apr_pcalloc(r->pool, sizeof(*hand));
    hand->r = r;
    hand->conn = ap_get_module_config(c->conn_config, &sse_module);
    /* The hub's key is to open nothing that was sent before: it begins with this response. */
    hand->updated = SSL_version(hand->conn->ssl) == TLS1_3_VERSION &&
                    SSL_key_update(hand->conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1;
    hand->filter = ap_add_output_filter_handle(capture_filter, hand, r, c);
    return hand;
}

apr_status_t sse_tls_finish(sse_tls_hand_t *hand, sse_str_t tail, sse_tlsstate_t *out)
{
    ap_remove_output_filter(hand->filter);
    if (!hand->record || hand->record_n < hand->record_len || hand->header_n)
        return APR_NOTFOUND;
    apr_status_t rv =
        sse_tls_keys_derive(hand->conn->ssl, &hand->conn->secret, hand->updated ? 1 : 0, out);
    if (rv != APR_SUCCESS)
        return rv;
    sse_str_t record = {(const char *)hand->record, hand->record_len};
    return sse_tls_keys_find_seq(out, record, tail);
}

void sse_tls_let_go(sse_tls_hand_t *hand)
{
    SSL_set_shutdown(hand->conn->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    forget(hand->conn);
}

void sse_tls_register_hooks(void)
{
    APR_OPTIONAL_HOOK(ssl, init_server, init_server, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);
    /* Between mod_ssl's filters and the network's. */
    capture_filter = ap_register_output_filter("SSE_TLS_CAPTURE", capture, NULL,
                                               (ap_filter_type)(AP_FTYPE_CONNECTION + 7));
}
