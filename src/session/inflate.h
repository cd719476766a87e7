/* SPDX-License-Identifier: Apache-2.0 */
/* Inflating under a cap, the session layer's only use of zlib. No I/O; any thread. */
#ifndef SSE_INFLATE_H
#define SSE_INFLATE_H

#include "core/base.h"
#include <apr_pools.h>

/* What a session may inflate to. A bomb stops here, after this much work. */
#define SSE_INFLATE_MAX (1024 * 1024)

/* Inflates one whole zlib stream (RFC 1950: header, deflate, Adler-32; raw deflate and gzip are
 * refused) that fills `in` exactly. *out is allocated in pool and has at most `cap` bytes.
 * APR_EINVAL when it is broken, cut off, followed by other bytes, or larger. */
apr_status_t sse_inflate(sse_str_t in, size_t cap, apr_pool_t *pool, sse_str_t *out);

#endif
