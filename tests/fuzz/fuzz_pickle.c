/* SPDX-License-Identifier: Apache-2.0 */
/* Pickles: whatever comes in, the reader ends within its bounds, and what it takes out lies inside
 * the input. The head of a cache file is the start of a pickle as well.
 *
 * fuzz-sources: src/session/pickle.c src/session/sessionjson.c */
#include "fuzz.h"

#include "session/pickle.h"

#include <math.h>

const char sse_fuzz_name[] = "pickle";

static void check_data(const sse_session_data_t *data, const uint8_t *in, size_t size)
{
    for (int k = 0; k < SSE_KEY_COUNT; k++) {
        const sse_field_t *f = &data->field[k];
        CHECK(f->type >= SSE_FIELD_ABSENT && f->type <= SSE_FIELD_OTHER);
        if (f->type == SSE_FIELD_STRING && f->s.n > 0) {
            CHECK((const uint8_t *)f->s.p >= in);
            CHECK((const uint8_t *)f->s.p + f->s.n <= in + size);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sse_str_t in = {(const char *)data, size};
    sse_session_data_t out, again;
    double d = 0;
    size_t used = 0;

    if (sse_pickle_read(in, NULL, &out) == APR_SUCCESS) {
        check_data(&out, data, size);
        CHECK(data[size - 1] == '.');
        /* A pickle with anything behind it is not one. */
        if (size < SSE_SESSION_DATA_MAX) {
            char *longer = malloc(size + 1);
            memcpy(longer, data, size);
            longer[size] = '.';
            CHECK(sse_pickle_read((sse_str_t){longer, size + 1}, NULL, &again) != APR_SUCCESS);
            free(longer);
        }
        CHECK(sse_pickle_read((sse_str_t){in.p, size - 1}, NULL, &again) != APR_SUCCESS);
    }
    if (sse_pickle_read_float(in, &d, &used) == APR_SUCCESS)
        CHECK(used > 0 && used <= size && data[used - 1] == '.');
    return 0;
}
