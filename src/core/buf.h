/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer on malloc, owned by whoever holds the struct.
 *
 * Running out of memory aborts the process (as uthash and libuv's users do in the hub; a worker is
 * replaced by its MPM), so appending cannot fail and needs no checks. */
#ifndef SSE_BUF_H
#define SSE_BUF_H

#include "core/base.h"

typedef struct sse_buf_t {
    char *p;    /* NULL while empty and never grown */
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated */
} sse_buf_t;

/* Zero-initialising the struct is initialisation enough. */
SSE_API void sse_buf_clear(sse_buf_t *b); /* frees, back to zero */
SSE_API void sse_buf_reserve(sse_buf_t *b, size_t more);
SSE_API void sse_buf_add(sse_buf_t *b, const void *p, size_t n);
SSE_API void sse_buf_str(sse_buf_t *b, sse_str_t s);
SSE_API void sse_buf_cstr(sse_buf_t *b, const char *s);
SSE_API void sse_buf_char(sse_buf_t *b, char c);
SSE_API void sse_buf_printf(sse_buf_t *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline sse_str_t sse_buf_slice(const sse_buf_t *b)
{
    return (sse_str_t){b->p, b->n};
}

/* malloc and friends that abort when memory is out. */
SSE_API void *sse_malloc(size_t n);
SSE_API void *sse_calloc(size_t count, size_t size);
SSE_API void *sse_realloc(void *p, size_t n);
SSE_API char *sse_strndup(const char *p, size_t n); /* adds a NUL */

#endif
