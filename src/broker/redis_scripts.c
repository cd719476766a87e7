/* SPDX-License-Identifier: Apache-2.0 */
/* The scripts, as src/broker/lua has them, and their names in Redis. */
#include "broker/redis_impl.h"

#include "core/crypto.h"
#include <stdio.h>

static const struct {
    const char *name, *source;
} scripts[] = {
#include "broker/redis_scripts.inc"
};

_Static_assert(SSE_ARRAY_LEN(scripts) == SSE_SCRIPTS, "the enumeration is not that of the folder");

sse_str_t sse_redisscript_source(sse_redisscript_t script)
{
    return sse_str(scripts[script].source);
}

const char *sse_redisscript_sha(sse_redisscript_t script)
{
    static char names[SSE_SCRIPTS][2 * SSE_DIGEST_MAX + 1];
    if (!names[script][0]) {
        unsigned char digest[SSE_DIGEST_MAX];
        sse_str_t source = sse_redisscript_source(script);
        sse_crypto_hex(digest, sse_digest(SSE_SHA1, &source, 1, digest), names[script]);
    }
    return names[script];
}
