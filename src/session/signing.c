/* SPDX-License-Identifier: Apache-2.0 */
/* django.core.signing, the reading half. Runs in httpd's workers; holds nothing. */
#include "session/signing.h"
#include "session/inflate.h"

size_t sse_salted_hmac(sse_digest_t alg, sse_str_t salt, sse_str_t secret, sse_str_t value,
                       unsigned char *out)
{
    unsigned char key[SSE_DIGEST_MAX];
    const sse_str_t parts[] = {salt, secret};
    size_t n = sse_digest(alg, parts, SSE_ARRAY_LEN(parts), key);

    n = sse_hmac(alg, (sse_str_t){(const char *)key, n}, value, out);
    sse_crypto_wipe(key, sizeof key);
    return n;
}

apr_status_t sse_base62_parse(sse_str_t text, int64_t *out)
{
    bool negative = text.n > 0 && text.p[0] == '-';
    int64_t v = 0;

    if (text.n == (negative ? 1u : 0u))
        return APR_EINVAL;
    for (size_t i = negative; i < text.n; i++) {
        char c = text.p[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'A' && c <= 'Z')
            digit = c - 'A' + 10;
        else if (c >= 'a' && c <= 'z')
            digit = c - 'a' + 36;
        else
            return APR_EINVAL;
        if (__builtin_mul_overflow(v, 62, &v) || __builtin_add_overflow(v, digit, &v))
            return APR_EINVAL;
    }
    *out = negative ? -v : v;
    return APR_SUCCESS;
}

static int sextet(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    if (c == (url ? '_' : '/'))
        return 63;
    return -1;
}

static apr_status_t base64_decode(sse_str_t text, bool url, apr_pool_t *pool, sse_str_t *out)
{
    unsigned char *to;
    size_t n = 0;
    uint32_t acc = 0;
    int bits = 0;

    if (text.n % 4 == 1)
        return APR_EINVAL;
    to = apr_palloc(pool, text.n / 4 * 3 + 3);
    for (size_t i = 0; i < text.n; i++) {
        int s = sextet(text.p[i], url);
        if (s < 0)
            return APR_EINVAL;
        acc = ((acc << 6) | (uint32_t)s) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            to[n++] = (unsigned char)(acc >> bits);
        }
    }
    if (bits > 0 && (acc & ((1u << bits) - 1)) != 0)
        return APR_EINVAL;
    *out = (sse_str_t){(const char *)to, n};
    return APR_SUCCESS;
}

apr_status_t sse_base64_url_decode(sse_str_t text, apr_pool_t *pool, sse_str_t *out)
{
    return base64_decode(text, true, pool, out);
}

apr_status_t sse_base64_std_decode(sse_str_t text, apr_pool_t *pool, sse_str_t *out)
{
    if (text.n % 4 != 0)
        return APR_EINVAL;
    for (int pads = 0; pads < 2 && text.n > 0 && text.p[text.n - 1] == '='; pads++)
        text.n--;
    return base64_decode(text, false, pool, out);
}

/* URL-safe base64 without padding of a digest; returns its length. `out` has 44 bytes. */
static size_t signature_text(const unsigned char *mac, size_t n, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t k = 0;
    uint32_t acc = 0;
    int bits = 0;

    for (size_t i = 0; i < n; i++) {
        acc = (acc << 8) | mac[i];
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            out[k++] = alphabet[(acc >> bits) & 63];
        }
    }
    if (bits > 0)
        out[k++] = alphabet[(acc << (6 - bits)) & 63];
    return k;
}

/* Where the last ':' stands; false if there is none. */
static bool rsplit(sse_str_t text, sse_str_t *out_left, sse_str_t *out_right)
{
    const char *colon = text.n > 0 ? memrchr(text.p, ':', text.n) : NULL;

    if (!colon)
        return false;
    *out_left = (sse_str_t){text.p, (size_t)(colon - text.p)};
    *out_right = (sse_str_t){colon + 1, text.n - out_left->n - 1};
    return true;
}

apr_status_t sse_signing_unsign(const sse_keys_t *keys, sse_str_t salt, sse_str_t text,
                                sse_str_t *out_value)
{
    const sse_str_t signer = SSE_STR("signer");
    char full[256], want[44];
    unsigned char mac[SSE_DIGEST_MAX];
    sse_str_t value, sig;
    bool good = false;

    if (!rsplit(text, &value, &sig) || sig.n == 0 || salt.n + signer.n > sizeof full)
        return APR_EINVAL;
    memcpy(full, salt.p, salt.n);
    memcpy(full + salt.n, signer.p, signer.n);
    salt = (sse_str_t){full, salt.n + signer.n};

    /* Signatures are compared as text: four texts decode to the same 32 bytes, Django takes one of
     * them. */
    for (size_t i = 0; i < keys->n; i++) {
        for (int legacy = 0; legacy <= (keys->legacy_sha1 ? 1 : 0); legacy++) {
            size_t n =
                sse_salted_hmac(legacy ? SSE_SHA1 : SSE_SHA256, salt, keys->secrets[i], value, mac);
            n = signature_text(mac, n, want);
            good |= sse_crypto_equal((sse_str_t){want, n}, sig);
        }
    }
    sse_crypto_wipe(mac, sizeof mac);
    sse_crypto_wipe(want, sizeof want);
    if (!good)
        return APR_EINVAL;
    *out_value = value;
    return APR_SUCCESS;
}

apr_status_t sse_signing_loads(const sse_keys_t *keys, sse_str_t salt, sse_str_t text,
                               apr_pool_t *pool, sse_str_t *out_payload, int64_t *out_time)
{
    sse_str_t value, stamp, payload;
    bool compressed;
    int64_t when;

    if (sse_signing_unsign(keys, salt, text, &value) != APR_SUCCESS)
        return APR_EINVAL;
    if (!rsplit(value, &value, &stamp) || sse_base62_parse(stamp, &when) != APR_SUCCESS)
        return APR_EINVAL;
    compressed = value.n > 0 && value.p[0] == '.';
    if (compressed) {
        value.p++;
        value.n--;
    }
    if (sse_base64_url_decode(value, pool, &payload) != APR_SUCCESS)
        return APR_EINVAL;
    if (compressed && sse_inflate(payload, SSE_INFLATE_MAX, pool, &payload) != APR_SUCCESS)
        return APR_EINVAL;
    *out_payload = payload;
    *out_time = when;
    return APR_SUCCESS;
}

apr_status_t sse_signing_legacy_loads(const sse_keys_t *keys, sse_str_t salt, sse_str_t text,
                                      apr_pool_t *pool, sse_str_t *out_payload)
{
    static const char module[] = "django.contrib.sessions.";
    unsigned char mac[SSE_DIGEST_MAX];
    char legacy_salt[256], want[2 * SSE_DIGEST_MAX + 1];
    sse_str_t raw, hash, payload;
    const char *colon;
    bool good = false;

    /* The old salt is the new one without the last dot: "django.contrib.sessions" + class name. */
    if (salt.n < sizeof module || memcmp(salt.p, module, sizeof module - 1) != 0 ||
        salt.n > sizeof legacy_salt)
        return APR_EINVAL;
    memcpy(legacy_salt, salt.p, sizeof module - 2);
    memcpy(legacy_salt + sizeof module - 2, salt.p + sizeof module - 1, salt.n - sizeof module + 1);
    salt = (sse_str_t){legacy_salt, salt.n - 1};

    if (sse_base64_std_decode(text, pool, &raw) != APR_SUCCESS || raw.n == 0)
        return APR_EINVAL;
    colon = memchr(raw.p, ':', raw.n);
    if (!colon)
        return APR_EINVAL;
    hash = (sse_str_t){raw.p, (size_t)(colon - raw.p)};
    payload = (sse_str_t){colon + 1, raw.n - hash.n - 1};
    for (size_t i = 0; i < keys->n; i++) {
        size_t n = sse_salted_hmac(SSE_SHA1, salt, keys->secrets[i], payload, mac);
        sse_crypto_hex(mac, n, want);
        good |= sse_crypto_equal(sse_str(want), hash);
    }
    sse_crypto_wipe(mac, sizeof mac);
    sse_crypto_wipe(want, sizeof want);
    if (!good)
        return APR_EINVAL;
    *out_payload = payload;
    return APR_SUCCESS;
}
