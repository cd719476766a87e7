/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka and what it wants included before itself, for every unit test. */
#ifndef SSE_CMOCKA_ALL_H
#define SSE_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Bytes of a slice against a C string. */
#define assert_str(slice, cstr)                                                                    \
    do {                                                                                           \
        const sse_str_t got_ = (slice);                                                            \
        assert_int_equal(got_.n, strlen(cstr));                                                    \
        if (got_.n)                                                                                \
            assert_memory_equal(got_.p, cstr, got_.n);                                             \
    } while (0)

#endif
