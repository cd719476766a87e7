/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the load client's streams by OpenSSL: certificates are not checked, since what is measured
 * is the server. One thread. */
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

typedef enum load_tls_want_t { LOAD_TLS_DONE, LOAD_TLS_READ, LOAD_TLS_WRITE } load_tls_want_t;

/* A connection's TLS on a connected socket; h2 asks for that protocol. */
SSL *load_tls_create(int fd, bool h2);
/* Goes on with the handshake. Ends the program when it fails. */
load_tls_want_t load_tls_handshake(SSL *ssl);
/* The bytes must go at once: requests are short. */
void load_tls_send(SSL *ssl, const void *p, size_t n);
/* Bytes read, 0 at the end, -1 when there are none now. */
ssize_t load_tls_recv(SSL *ssl, void *p, size_t n);
void load_tls_free(SSL *ssl);

#endif
