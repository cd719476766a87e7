/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL over two memory BIOs. */
#include "broker/tlspipe.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEM_SIZE 256

struct sse_tlspipe_t {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
};

static apr_status_t fail(sse_tlspipe_t *pipe, const char *what, char *problem)
{
    long verified = pipe->ssl ? SSL_get_verify_result(pipe->ssl) : X509_V_OK;
    unsigned long error = ERR_get_error();
    const char *why = verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                      : error               ? ERR_reason_error_string(error)
                                            : NULL;
    snprintf(problem, PROBLEM_SIZE, "%s: %s", what, why ? why : "TLS failed");
    ERR_clear_error();
    return APR_EGENERAL;
}

static bool load_files(sse_tlspipe_t *pipe, const sse_tlspipe_conf_t *conf)
{
    if (conf->ca ? SSL_CTX_load_verify_locations(pipe->ctx, conf->ca, NULL) != 1
                 : SSL_CTX_set_default_verify_paths(pipe->ctx) != 1)
        return false;
    return !conf->cert ||
           (SSL_CTX_use_certificate_chain_file(pipe->ctx, conf->cert) == 1 &&
            SSL_CTX_use_PrivateKey_file(pipe->ctx, conf->key, SSL_FILETYPE_PEM) == 1);
}

static bool name_host(sse_tlspipe_t *pipe, const sse_tlspipe_conf_t *conf)
{
    unsigned char address[16];
    X509_VERIFY_PARAM *param = SSL_get0_param(pipe->ssl);
    if (inet_pton(AF_INET, conf->host, address) == 1 ||
        inet_pton(AF_INET6, conf->host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, conf->host) == 1;
    return SSL_set_tlsext_host_name(pipe->ssl, conf->host) == 1 &&
           X509_VERIFY_PARAM_set1_host(param, conf->host, 0) == 1;
}

static void take_wire(sse_tlspipe_t *pipe, sse_buf_t *wire)
{
    char *bytes;
    long n = BIO_get_mem_data(pipe->out, &bytes);
    if (n > 0)
        sse_buf_add(wire, bytes, (size_t)n);
    (void)BIO_reset(pipe->out);
}

apr_status_t sse_tlspipe_create(const sse_tlspipe_conf_t *conf, sse_tlspipe_t **out_pipe,
                                sse_buf_t *wire, char *problem)
{
    sse_tlspipe_t *pipe = sse_calloc(1, sizeof *pipe);
    apr_status_t status = APR_SUCCESS;
    ERR_clear_error();
    pipe->ctx = SSL_CTX_new(TLS_client_method());
    if (!pipe->ctx || !load_files(pipe, conf))
        status = fail(pipe, "the broker's certificate files", problem);
    if (status == APR_SUCCESS) {
        SSL_CTX_set_min_proto_version(pipe->ctx, TLS1_2_VERSION);
        SSL_CTX_set_verify(pipe->ctx, conf->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
        pipe->ssl = SSL_new(pipe->ctx);
        pipe->in = BIO_new(BIO_s_mem());
        pipe->out = BIO_new(BIO_s_mem());
        if (!pipe->ssl || !pipe->in || !pipe->out)
            abort();
        SSL_set_bio(pipe->ssl, pipe->in, pipe->out);
        SSL_set_connect_state(pipe->ssl);
        if (!name_host(pipe, conf))
            status = fail(pipe, "the broker's name", problem);
    }
    if (status != APR_SUCCESS) {
        sse_tlspipe_free(pipe);
        return status;
    }
    SSL_do_handshake(pipe->ssl);
    take_wire(pipe, wire);
    *out_pipe = pipe;
    return APR_SUCCESS;
}

void sse_tlspipe_free(sse_tlspipe_t *pipe)
{
    if (!pipe)
        return;
    SSL_free(pipe->ssl);
    SSL_CTX_free(pipe->ctx);
    free(pipe);
}

bool sse_tlspipe_ready(const sse_tlspipe_t *pipe)
{
    return SSL_is_init_finished(pipe->ssl);
}

apr_status_t sse_tlspipe_read(sse_tlspipe_t *pipe, sse_str_t from_wire, sse_buf_t *plain,
                              sse_buf_t *wire, char *problem)
{
    apr_status_t status = APR_SUCCESS;
    ERR_clear_error();
    if (from_wire.n && BIO_write(pipe->in, from_wire.p, (int)from_wire.n) != (int)from_wire.n)
        return fail(pipe, "TLS", problem);
    for (;;) {
        sse_buf_reserve(plain, 16384);
        int n = SSL_read(pipe->ssl, plain->p + plain->n, 16384);
        if (n > 0) {
            plain->n += (size_t)n;
            continue;
        }
        int error = SSL_get_error(pipe->ssl, n);
        if (error == SSL_ERROR_ZERO_RETURN)
            status = APR_EOF;
        else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            status = fail(pipe, "TLS with the broker", problem);
        break;
    }
    take_wire(pipe, wire);
    return status;
}

apr_status_t sse_tlspipe_write(sse_tlspipe_t *pipe, sse_str_t plain, sse_buf_t *wire, char *problem)
{
    ERR_clear_error();
    while (plain.n) {
        int n = plain.n > 1 << 20 ? 1 << 20 : (int)plain.n;
        n = SSL_write(pipe->ssl, plain.p, n);
        if (n <= 0)
            return fail(pipe, "TLS with the broker", problem);
        plain = (sse_str_t){plain.p + n, plain.n - (size_t)n};
        take_wire(pipe, wire);
    }
    return APR_SUCCESS;
}
