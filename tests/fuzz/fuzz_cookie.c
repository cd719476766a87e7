/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends: a Cookie header, and its value as a signed session. Nothing that is not
 * signed gets through, and what is found lies inside the header or is shorter than it.
 *
 * fuzz-sources: src/session/cookie.c src/session/signing.c src/session/inflate.c src/session/zone.c
 * fuzz-packages: zlib */
#include "fuzzpool.h"

#include "session/cookie.h"
#include "session/signing.h"
#include "session/zone.h"

#include <apr_strings.h>

const char sse_fuzz_name[] = "cookie";

/* A key that no input knows. */
static void check_signing(sse_str_t text, apr_pool_t *pool)
{
    static char random[32];
    const sse_str_t secret = {random, sizeof random};
    const sse_keys_t keys = {&secret, 1, true};
    const sse_str_t salt = SSE_STR("django.contrib.sessions.SessionStore");
    sse_str_t out;
    int64_t when;

    if (!random[0])
        sse_crypto_random(random, sizeof random);
    CHECK(sse_signing_loads(&keys, salt, text, pool, &out, &when) == APR_EINVAL);
    CHECK(sse_signing_legacy_loads(&keys, salt, text, pool, &out) == APR_EINVAL);
    if (sse_base64_url_decode(text, pool, &out) == APR_SUCCESS)
        CHECK(out.n == text.n * 3 / 4);
    if (sse_base64_std_decode(text, pool, &out) == APR_SUCCESS)
        CHECK(text.n % 4 == 0 && out.n <= text.n / 4 * 3);
    sse_base62_parse(text, &when);
}

static void check_times(sse_str_t text, apr_pool_t *pool)
{
    const sse_zone_t *zone;
    int64_t micros;
    bool has;
    int offset;

    if (sse_civil_parse(text, &micros, &has, &offset) == APR_SUCCESS)
        CHECK(text.n >= 19 && offset > -86400 && offset < 86400 && (has || offset == 0));
    if (sse_zone_read(text, pool, &zone) == APR_SUCCESS)
        for (int64_t t = -2000000000; t < 6000000000; t += 150000000) {
            int64_t civil = t + sse_zone_offset(zone, t);
            (void)sse_zone_to_unix(zone, civil);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *pool = fuzzpool();
    const char *header = apr_pstrmemdup(pool, (const char *)data, size);
    sse_str_t value = SSE_STR_NONE;

    if (sse_cookie_find(header, "sessionid", pool, &value)) {
        CHECK(value.n < strlen(header));
        CHECK(strstr(header, "sessionid"));
        check_signing(value, pool);
    }
    check_signing((sse_str_t){(const char *)data, size}, pool);
    check_times((sse_str_t){(const char *)data, size}, pool);
    apr_pool_clear(pool);
    return 0;
}
