/* SPDX-License-Identifier: Apache-2.0 */
/* Who is online on this host, by realm, as the reactors report it. Control loop only. */
#ifndef SSE_PRESENCE_H
#define SSE_PRESENCE_H

#include "core/base.h"
#include "hub/nametable.h"
#include <uthash.h>

typedef struct sse_present_t {
    sse_namelink_t link; /* first */
    int64_t since;       /* UNIX seconds */
    uint32_t streams;
    uint32_t polls;  /* answers to polling clients that are not overdue */
    bool by_streams; /* streams, or their grace, make the user online */
    char user[];     /* link.n bytes and a NUL */
} sse_present_t;

typedef struct sse_presence_realm_t {
    UT_hash_handle hh;
    sse_nametable_t users; /* of sse_present_t */
    uint64_t streams;      /* of users and anonymous ones */
    uint64_t told;         /* as last given to the broker */
    char name[];
} sse_presence_realm_t;

typedef struct sse_presence_t {
    sse_presence_realm_t *realms;
} sse_presence_t;

/* NULL when nothing of the realm has been seen. */
sse_presence_realm_t *sse_presence_realm(const sse_presence_t *p, sse_str_t realm);
void sse_presence_stream(sse_presence_t *p, sse_str_t realm, int difference);
/* Returns true when the user came online or went offline by it. */
bool sse_presence_user(sse_presence_t *p, sse_str_t realm, sse_str_t user, uint32_t streams,
                       bool online);
/* One polling client more or less. Returns true as above. */
bool sse_presence_poll(sse_presence_t *p, sse_str_t realm, sse_str_t user, int difference);
const sse_present_t *sse_presence_find(const sse_presence_t *p, sse_str_t realm, sse_str_t user);

/* Up to `limit` of the given users above `after` in byte order, ascending. `only` NULL: all that
 * are online; else those of the n_only names that are online. Caller frees *out_users (pointers
 * stay the table's); *out_more says whether there are more. */
void sse_presence_page(const sse_presence_t *p, sse_str_t realm, const sse_str_t *only,
                       size_t n_only, sse_str_t after, size_t limit,
                       const sse_present_t ***out_users, size_t *out_n, bool *out_more);
void sse_presence_clear(sse_presence_t *p);

#endif
