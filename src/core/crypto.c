/* SPDX-License-Identifier: Apache-2.0 */
/* Digests, HMAC and random bytes on OpenSSL 3. Algorithms are fetched once a process and then only
 * read, so any thread may call; a context lives for one call. */
#include "core/crypto.h"

#include "core/percent.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const digest_names[] = {[SSE_SHA1] = "SHA1", [SSE_SHA256] = "SHA256"};
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *digests[SSE_ARRAY_LEN(digest_names)];
/* HMAC contexts that know their digest but no key: calls start from a copy, which is much cheaper
 * than a fetch by name. */
static EVP_MAC_CTX *hmacs[SSE_ARRAY_LEN(digest_names)];

static void die(const char *what)
{
    fprintf(stderr, "mod_sse: libcrypto failed: %s\n", what);
    abort();
}

/* What is fetched is never freed: at exit libcrypto may be cleaned up before us. */
static void fetch(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    size_t i;

    if (!mac)
        die("no HMAC");
    for (i = 0; i < SSE_ARRAY_LEN(digests); i++) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest_names[i], 0),
            OSSL_PARAM_construct_end()};

        digests[i] = EVP_MD_fetch(NULL, digest_names[i], NULL);
        hmacs[i] = EVP_MAC_CTX_new(mac);
        if (!digests[i] || !hmacs[i] || !EVP_MAC_CTX_set_params(hmacs[i], params))
            die(digest_names[i]);
    }
    EVP_MAC_free(mac);
}

size_t sse_digest(sse_digest_t alg, const sse_str_t *parts, size_t n_parts, unsigned char *out)
{
    EVP_MD_CTX *ctx;
    unsigned int len = 0;
    size_t i;

    pthread_once(&fetch_once, fetch);
    ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestInit_ex2(ctx, digests[alg], NULL))
        die("digest");
    for (i = 0; i < n_parts; i++) {
        if (!EVP_DigestUpdate(ctx, parts[i].p, parts[i].n))
            die("digest");
    }
    if (!EVP_DigestFinal_ex(ctx, out, &len))
        die("digest");
    EVP_MD_CTX_free(ctx);
    return len;
}

size_t sse_hmac(sse_digest_t alg, sse_str_t key, sse_str_t msg, unsigned char *out)
{
    /* A NULL key would mean "the key set before". */
    const unsigned char *k = key.n ? (const unsigned char *)key.p : (const unsigned char *)"";
    EVP_MAC_CTX *ctx;
    size_t len = 0;

    pthread_once(&fetch_once, fetch);
    ctx = EVP_MAC_CTX_dup(hmacs[alg]);
    if (!ctx || !EVP_MAC_init(ctx, k, key.n, NULL) ||
        !EVP_MAC_update(ctx, (const unsigned char *)msg.p, msg.n) ||
        !EVP_MAC_final(ctx, out, &len, SSE_DIGEST_MAX))
        die("HMAC");
    EVP_MAC_CTX_free(ctx);
    return len;
}

bool sse_crypto_equal(sse_str_t a, sse_str_t b)
{
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void sse_crypto_random(void *out, size_t n)
{
    unsigned char *p = out;

    while (n) {
        int step = n > 4096 ? 4096 : (int)n;

        if (RAND_bytes(p, step) != 1)
            die("no random bytes");
        p += step;
        n -= (size_t)step;
    }
}

void sse_crypto_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

void sse_crypto_hex(const void *p, size_t n, char *out)
{
    const unsigned char *in = p;
    size_t i;

    for (i = 0; i < n; i++) {
        out[2 * i] = "0123456789abcdef"[in[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[in[i] & 15];
    }
    out[2 * n] = '\0';
}

apr_status_t sse_crypto_unhex(sse_str_t hex, void *out, size_t n)
{
    unsigned char *bytes = out;
    size_t i;

    if (hex.n / 2 != n || hex.n % 2)
        return APR_EINVAL;
    for (i = 0; i < hex.n; i++) {
        if (sse_percent_digit(hex.p[i]) < 0)
            return APR_EINVAL;
    }
    for (i = 0; i < n; i++)
        bytes[i] = (unsigned char)(sse_percent_digit(hex.p[2 * i]) * 16 +
                                   sse_percent_digit(hex.p[2 * i + 1]));
    return APR_SUCCESS;
}
