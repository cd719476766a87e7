/* SPDX-License-Identifier: Apache-2.0 */
/* Event ids: a text that is read is the text that would be written for it, and every position
 * survives the round trip. */
#include "fuzz.h"

#include "core/eventid.h"

const char sse_fuzz_name[] = "eventid";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sse_str_t text = {(const char *)data, size};
    char written[SSE_EVENTID_MAX];
    sse_pos_t pos, again;
    bool end, end_again;

    if (sse_eventid_parse(text, &pos, &end) == APR_SUCCESS) {
        size_t n = sse_eventid_format(pos, end, written);

        CHECK(pos.epoch != 0);
        CHECK(sse_str_eq(text, (sse_str_t){written, n}));
    }
    if (size >= sizeof(pos)) {
        size_t n;

        memcpy(&pos, data, sizeof(pos));
        n = sse_eventid_format(pos, size & 1, written);
        CHECK(n < SSE_EVENTID_MAX && written[n] == '\0');
        if (sse_eventid_parse((sse_str_t){written, n}, &again, &end_again) == APR_SUCCESS)
            CHECK(again.epoch == pos.epoch && again.seq == pos.seq && end_again == (size & 1));
        else
            CHECK(pos.epoch == 0);
    }
    return 0;
}
