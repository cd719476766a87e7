/* SPDX-License-Identifier: Apache-2.0 */
/* From a live OpenSSL connection of a server to the state that seals its next record, by OpenSSL's
 * public interface alone: keys are derived anew from the connection's secret, and the sequence
 * number is the one under which a record that has just been sent opens. What opens proves all of it
 * at once: version, cipher, key, nonce and number. Nothing of httpd here; the thread that owns the
 * connection calls. */
#ifndef SSE_HTTPD_TLS_KEYS_H
#define SSE_HTTPD_TLS_KEYS_H

#include "core/tlsstate.h"

#include <openssl/ssl.h>

/* The longest traffic secret: SHA-384. */
#define SSE_TLS_SECRET_MAX 48

/* A server's traffic secret of TLS 1.3. */
typedef struct sse_tls_secret_t {
    unsigned char bytes[SSE_TLS_SECRET_MAX];
    size_t n; /* 0: none seen */
} sse_tls_secret_t;

/* Takes the server's traffic secret out of a line for SSL_CTX_set_keylog_callback; leaves *out
 * alone when the line is another. */
void sse_tls_keys_read_line(const char *line, sse_tls_secret_t *out);

/* Why this connection cannot be handed over, by version and cipher; NULL when it can. */
const char *sse_tls_keys_problem(const SSL *ssl);

/* Fills *out but for its numbers (seq 0). TLS 1.3: from `secret` after `updates` key updates;
 * TLS 1.2: from the session's master key, secret is not looked at. APR_EGENERAL when the library
 * refuses. */
apr_status_t sse_tls_keys_derive(SSL *ssl, const sse_tls_secret_t *secret, unsigned updates,
                                 sse_tlsstate_t *out);

/* `record` is the last record that the connection sent, whole: application data that ends with
 * `tail`. Sets the numbers of the next one. APR_NOTFOUND: it opens under none of the first
 * SSE_TLS_SEQ_TRIALS numbers, or does not end so. */
#define SSE_TLS_SEQ_TRIALS 1024
apr_status_t sse_tls_keys_find_seq(sse_tlsstate_t *state, sse_str_t record, sse_str_t tail);

#endif
