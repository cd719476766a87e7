/* SPDX-License-Identifier: Apache-2.0 */
/* What was revoked lately: sessions and users whose look-ups from before count no more. Remembered
 * for as long as a worker may still bring such a look-up (session cache + worker time-out). Control
 * loop only. */
#ifndef SSE_REVOCATIONS_H
#define SSE_REVOCATIONS_H

#include "core/base.h"

typedef struct sse_revocations_t {
    struct sse_revocation_t *all;
    uint64_t memory; /* microseconds */
} sse_revocations_t;

/* CLOCK_MONOTONIC microseconds: the clock of sse_wire_reserve_t.looked_up. */
uint64_t sse_revocations_clock(void);

void sse_revocations_add(sse_revocations_t *r, char kind, sse_str_t realm, sse_str_t name);
/* True when what was looked up at `looked_up` has been revoked since. */
bool sse_revocations_stale(const sse_revocations_t *r, char kind, sse_str_t realm, sse_str_t name,
                           uint64_t looked_up);
void sse_revocations_expire(sse_revocations_t *r);
void sse_revocations_clear(sse_revocations_t *r);

#endif
