/* SPDX-License-Identifier: Apache-2.0 */
/* Who may open a stream: limits, blocks and revocations; the tickets between a worker's RESERVE and
 * its ATTACH; and the answers that carry what was missed where no stream can be had. Control loop
 * only. */
#ifndef SSE_ADMISSION_H
#define SSE_ADMISSION_H

#include "core/wire.h"
#include "hub/reactor.h"

struct sse_hub_t;

typedef struct sse_admission_t {
    struct sse_ticket_t *tickets; /* by id */
    struct sse_address_t
        *addresses; /* streams by client address, kept where SSEMaxStreamsPerHost is set */
    uint64_t next_ticket;
    uint64_t max_streams;
    uint64_t carried[SSE_CARRIAGES], carried_ever[SSE_CARRIAGES]; /* streams, by sse_carriage_t */
    uint64_t polled;                                              /* answers to polling clients */
    uint64_t parked; /* streams, and tickets for them, that hold a worker's thread */
} sse_admission_t;

void sse_admission_init(struct sse_hub_t *hub);
void sse_admission_clear(struct sse_hub_t *hub);

/* The reply's strings live during the callback, which may be made inside the call. `source` is the
 * channel that asks, a mere name here. */
typedef void (*sse_reserved_fn)(void *baton, const sse_wire_reserved_t *reply);
void sse_admission_reserve(struct sse_hub_t *hub, const sse_wire_reserve_t *req, const void *source,
                           sse_reserved_fn cb, void *baton);
/* The channel is closed: nobody will come for its tickets. */
void sse_admission_source_closed(struct sse_hub_t *hub, const void *source);
/* A ticket for a presence feed of the realm; `source` as above. */
uint64_t sse_admission_feed(struct sse_hub_t *hub, sse_str_t realm, sse_str_t address,
                            const void *source);
/* Takes fd in any case. */
void sse_admission_attach(struct sse_hub_t *hub, const sse_wire_attach_t *attach, int fd);
void sse_admission_release(struct sse_hub_t *hub, uint64_t ticket);
/* A stream has ended. */
void sse_admission_closed(struct sse_hub_t *hub, const unsigned char address[16], bool parked);
/* Tickets whose worker never came back are dropped. */
void sse_admission_expire(struct sse_hub_t *hub);

/* Reserved streams see changes and revocations that open ones see through their reactor. */
void sse_admission_changed(struct sse_hub_t *hub, sse_record_t *record,
                           sse_record_t *const *groups);
/* The positions that reserved streams (realm empty: of all realms) hold mean nothing any more. */
void sse_admission_reset(struct sse_hub_t *hub, sse_str_t realm, sse_pos_t pos);
/* A message went out: streams reserved before it must read history for it. */
void sse_admission_message(struct sse_hub_t *hub, sse_str_t realm);
void sse_admission_revoked(struct sse_hub_t *hub, char kind, sse_str_t realm, sse_str_t name,
                           sse_end_reason_t reason);

/* retry and stream-end for a stream that cannot be opened now; *out_retry_after in seconds. */
void sse_admission_refusal(struct sse_hub_t *hub, sse_end_reason_t reason, sse_buf_t *out,
                           uint32_t *out_retry_after);

#endif
