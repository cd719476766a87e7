/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of things that bear their name behind a link of 16 bytes: a quarter of what uthash's
 * handle takes, for the tables that have an entry for each user. The things belong to the caller.
 * One thread. */
#ifndef SSE_NAMETABLE_H
#define SSE_NAMETABLE_H

#include "core/base.h"

typedef struct sse_namelink_t {
    struct sse_namelink_t *next;
    uint32_t hash;
    uint32_t n; /* bytes of the name */
} sse_namelink_t;

typedef struct sse_nametable_t {
    sse_namelink_t **buckets; /* NULL while empty */
    uint32_t n_buckets;       /* a power of two */
    uint32_t count;
    uint32_t seed;
    uint32_t offset; /* from a link to its name */
} sse_nametable_t;

/* `offset`: bytes from the link of each entry to its name. Nothing to clear while it is empty. */
void sse_nametable_init(sse_nametable_t *t, size_t offset);
/* The link of that name or NULL. */
sse_namelink_t *sse_nametable_find(const sse_nametable_t *t, sse_str_t name);
/* Puts in a link whose name is in place and not yet in the table; sets hash and n. */
void sse_nametable_add(sse_nametable_t *t, sse_namelink_t *link, size_t n);
/* Takes out a link that is in the table. Memory is given back with the last one. */
void sse_nametable_remove(sse_nametable_t *t, sse_namelink_t *link);
/* Visits all in no order: the first one for NULL, NULL at the end. The table must not change
 * meanwhile. */
sse_namelink_t *sse_nametable_next(const sse_nametable_t *t, const sse_namelink_t *link);

#endif
