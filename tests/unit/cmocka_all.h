/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka and what it wants included before itself, for every unit test. */
#ifndef SSE_CMOCKA_ALL_H
#define SSE_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

/* Bytes of a slice against a C string. */
#define assert_str(slice, cstr)                                                                    \
    do {                                                                                           \
        const sse_str_t got_ = (slice);                                                            \
        assert_int_equal(got_.n, strlen(cstr));                                                    \
        if (got_.n)                                                                                \
            assert_memory_equal(got_.p, cstr, got_.n);                                             \
    } while (0)

/* To be the same before and after what must not leak a descriptor. */
static inline size_t count_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

#endif
