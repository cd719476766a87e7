/* SPDX-License-Identifier: Apache-2.0 */
/* Inflating: takes what zlib's own uncompress takes under the same cap, and gives the same bytes;
 * never more than the cap. Any bytes come back after being compressed.
 *
 * fuzz-sources: src/session/inflate.c
 * fuzz-packages: zlib */
#include "fuzzpool.h"

#include "session/inflate.h"

#include <zlib.h>

const char sse_fuzz_name[] = "inflate";

#define CAP 65536

static void check_like_zlib(sse_str_t in, apr_pool_t *pool)
{
    static unsigned char want[CAP];
    uLongf want_n = CAP;
    uLong in_n = in.n;
    sse_str_t got = SSE_STR_NONE;
    int rc = uncompress2(want, &want_n, (const Bytef *)in.p, &in_n);
    bool good = rc == Z_OK && in_n == in.n;

    CHECK((sse_inflate(in, CAP, pool, &got) == APR_SUCCESS) == good);
    if (good)
        CHECK(got.n == want_n && memcmp(got.p, want, want_n) == 0);
}

static void check_round_trip(sse_str_t plain, apr_pool_t *pool)
{
    uLongf n = compressBound(plain.n);
    char *packed = malloc(n);
    sse_str_t got;

    CHECK(compress((Bytef *)packed, &n, (const Bytef *)(plain.n ? plain.p : ""), plain.n) == Z_OK);
    CHECK(sse_inflate((sse_str_t){packed, n}, plain.n, pool, &got) == APR_SUCCESS);
    CHECK(sse_str_eq(got, plain));
    if (plain.n > 0)
        CHECK(sse_inflate((sse_str_t){packed, n}, plain.n - 1, pool, &got) == APR_EINVAL);
    CHECK(sse_inflate((sse_str_t){packed, n - 1}, plain.n, pool, &got) == APR_EINVAL);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sse_str_t in = {(const char *)data, size};
    apr_pool_t *pool = fuzzpool();

    check_like_zlib(in, pool);
    if (size <= CAP)
        check_round_trip(in, pool);
    apr_pool_clear(pool);
    return 0;
}
