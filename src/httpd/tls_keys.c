/* SPDX-License-Identifier: Apache-2.0 */
/* Key derivation of RFC 8446 7.1 and RFC 5246 6.3 by the library's own functions, and the search
 * for the sequence number. Every copy of a secret is wiped before its function returns. */
#include "httpd/tls_keys.h"

#include "core/crypto.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#define HEADER_LEN 5
#define EXPLICIT_LEN 8
#define SALT_LEN 4
#define TAG_LEN 16
#define APPLICATION_DATA 23
#define RECORD_MAX (HEADER_LEN + SSE_TLS_FRAGMENT_MAX + 256)
#define RANDOM_LEN 32
#define MASTER_MAX 48

#define SERVER_SECRET "SERVER_TRAFFIC_SECRET_0 "

void sse_tls_keys_read_line(const char *line, sse_tls_secret_t *out)
{
    if (strncmp(line, SERVER_SECRET, sizeof(SERVER_SECRET) - 1))
        return;
    const char *hex = strchr(line + sizeof(SERVER_SECRET) - 1, ' ');
    size_t n = hex ? strlen(++hex) : 0;
    if (n && n / 2 <= sizeof(out->bytes) &&
        sse_crypto_unhex((sse_str_t){hex, n}, out->bytes, n / 2) == APR_SUCCESS)
        out->n = n / 2;
}

static uint8_t cipher_of(const SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    switch (cipher ? SSL_CIPHER_get_cipher_nid(cipher) : NID_undef) {
    case NID_aes_128_gcm:
        return SSE_TLS_AES_128_GCM;
    case NID_aes_256_gcm:
        return SSE_TLS_AES_256_GCM;
    case NID_chacha20_poly1305:
        return SSE_TLS_CHACHA20_POLY1305;
    default:
        return 0;
    }
}

const char *sse_tls_keys_problem(const SSL *ssl)
{
    int version = SSL_version(ssl);
    if (version != TLS1_2_VERSION && version != TLS1_3_VERSION)
        return "the protocol is older than TLS 1.2";
    if (!cipher_of(ssl))
        return "the cipher is none of AES-GCM and ChaCha20-Poly1305";
    if (EVP_default_properties_is_fips_enabled(NULL))
        return "OpenSSL is in FIPS mode";
    return NULL;
}

/* HKDF-Expand-Label with an empty context. */
static bool expand_label(const EVP_MD *md, const unsigned char *secret, size_t n, const char *label,
                         unsigned char *out, size_t out_len)
{
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)"tls13 ", 6),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    bool done = ctx && EVP_KDF_derive(ctx, out, out_len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return done;
}

static bool derive_1_3(const EVP_MD *md, const sse_tls_secret_t *secret, unsigned updates,
                       sse_tlsstate_t *out)
{
    unsigned char now[SSE_TLS_SECRET_MAX], next[SSE_TLS_SECRET_MAX];
    bool done = secret->n == (size_t)EVP_MD_get_size(md);
    if (done)
        memcpy(now, secret->bytes, secret->n);
    for (unsigned i = 0; done && i < updates; i++) {
        done = expand_label(md, now, secret->n, "traffic upd", next, secret->n);
        memcpy(now, next, sizeof(now));
    }
    done = done &&
           expand_label(md, now, secret->n, "key", out->key, sse_tlsstate_key_len(out->cipher)) &&
           expand_label(md, now, secret->n, "iv", out->iv, SSE_TLS_IV_LEN);
    sse_crypto_wipe(now, sizeof(now));
    sse_crypto_wipe(next, sizeof(next));
    return done;
}

static bool key_expansion(SSL *ssl, const EVP_MD *md, const unsigned char *master, size_t n,
                          unsigned char *out, size_t out_len)
{
    unsigned char client[RANDOM_LEN], server[RANDOM_LEN];
    if (SSL_get_client_random(ssl, client, sizeof(client)) != sizeof(client) ||
        SSL_get_server_random(ssl, server, sizeof(server)) != sizeof(server))
        return false;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, (void *)master, n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)"key expansion", 13),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, server, sizeof(server)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, client, sizeof(client)),
        OSSL_PARAM_construct_end(),
    };
    bool done = ctx && EVP_KDF_derive(ctx, out, out_len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return done;
}

/* AEAD ciphers have no MAC keys: the block is both keys, then both implicit nonces, the client's
 * first. */
static bool derive_1_2(SSL *ssl, const EVP_MD *md, sse_tlsstate_t *out)
{
    unsigned char master[MASTER_MAX], block[2 * SSE_TLS_KEY_MAX + 2 * SSE_TLS_IV_LEN];
    size_t key = sse_tlsstate_key_len(out->cipher);
    size_t iv = out->cipher == SSE_TLS_CHACHA20_POLY1305 ? SSE_TLS_IV_LEN : SALT_LEN;
    const SSL_SESSION *session = SSL_get_session(ssl);
    size_t n = session ? SSL_SESSION_get_master_key(session, master, sizeof(master)) : 0;
    bool done = n && key_expansion(ssl, md, master, n, block, 2 * key + 2 * iv);
    if (done) {
        memcpy(out->key, block + key, key);
        memcpy(out->iv, block + 2 * key + iv, iv);
    }
    sse_crypto_wipe(master, sizeof(master));
    sse_crypto_wipe(block, sizeof(block));
    return done;
}

apr_status_t sse_tls_keys_derive(SSL *ssl, const sse_tls_secret_t *secret, unsigned updates,
                                 sse_tlsstate_t *out)
{
    sse_tlsstate_t state = {0};
    const SSL_SESSION *session = SSL_get_session(ssl);
    uint8_t code = session ? SSL_SESSION_get_max_fragment_length(session) : 0;
    state.version = (uint16_t)SSL_version(ssl);
    state.cipher = cipher_of(ssl);
    /* RFC 6066 4: 2^9 to 2^12. */
    state.max_fragment =
        (uint16_t)(code >= TLSEXT_max_fragment_length_512 && code <= TLSEXT_max_fragment_length_4096
                       ? 256u << code
                       : SSE_TLS_FRAGMENT_MAX);
    const EVP_MD *md =
        state.cipher ? SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl)) : NULL;
    bool done = md && (state.version == SSE_TLS_1_3 ? derive_1_3(md, secret, updates, &state)
                                                    : derive_1_2(ssl, md, &state));
    if (done)
        *out = state;
    sse_crypto_wipe(&state, sizeof(state));
    return done ? APR_SUCCESS : APR_EGENERAL;
}

/* ---- the sequence number ---- */

typedef struct record_t {
    const unsigned char *header, *sealed;
    size_t n; /* of sealed, without the tag */
    bool explicit_nonce, is_1_3;
} record_t;

static bool parse_record(const sse_tlsstate_t *state, sse_str_t bytes, record_t *out)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    if (bytes.n < HEADER_LEN + TAG_LEN || bytes.n > RECORD_MAX || p[0] != APPLICATION_DATA ||
        HEADER_LEN + ((size_t)p[3] << 8 | p[4]) != bytes.n)
        return false;
    out->header = p;
    out->is_1_3 = state->version == SSE_TLS_1_3;
    out->explicit_nonce = !out->is_1_3 && state->cipher != SSE_TLS_CHACHA20_POLY1305;
    size_t skip = HEADER_LEN + (out->explicit_nonce ? EXPLICIT_LEN : 0);
    if (bytes.n < skip + TAG_LEN)
        return false;
    out->sealed = p + skip;
    out->n = bytes.n - skip - TAG_LEN;
    return true;
}

static void put_seq(uint64_t seq, unsigned char out[8])
{
    for (int i = 7; i >= 0; i--, seq >>= 8)
        out[i] = (unsigned char)seq;
}

static bool opens(EVP_CIPHER_CTX *ctx, const sse_tlsstate_t *state, const record_t *r, uint64_t seq,
                  unsigned char *plain)
{
    unsigned char nonce[SSE_TLS_IV_LEN], aad[13];
    int n, aad_len = HEADER_LEN;
    memcpy(nonce, state->iv, sizeof(nonce));
    put_seq(seq, aad);
    if (r->explicit_nonce)
        memcpy(nonce + SALT_LEN, r->header + HEADER_LEN, EXPLICIT_LEN);
    else
        for (int i = 0; i < 8; i++)
            nonce[SALT_LEN + i] ^= aad[i];
    if (r->is_1_3) {
        memcpy(aad, r->header, HEADER_LEN);
    } else {
        memcpy(aad + 8, r->header, 3);
        aad[11] = (unsigned char)(r->n >> 8);
        aad[12] = (unsigned char)r->n;
        aad_len = sizeof(aad);
    }
    return EVP_DecryptInit_ex(ctx, NULL, NULL, state->key, nonce) &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, (void *)(r->sealed + r->n)) &&
           EVP_DecryptUpdate(ctx, NULL, &n, aad, aad_len) &&
           EVP_DecryptUpdate(ctx, plain, &n, r->sealed, (int)r->n) &&
           EVP_DecryptFinal_ex(ctx, plain + n, &n) > 0;
}

/* TLS 1.3 puts the content's type and padding behind it. */
static bool ends_with(const record_t *r, const unsigned char *plain, sse_str_t tail)
{
    size_t n = r->n;
    if (r->is_1_3) {
        while (n && !plain[n - 1])
            n--;
        if (!n || plain[--n] != APPLICATION_DATA)
            return false;
    }
    return n >= tail.n && !memcmp(plain + n - tail.n, tail.p, tail.n);
}

static bool start_cipher(EVP_CIPHER_CTX *ctx, const sse_tlsstate_t *state)
{
    const EVP_CIPHER *cipher = state->cipher == SSE_TLS_AES_128_GCM   ? EVP_aes_128_gcm()
                               : state->cipher == SSE_TLS_AES_256_GCM ? EVP_aes_256_gcm()
                                                                      : EVP_chacha20_poly1305();
    return ctx && EVP_DecryptInit_ex(ctx, cipher, NULL, NULL, NULL);
}

apr_status_t sse_tls_keys_find_seq(sse_tlsstate_t *state, sse_str_t record, sse_str_t tail)
{
    unsigned char plain[RECORD_MAX];
    record_t r;
    apr_status_t rv = APR_NOTFOUND;
    if (!parse_record(state, record, &r))
        return APR_NOTFOUND;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ready = start_cipher(ctx, state);
    for (uint64_t seq = 0; ready && seq < SSE_TLS_SEQ_TRIALS; seq++) {
        if (!opens(ctx, state, &r, seq, plain))
            continue;
        if (ends_with(&r, plain, tail)) {
            state->seq = seq + 1;
            rv = APR_SUCCESS;
        }
        break;
    }
    if (rv == APR_SUCCESS && r.explicit_nonce) {
        memcpy(state->iv + SALT_LEN, r.header + HEADER_LEN, EXPLICIT_LEN);
        for (int i = SSE_TLS_IV_LEN - 1; i >= SALT_LEN; i--)
            if (++state->iv[i])
                break;
    }
    EVP_CIPHER_CTX_free(ctx); /* wipes the key schedule */
    sse_crypto_wipe(plain, r.n);
    return rv;
}
