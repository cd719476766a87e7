/* SPDX-License-Identifier: Apache-2.0 */
/* Inflating under a cap. Runs in httpd's workers; the working buffer is malloc's and gone on
 * return, only the result stays in the caller's pool. */
#include "session/inflate.h"
#include "core/buf.h"
#include <apr_strings.h>
#include <limits.h>
#include <zlib.h>

apr_status_t sse_inflate(sse_str_t in, size_t cap, apr_pool_t *pool, sse_str_t *out)
{
    z_stream z = {0};
    sse_buf_t b = {0};
    apr_status_t rv = APR_EINVAL;
    int zrc;

    if (in.n == 0 || in.n > UINT_MAX || cap > UINT_MAX / 2)
        return APR_EINVAL;
    if (inflateInit(&z) != Z_OK)
        return APR_ENOMEM;
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;

    do {
        /* One byte beyond the cap is room enough to see that there is more. */
        size_t step = b.n < 4096 ? 4096 : b.n;
        if (step > cap + 1 - b.n)
            step = cap + 1 - b.n;
        sse_buf_reserve(&b, step);
        z.next_out = (Bytef *)b.p + b.n;
        z.avail_out = (uInt)step;
        zrc = inflate(&z, Z_NO_FLUSH);
        b.n += step - z.avail_out;
        if (b.n > cap)
            goto cleanup;
    } while (zrc == Z_OK);

    if (zrc != Z_STREAM_END || z.avail_in != 0)
        goto cleanup;
    out->p = apr_pmemdup(pool, b.p ? b.p : "", b.n);
    out->n = b.n;
    rv = APR_SUCCESS;

cleanup:
    inflateEnd(&z);
    sse_buf_clear(&b);
    return rv;
}
