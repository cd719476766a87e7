/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target is: one file fuzz_<name>.c with these two symbols. tests/fuzz/run builds it
 * with libFuzzer; `make check` builds it with replay_main.c, which runs it over the committed
 * corpus tests/fuzz/corpus/<name>. */
#ifndef SSE_FUZZ_H
#define SSE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern const char sse_fuzz_name[];
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
