/* SPDX-License-Identifier: Apache-2.0 */
/* Records of users and groups that the embedded driver keeps in memory, so that most connects need
 * neither the writer thread nor the store; and which owners the store can have anything of, so that
 * those it cannot need neither. Bounded. Owned by the control loop, which tells it every change in
 * the order in which they were made. */
#ifndef SSE_LOCAL_RECORDS_H
#define SSE_LOCAL_RECORDS_H

#include "broker/broker.h"

/* Owners with something in the store, or with streams here: a set that may say yes of others
 * (Bloom's filter). */
#define SSE_RECORDS_KNOWN_BYTES (256u * 1024)

typedef struct sse_kept_t sse_kept_t;

typedef struct sse_records_t {
    sse_kept_t *users, *groups; /* uthash, oldest first */
    unsigned char *known;       /* NULL until something is */
    bool known_whole;           /* what the store has had from before is in it */
    unsigned char *seen;        /* users that came lately and were not kept; NULL: none */
    uint32_t life;              /* grows when all is forgotten */
} sse_records_t;

void sse_records_clear(sse_records_t *rs); /* zero-initialised it is ready */
/* Forgets the records: the store is another one, or may be. */
void sse_records_forget_all(sse_records_t *rs);

/* The record, borrowed until the next call that changes something; NULL if it is not kept. */
sse_record_t *sse_records_find(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm,
                               sse_str_t name);
/* Nothing is stored of it and no stream carries it: its record is empty. */
bool sse_records_absent(const sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm,
                        sse_str_t name);
/* From now on it is not absent. */
void sse_records_mark(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm, sse_str_t name);
void sse_records_mark_in(unsigned char *known, sse_channel_kind_t kind, sse_str_t realm,
                         sse_str_t name);
/* What the store has: SSE_RECORDS_KNOWN_BYTES. */
void sse_records_known(sse_records_t *rs, const unsigned char *bits);

/* Keeps the record, in place of an older one. Takes a reference of its own. */
void sse_records_keep(sse_records_t *rs, sse_record_t *record);
/* The owner's record is another one now; does nothing if none is kept. */
void sse_records_changed(sse_records_t *rs, sse_record_t *record);
void sse_records_drop(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm, sse_str_t name);
/* True when the user has come within the last minute or so: who comes once needs no place. */
bool sse_records_came_again(sse_records_t *rs, sse_str_t realm, sse_str_t user);
/* A minute or so has passed. */
void sse_records_tick(sse_records_t *rs);

/* A kept user's record that the store is yet to be told of. Such a record is not let go. */
void sse_records_behind(sse_records_t *rs, sse_str_t realm, sse_str_t user, int difference);
bool sse_records_is_behind(sse_records_t *rs, sse_str_t realm, sse_str_t user);

#endif
