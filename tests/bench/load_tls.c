/* SPDX-License-Identifier: Apache-2.0 */
/* See load_tls.h. */
#include "load_tls.h"

#include <err.h>
#include <openssl/err.h>
#include <string.h>

static SSL_CTX *context(void)
{
    static SSL_CTX *ctx;
    if (!ctx) {
        ctx = SSL_CTX_new(TLS_client_method());
        if (!ctx)
            errx(1, "TLS: no context");
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_read_ahead(ctx, 1); /* else each record takes two system calls of this client */
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    }
    return ctx;
}

SSL *load_tls_create(int fd, bool h2)
{
    SSL *ssl = SSL_new(context());
    if (!ssl || !SSL_set_fd(ssl, fd) || !SSL_set_tlsext_host_name(ssl, "localhost"))
        errx(1, "TLS: no connection");
    if (h2 && SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2", 3))
        errx(1, "TLS: no ALPN");
    SSL_set_connect_state(ssl);
    return ssl;
}

load_tls_want_t load_tls_handshake(SSL *ssl)
{
    int rc = SSL_do_handshake(ssl);
    if (rc == 1)
        return LOAD_TLS_DONE;
    switch (SSL_get_error(ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return LOAD_TLS_READ;
    case SSL_ERROR_WANT_WRITE:
        return LOAD_TLS_WRITE;
    default:
        errx(1, "TLS handshake: %s", ERR_reason_error_string(ERR_get_error()));
    }
}

void load_tls_send(SSL *ssl, const void *p, size_t n)
{
    if (SSL_write(ssl, p, (int)n) != (int)n)
        errx(1, "TLS: the request could not be sent");
}

ssize_t load_tls_recv(SSL *ssl, void *p, size_t n)
{
    int got = SSL_read(ssl, p, (int)n);
    if (got > 0)
        return got;
    int why = SSL_get_error(ssl, got);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

void load_tls_free(SSL *ssl)
{
    SSL_free(ssl);
}
