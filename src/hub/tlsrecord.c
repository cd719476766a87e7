/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing with libcrypto's AEAD ciphers: one context per cipher and reactor, keyed anew for every
 * record. Keeping a key schedule per stream would cost more than half a KiB each and save a fifth
 * of a microsecond. */
#include "hub/tlsrecord.h"

#include "core/buf.h"
#include "core/crypto.h"
#include <openssl/evp.h>
#include <stdlib.h>

#define HEADER_LEN 5
#define EXPLICIT_LEN 8
#define TAG_LEN 16
#define CIPHERS (SSE_TLS_CHACHA20_POLY1305 + 1)
#define WIRE_MAX (HEADER_LEN + EXPLICIT_LEN + SSE_TLS_FRAGMENT_MAX + 1 + TAG_LEN)

/* AES-GCM: RFC 8446 5.5 allows 2^24.5 full records of a key; a stream is ended at 2^24, and its
 * last records still fit below the bound. ChaCha20-Poly1305 has none that a stream could reach. */
#define GCM_RECORDS (UINT64_C(1) << 24)
#define GCM_RECORDS_LAST (GCM_RECORDS + (UINT64_C(1) << 20))

struct sse_tlssealer_t {
    EVP_CIPHER_CTX *ctx[CIPHERS]; /* by sse_tls_cipher_t */
    bool used[CIPHERS];           /* holds a stream's key */
    unsigned char wire[WIRE_MAX];
};

struct sse_tlsrecord_t {
    uint64_t seq;
    unsigned char key[SSE_TLS_KEY_MAX];
    unsigned char iv[SSE_TLS_IV_LEN];
    uint16_t max_fragment;
    uint16_t begun; /* plaintext bytes of the record under way */
    uint16_t sent;  /* bytes of it that went out */
    uint16_t version;
    uint8_t cipher;
    uint8_t type; /* of the record under way */
};

sse_tlssealer_t *sse_tlssealer_create(void)
{
    static const EVP_CIPHER *(*const ciphers[CIPHERS])(void) = {
        [SSE_TLS_AES_128_GCM] = EVP_aes_128_gcm,
        [SSE_TLS_AES_256_GCM] = EVP_aes_256_gcm,
        [SSE_TLS_CHACHA20_POLY1305] = EVP_chacha20_poly1305,
    };
    sse_tlssealer_t *sealer = sse_calloc(1, sizeof *sealer);
    for (size_t i = 1; i < CIPHERS; i++) {
        sealer->ctx[i] = EVP_CIPHER_CTX_new();
        /* The contexts keep what they fetch; a cipher that a policy forbids stays without, and no
         * record of it is ever sealed. */
        if (!sealer->ctx[i] ||
            !EVP_EncryptInit_ex(sealer->ctx[i], ciphers[i](), NULL, NULL, NULL)) {
            EVP_CIPHER_CTX_free(sealer->ctx[i]);
            sealer->ctx[i] = NULL;
        }
    }
    return sealer;
}

void sse_tlssealer_destroy(sse_tlssealer_t *sealer)
{
    if (!sealer)
        return;
    for (size_t i = 1; i < CIPHERS; i++)
        EVP_CIPHER_CTX_free(sealer->ctx[i]); /* wipes the key schedule */
    free(sealer);
}

void sse_tlssealer_rest(sse_tlssealer_t *sealer)
{
    static const unsigned char zero[SSE_TLS_KEY_MAX];
    for (size_t i = 1; i < CIPHERS; i++) {
        if (sealer->used[i])
            EVP_EncryptInit_ex(sealer->ctx[i], NULL, NULL, zero, zero);
        sealer->used[i] = false;
    }
}

sse_tlsrecord_t *sse_tlsrecord_create(const sse_tlsstate_t *state)
{
    sse_tlsrecord_t *t = sse_calloc(1, sizeof *t);
    t->seq = state->seq;
    memcpy(t->key, state->key, sizeof t->key);
    memcpy(t->iv, state->iv, sizeof t->iv);
    t->max_fragment = state->max_fragment;
    t->version = state->version;
    t->cipher = state->cipher;
    return t;
}

void sse_tlsrecord_destroy(sse_tlsrecord_t *t)
{
    if (!t)
        return;
    sse_crypto_wipe(t, sizeof *t);
    free(t);
}

static bool is_gcm(const sse_tlsrecord_t *t)
{
    return t->cipher != SSE_TLS_CHACHA20_POLY1305;
}

/* TLS 1.2 with GCM: the nonce's second part is a counter that travels with each record. */
static bool has_explicit_nonce(const sse_tlsrecord_t *t)
{
    return t->version == SSE_TLS_1_2 && is_gcm(t);
}

static size_t overhead(const sse_tlsrecord_t *t)
{
    return HEADER_LEN + TAG_LEN + (has_explicit_nonce(t) ? EXPLICIT_LEN : 0) +
           (t->version == SSE_TLS_1_3 ? 1 : 0);
}

static void put_seq(uint64_t seq, unsigned char out[8])
{
    for (int i = 7; i >= 0; i--, seq >>= 8)
        out[i] = (unsigned char)seq;
}

static void make_nonce(const sse_tlsrecord_t *t, unsigned char out[SSE_TLS_IV_LEN])
{
    unsigned char seq[8];
    memcpy(out, t->iv, SSE_TLS_IV_LEN);
    if (has_explicit_nonce(t))
        return;
    put_seq(t->seq, seq);
    for (int i = 0; i < 8; i++)
        out[SSE_TLS_IV_LEN - 8 + i] ^= seq[i];
}

/* The record's header into out; the additional data that goes with it (13 bytes at most) into aad.
 * Returns the length of that. */
static int make_header(const sse_tlsrecord_t *t, unsigned char *out, unsigned char *aad)
{
    size_t inner = t->begun + overhead(t) - HEADER_LEN;
    out[0] = t->version == SSE_TLS_1_3 ? SSE_TLS_APPLICATION_DATA : t->type;
    out[1] = 3;
    out[2] = 3;
    out[3] = (unsigned char)(inner >> 8);
    out[4] = (unsigned char)inner;
    if (t->version == SSE_TLS_1_3) {
        memcpy(aad, out, HEADER_LEN);
        return HEADER_LEN;
    }
    put_seq(t->seq, aad);
    memcpy(aad + 8, out, 3);
    aad[11] = (unsigned char)(t->begun >> 8);
    aad[12] = (unsigned char)t->begun;
    return 13;
}

static bool encrypt(EVP_CIPHER_CTX *ctx, unsigned char **at, const void *plain, size_t n)
{
    int written;
    if (!EVP_EncryptUpdate(ctx, *at, &written, plain, (int)n))
        return false;
    *at += written;
    return true;
}

/* Seals t->begun bytes of the plaintext as record t->seq into the sealer's room. */
static bool seal_record(sse_tlssealer_t *sealer, const sse_tlsrecord_t *t,
                        const struct iovec *plain, size_t n)
{
    EVP_CIPHER_CTX *ctx = sealer->ctx[t->cipher];
    unsigned char nonce[SSE_TLS_IV_LEN], aad[13], *at = sealer->wire + HEADER_LEN;
    size_t left = t->begun;
    int written;
    if (!ctx)
        return false;
    make_nonce(t, nonce);
    int aad_len = make_header(t, sealer->wire, aad);
    sealer->used[t->cipher] = true;
    if (!EVP_EncryptInit_ex(ctx, NULL, NULL, t->key, nonce) ||
        !EVP_EncryptUpdate(ctx, NULL, &written, aad, aad_len))
        return false;
    if (has_explicit_nonce(t)) {
        memcpy(at, t->iv + SSE_TLS_IV_LEN - EXPLICIT_LEN, EXPLICIT_LEN);
        at += EXPLICIT_LEN;
    }
    for (size_t i = 0; i < n && left; i++) {
        size_t part = plain[i].iov_len < left ? plain[i].iov_len : left;
        if (!encrypt(ctx, &at, plain[i].iov_base, part))
            return false;
        left -= part;
    }
    if (left || (t->version == SSE_TLS_1_3 && !encrypt(ctx, &at, &t->type, 1)) ||
        !EVP_EncryptFinal_ex(ctx, at, &written))
        return false;
    return EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, at + written);
}

apr_status_t sse_tlsrecord_seal(sse_tlssealer_t *sealer, sse_tlsrecord_t *t, uint8_t type,
                                const struct iovec *plain, size_t n, struct iovec *out_wire)
{
    if (!t->begun) {
        size_t total = 0;
        if (is_gcm(t) && t->seq >= GCM_RECORDS_LAST)
            return APR_ENOSPC;
        for (size_t i = 0; i < n && total < t->max_fragment; i++)
            total += plain[i].iov_len;
        t->begun = (uint16_t)(total < t->max_fragment ? total : t->max_fragment);
        t->type = type;
        t->sent = 0;
    }
    if (!t->begun || !seal_record(sealer, t, plain, n))
        return APR_EGENERAL;
    out_wire->iov_base = sealer->wire + t->sent;
    out_wire->iov_len = t->begun + overhead(t) - t->sent;
    return APR_SUCCESS;
}

size_t sse_tlsrecord_sent(sse_tlsrecord_t *t, size_t wire)
{
    size_t finished = t->begun;
    t->sent = (uint16_t)(t->sent + wire);
    if (t->sent < t->begun + overhead(t))
        return 0;
    t->begun = t->sent = 0;
    t->seq++;
    if (has_explicit_nonce(t)) {
        for (int i = SSE_TLS_IV_LEN - 1; i >= SSE_TLS_IV_LEN - EXPLICIT_LEN; i--)
            if (++t->iv[i])
                break;
    }
    return finished;
}

size_t sse_tlsrecord_begun(const sse_tlsrecord_t *t)
{
    return t->begun;
}

size_t sse_tlsrecord_max_fragment(const sse_tlsrecord_t *t)
{
    return t->max_fragment;
}

bool sse_tlsrecord_spent(const sse_tlsrecord_t *t)
{
    return is_gcm(t) && t->seq >= GCM_RECORDS;
}
