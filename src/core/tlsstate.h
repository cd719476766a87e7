/* SPDX-License-Identifier: Apache-2.0 */
/* The writing side of a TLS connection as it goes from a worker to the hub: what is needed to seal
 * further records, and nothing that opens one of the client's. No cryptography here. Whoever holds
 * one wipes it (sse_crypto_wipe). Any thread. */
#ifndef SSE_TLSSTATE_H
#define SSE_TLSSTATE_H

#include "core/base.h"

#define SSE_TLS_KEY_MAX 32
#define SSE_TLS_IV_LEN 12
#define SSE_TLS_FRAGMENT_MIN 512
#define SSE_TLS_FRAGMENT_MAX 16384 /* bytes of plaintext that a record holds at most (RFC 8446) */

#define SSE_TLS_1_2 0x0303
#define SSE_TLS_1_3 0x0304

typedef enum sse_tls_cipher_t {
    SSE_TLS_AES_128_GCM = 1,
    SSE_TLS_AES_256_GCM,
    SSE_TLS_CHACHA20_POLY1305
} sse_tls_cipher_t;

typedef struct sse_tlsstate_t {
    uint16_t version;                   /* SSE_TLS_1_2 or SSE_TLS_1_3 */
    uint8_t cipher;                     /* sse_tls_cipher_t */
    uint16_t max_fragment;              /* plaintext bytes that the client takes in one record */
    uint64_t seq;                       /* of the next record */
    unsigned char key[SSE_TLS_KEY_MAX]; /* AES-128 uses the first 16 bytes, the rest is zero */
    unsigned char iv[SSE_TLS_IV_LEN];   /* TLS 1.2 GCM: 4 bytes of salt, then the explicit nonce of
                                           the next record */
} sse_tlsstate_t;

/* Bytes of a packed state. */
#define SSE_TLSSTATE_LEN (2 + 1 + 2 + 8 + SSE_TLS_KEY_MAX + SSE_TLS_IV_LEN)

size_t sse_tlsstate_key_len(uint8_t cipher); /* 0: unknown cipher */
void sse_tlsstate_pack(const sse_tlsstate_t *state, unsigned char out[SSE_TLSSTATE_LEN]);
/* APR_EINVAL: not the length, or a version, cipher or size that is none. */
apr_status_t sse_tlsstate_unpack(sse_str_t packed, sse_tlsstate_t *out_state);

#endif
