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
    bool holds;      /* interest in the stream's channels */
    bool holds_user; /* interest in the user's channel, until the records are known */
    bool waits;      /* for the broker's answer: nobody else may drop it */
    bool connecting; /* the broker is asked for the records */
    bool outdated;   /* they changed meanwhile: the answer may be of before */
    unsigned asked;  /* how often the broker was asked for the records */
} sse_ticket_t;

/* Gives the stream other records; its new channels are held before the old are let go. */
void sse_admission_take_records(sse_hub_t *hub, sse_attach_t *a, sse_record_t *record,
                                sse_record_t *const *groups);

#endif
