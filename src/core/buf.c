/* SPDX-License-Identifier: Apache-2.0 */
/* The growable byte buffer and the allocation calls that abort. No state; any thread, each on its
 * own buffers. */
#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 64

static void die_of_memory(void)
{
    static const char text[] = "mod_sse: out of memory\n";

    /* stdio may want to allocate. */
    fwrite(text, 1, sizeof(text) - 1, stderr);
    abort();
}

void *sse_malloc(size_t n)
{
    void *p = malloc(n ? n : 1);

    if (!p)
        die_of_memory();
    return p;
}

void *sse_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        die_of_memory();
    return p;
}

void *sse_realloc(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    if (!p)
        die_of_memory();
    return p;
}

char *sse_strndup(const char *p, size_t n)
{
    char *copy = sse_malloc(n + 1);

    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void sse_buf_clear(sse_buf_t *b)
{
    free(b->p);
    *b = (sse_buf_t){0};
}

void sse_buf_reserve(sse_buf_t *b, size_t more)
{
    size_t need, cap;

    if (b->p && more <= b->cap - b->n)
        return;
    if (__builtin_add_overflow(b->n, more, &need))
        die_of_memory();
    cap = b->cap < CAP_MIN ? CAP_MIN : b->cap;
    while (cap < need) {
        if (__builtin_mul_overflow(cap, 2, &cap))
            die_of_memory();
    }
    b->p = sse_realloc(b->p, cap);
    b->cap = cap;
}

void sse_buf_add(sse_buf_t *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    sse_buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void sse_buf_str(sse_buf_t *b, sse_str_t s)
{
    sse_buf_add(b, s.p, s.n);
}

void sse_buf_cstr(sse_buf_t *b, const char *s)
{
    sse_buf_add(b, s, strlen(s));
}

void sse_buf_char(sse_buf_t *b, char c)
{
    sse_buf_reserve(b, 1);
    b->p[b->n++] = c;
}

void sse_buf_printf(sse_buf_t *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    sse_buf_reserve(b, CAP_MIN);
    va_start(ap, fmt);
    n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    va_end(ap);
    if (n < 0)
        die_of_memory();
    if ((size_t)n >= b->cap - b->n) {
        sse_buf_reserve(b, (size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}
