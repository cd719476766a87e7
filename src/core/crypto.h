/* SPDX-License-Identifier: Apache-2.0 */
/* The only user of libcrypto outside the TLS hand-off: digests, HMAC, random bytes, comparison in
 * constant time. Thread-safe. */
#ifndef SSE_CRYPTO_H
#define SSE_CRYPTO_H

#include "core/base.h"

typedef enum sse_digest_t { SSE_SHA1, SSE_SHA256 } sse_digest_t;

#define SSE_DIGEST_MAX 32

/* Digest of the concatenated parts; returns its length (20 or 32). `out` has SSE_DIGEST_MAX bytes.
 */
size_t sse_digest(sse_digest_t alg, const sse_str_t *parts, size_t n_parts, unsigned char *out);
size_t sse_hmac(sse_digest_t alg, sse_str_t key, sse_str_t msg, unsigned char *out);
bool sse_crypto_equal(sse_str_t a, sse_str_t b); /* constant time for equal lengths */
void sse_crypto_random(void *out, size_t n);     /* aborts if the system gives none */
void sse_crypto_wipe(void *p, size_t n);
/* Lower-case hex of n bytes, NUL-terminated: `out` has 2n+1 bytes. */
void sse_crypto_hex(const void *p, size_t n, char *out);
/* APR_EINVAL unless `hex` is exactly 2n hex digits. */
apr_status_t sse_crypto_unhex(sse_str_t hex, void *out, size_t n);

#endif
