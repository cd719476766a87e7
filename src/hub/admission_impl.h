/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of admission: a ticket, from the request for a stream to the stream or its refusal
 * (admission.c); what it sees of changes meanwhile (admission_changes.c). Control loop only. */
#ifndef SSE_ADMISSION_IMPL_H
#define SSE_ADMISSION_IMPL_H

#include "hub/admission.h"
#include "hub/hub.h"

typedef struct sse_ticket_t {
    UT_hash_handle hh;
    uint64_t id;
    uint64_t deadline; /* loop ms */
    sse_hub_t *hub;
    sse_attach_t *attach;
    /* Until the answer is given: */
    sse_reserved_fn cb;
    void *baton;
    const void *source; /* channel that asked */
    uint64_t looked_up;
    uint32_t flags;
    sse_wire_verdict_t verdict; /* OK, BUSY or POLL */
    char last_id[256];
    size_t last_id_len;
    bool holds; /* interest in the stream's channels */
    bool waits; /* for the broker's answer: nobody else may drop it */
} sse_ticket_t;

#endif
