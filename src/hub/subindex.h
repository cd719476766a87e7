/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets what, as a graph that one reactor owns:
 *
 *      event ──▶ user ──▶ streams          a user's own subscriptions
 *      event ──▶ group ──▶ user ──▶ ...    a group's subscriptions, one edge however many members
 *      event ──▶ stream                    ?event= names of one stream
 *      realm ──▶ streams                   broadcasts
 *
 * Edges are held at both ends, so that removal needs no search; the lower end (user, group, stream)
 * holds the position at which the subscription or membership began. A change arrives as a whole
 * record (broker.h) and is applied as a difference. Nodes live while something refers to them. All
 * users of a stream's realm that hash to this reactor live here, with all their streams. */
#ifndef SSE_SUBINDEX_H
#define SSE_SUBINDEX_H

#include "broker/broker.h"
#include "hub/nametable.h"
#include <uthash.h>

typedef struct sse_node_t sse_node_t;
typedef struct sse_source_t sse_source_t;

/* From a source (user, group or stream) to a node above it: an event, or for users a group. */
typedef struct sse_edge_t {
    sse_node_t *target;
    uint64_t start; /* nothing at or before it is owed */
    uint32_t back;  /* this edge's index in target->members */
} sse_edge_t;

typedef struct sse_member_t {
    sse_source_t *source;
    uint32_t edge; /* index in source->edges */
} sse_member_t;

typedef enum sse_source_kind_t { SSE_SOURCE_NODE, SSE_SOURCE_STREAM } sse_source_kind_t;

/* First member of nodes and of streams. */
struct sse_source_t {
    uint32_t kind : 1; /* sse_source_kind_t */
    uint32_t cap_edges : 31;
    uint32_t n_edges;
    sse_edge_t *edges;
};

typedef struct sse_node_realm_t {
    UT_hash_handle hh;
    struct sse_subindex_t *index;
    sse_nametable_t nodes;        /* events, users and groups by key */
    struct sse_stream_t *streams; /* all of the realm in this reactor, by realm_next */
    struct sse_stream_t *feeds;   /* presence feeds, by realm_next */
    uint64_t epoch;               /* of the positions that its streams have */
    uint32_t refs;                /* nodes and streams */
    char name[];
} sse_node_realm_t;

struct sse_node_t {
    sse_source_t source; /* users and groups: their events (and a user's groups) */
    sse_namelink_t link; /* its name is the key */
    sse_node_realm_t *realm;
    sse_member_t *members; /* events: subscribers; groups: users */
    uint32_t n_members, cap_members;
    struct sse_stream_t *oldest, *newest; /* users: streams by age, by user_next */
    uint32_t n_streams;
    uint64_t cursor;     /* users: the last message that the network took, as last reported */
    uint32_t offline_at; /* users without streams: the reactor's second at which they go offline */
    uint16_t name_len;
    bool lingers; /* users: in the reactor's list of those in their grace */
    char key[];   /* kind, then the name */
};

typedef struct sse_subindex_t {
    sse_node_realm_t *realms;
    /* NULL, or told when a channel is first carried here and when it no longer is. */
    void (*carried)(void *owner, const sse_node_realm_t *realm, sse_channel_t channel, bool on);
    /* NULL, or told when a record gave a user or group a channel that it had not. */
    void (*gained)(void *owner, const sse_node_t *node);
    void *owner;
} sse_subindex_t;

sse_node_realm_t *sse_subindex_realm(sse_subindex_t *ix, sse_str_t name); /* finds */
sse_node_realm_t *sse_subindex_realm_ref(sse_subindex_t *ix, sse_str_t name);
void sse_subindex_realm_unref(sse_subindex_t *ix, sse_node_realm_t *realm);

static inline sse_channel_t sse_node_channel(const sse_node_t *n)
{
    return (sse_channel_t){(sse_channel_kind_t)n->key[0], {n->key + 1, n->name_len}};
}

/* NULL if there is none. */
sse_node_t *sse_subindex_find(const sse_node_realm_t *realm, sse_channel_t channel);
/* Makes it when there is none. */
sse_node_t *sse_subindex_get(sse_node_realm_t *realm, sse_channel_t channel);
/* Frees the node if it has no members, no streams and is no user (users are freed by the reactor at
 * the end of their grace). */
void sse_subindex_release(sse_subindex_t *ix, sse_node_t *node);
/* Frees a user that has no streams, with its edges. */
void sse_subindex_user_free(sse_subindex_t *ix, sse_node_t *user);

/* Makes the node's subscriptions (and a user's memberships) those of the record. `groups`: as in
 * sse_connected_fn, for users. */
void sse_subindex_apply_user(sse_subindex_t *ix, sse_node_t *user, const sse_record_t *record,
                             sse_record_t *const *groups);
void sse_subindex_apply_group(sse_subindex_t *ix, sse_node_t *group, const sse_record_t *record);

/* Edges of a stream's own ?event= names. */
void sse_subindex_stream_events(sse_source_t *stream, sse_node_realm_t *realm,
                                const sse_str_t *events, size_t n);
void sse_subindex_stream_clear(sse_subindex_t *ix, sse_source_t *stream);

/* Calls fn for each stream that the channel leads to; one stream may be met several times. */
typedef void (*sse_subindex_fn)(void *baton, struct sse_stream_t *stream);
void sse_subindex_visit(const sse_node_realm_t *realm, sse_channel_t channel, sse_subindex_fn fn,
                        void *baton);

/* Everything the stream carries, as ranges after max(cursor, start of the subscription), each
 * channel once with the earliest start. Strings point into the index; caller frees *out_ranges. */
void sse_subindex_ranges(const sse_source_t *stream, const sse_node_t *user, uint64_t cursor,
                         sse_range_t **out_ranges, size_t *out_n);

#endif
