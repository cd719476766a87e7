/* SPDX-License-Identifier: Apache-2.0 */
/* Positions and their text, the `id:` of the wire.
 *
 * A position is an epoch (which life of the broker's data, random) and a sequence number that grows
 * inside it. Its text is opaque to clients: "<epoch in lower-case hex>-<seq in decimal>", plus
 * ".end" when it bears the end mark that stops EventSource (interface.md, section 2). It carries no
 * rights. */
#ifndef SSE_EVENTID_H
#define SSE_EVENTID_H

#include "core/base.h"

typedef struct sse_pos_t {
    uint64_t epoch; /* 0 = no position */
    uint64_t seq;
} sse_pos_t;

#define SSE_EVENTID_MAX 48 /* bytes of the longest text with its NUL */

/* Writes the text with a NUL; returns its length. `out` has SSE_EVENTID_MAX bytes. */
size_t sse_eventid_format(sse_pos_t pos, bool end_mark, char *out);

/* APR_SUCCESS, or APR_EINVAL for anything that sse_eventid_format cannot have written (leading
 * zeros, overflow, blanks, upper case, epoch 0). */
apr_status_t sse_eventid_parse(sse_str_t text, sse_pos_t *out_pos, bool *out_end_mark);

#endif
