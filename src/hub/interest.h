/* SPDX-License-Identifier: Apache-2.0 */
/* Which channels this hub's streams carry, for brokers that send only those (driver->interest).
 * Reactors report the channels of their graphs; a reserved stream holds its channels itself until
 * its reactor has it. Control loop only. */
#ifndef SSE_INTEREST_H
#define SSE_INTEREST_H

#include "hub/reactor.h"

struct sse_hub_t;

typedef struct sse_interest_t {
    struct sse_interest_entry_t *entries;
} sse_interest_t;

/* True when the broker wants to know. */
bool sse_interest_wanted(const struct sse_hub_t *hub);
/* One holder more or less; the broker is told of the first and the last. */
void sse_interest_change(struct sse_hub_t *hub, sse_str_t realm, sse_channel_t channel, bool on);
/* Whether anybody holds it. */
bool sse_interest_held(const struct sse_hub_t *hub, sse_str_t realm, sse_channel_t channel);
/* All channels of a reserved stream. */
void sse_interest_attach(struct sse_hub_t *hub, const sse_attach_t *a, bool on);
void sse_interest_clear(struct sse_hub_t *hub);

#endif
