/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's upcalls, passed on to the reactors that they concern, and the ends of streams.
 * Control loop only. */
#ifndef SSE_FANOUT_H
#define SSE_FANOUT_H

#include "broker/broker.h"
#include "core/render.h"

struct sse_hub_t;
typedef struct sse_gather_t sse_gather_t;

extern const sse_broker_upcalls_t sse_fanout_upcalls;

typedef void (*sse_ended_fn)(void *baton, uint32_t streams);

/* Ends this host's streams of a user ('u'), a group ('g') or a session ('s': name is the hash),
 * open and reserved, and remembers that older look-ups of the user or session count no more. cb
 * (may be NULL) gets the number of open streams that were ended; it is called later, or at once
 * when the hub stops. */
void sse_fanout_end(struct sse_hub_t *hub, char kind, sse_str_t realm, sse_str_t name,
                    sse_end_reason_t reason, sse_ended_fn cb, void *baton);
/* A NOTICE_ENDED's gather and number. */
void sse_fanout_ended(sse_gather_t *gather, uint32_t streams);

/* Tells the realm's presence feeds. */
void sse_fanout_presence(struct sse_hub_t *hub, sse_str_t realm, sse_str_t user, bool online);

#endif
