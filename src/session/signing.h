/* SPDX-License-Identifier: Apache-2.0 */
/* django.core.signing and django.utils.crypto, the reading half: signatures, base62, base64,
 * session text. No I/O; any thread. */
#ifndef SSE_SIGNING_H
#define SSE_SIGNING_H

#include "core/crypto.h"
#include <apr_pools.h>

/* django.utils.crypto.salted_hmac: HMAC whose key is the digest of salt and secret. Returns the
 * length; `out` has SSE_DIGEST_MAX bytes. */
size_t sse_salted_hmac(sse_digest_t alg, sse_str_t salt, sse_str_t secret, sse_str_t value,
                       unsigned char *out);

/* Digits, upper case, lower case; '-' before a negative number. APR_EINVAL when empty, foreign or
 * beyond 63 bits. */
apr_status_t sse_base62_parse(sse_str_t text, int64_t *out);

/* RFC 4648, strict: no foreign characters, no bits set beyond the last byte. URL-safe without
 * padding, or the standard alphabet with padding. *out is allocated in pool. */
apr_status_t sse_base64_url_decode(sse_str_t text, apr_pool_t *pool, sse_str_t *out);
apr_status_t sse_base64_std_decode(sse_str_t text, apr_pool_t *pool, sse_str_t *out);

typedef struct sse_keys_t {
    const sse_str_t
        *secrets; /* SECRET_KEY and SECRET_KEY_FALLBACKS; every one is tried, without early exit */
    size_t n;
    bool legacy_sha1; /* 27-character SHA-1 signatures (Django up to 3.2) are good too */
} sse_keys_t;

/* signing.Signer(salt=salt).unsign: *out_value is what stands before the last ':'. APR_EINVAL when
 * no key made the signature. */
apr_status_t sse_signing_unsign(const sse_keys_t *keys, sse_str_t salt, sse_str_t text,
                                sse_str_t *out_value);

/* signing.loads up to the bytes of the serializer: signature, then timestamp, base64, inflating
 * under the cap of inflate.h. Nothing is inflated before the signature is right. *out_time is the
 * time of signing in UNIX seconds; its age is the caller's to judge. */
apr_status_t sse_signing_loads(const sse_keys_t *keys, sse_str_t salt, sse_str_t text,
                               apr_pool_t *pool, sse_str_t *out_payload, int64_t *out_time);

/* The session text of Django up to 3.0 (base64 of "sha1hex:payload"). `salt` is the present one, as
 * in session_salt. */
apr_status_t sse_signing_legacy_loads(const sse_keys_t *keys, sse_str_t salt, sse_str_t text,
                                      apr_pool_t *pool, sse_str_t *out_payload);

#endif
