/* SPDX-License-Identifier: Apache-2.0 */
/* See subindex.h. Records are small, so applying one looks each edge up by its target instead of
 * sorting. */
#include "hub/subindex.h"

#include "core/buf.h"
#include "hub/stream.h"

#define NO_EDGE UINT32_MAX

/* ---- realms ---- */

sse_node_realm_t *sse_subindex_realm(sse_subindex_t *ix, sse_str_t name)
{
    sse_node_realm_t *realm;
    HASH_FIND(hh, ix->realms, name.p, name.n, realm);
    return realm;
}

static void tell(const sse_node_realm_t *realm, sse_channel_t channel, bool on)
{
    if (realm->index->carried)
        realm->index->carried(realm->index->owner, realm, channel, on);
}

sse_node_realm_t *sse_subindex_realm_ref(sse_subindex_t *ix, sse_str_t name)
{
    sse_node_realm_t *realm = sse_subindex_realm(ix, name);
    if (!realm) {
        realm = sse_calloc(1, sizeof *realm + name.n + 1);
        memcpy(realm->name, name.p, name.n);
        realm->index = ix;
        sse_nametable_init(&realm->nodes, offsetof(sse_node_t, key) - offsetof(sse_node_t, link));
        HASH_ADD_KEYPTR(hh, ix->realms, realm->name, name.n, realm);
        tell(realm, (sse_channel_t){SSE_CHANNEL_BROADCAST, SSE_STR_NONE}, true);
    }
    realm->refs++;
    return realm;
}

void sse_subindex_realm_unref(sse_subindex_t *ix, sse_node_realm_t *realm)
{
    if (--realm->refs)
        return;
    tell(realm, (sse_channel_t){SSE_CHANNEL_BROADCAST, SSE_STR_NONE}, false);
    HASH_DELETE(hh, ix->realms, realm);
    free(realm);
}

/* ---- nodes ---- */

static size_t make_key(sse_channel_t channel, char *key)
{
    key[0] = (char)channel.kind;
    memcpy(key + 1, channel.name.p, channel.name.n);
    return channel.name.n + 1;
}

sse_node_t *sse_subindex_find(const sse_node_realm_t *realm, sse_channel_t channel)
{
    char key[SSE_GROUP_MAX + 1];
    if (channel.name.n > SSE_GROUP_MAX)
        return NULL;
    size_t n = make_key(channel, key);
    sse_namelink_t *link = sse_nametable_find(&realm->nodes, (sse_str_t){key, n});
    return link ? (sse_node_t *)((char *)link - offsetof(sse_node_t, link)) : NULL;
}

sse_node_t *sse_subindex_get(sse_node_realm_t *realm, sse_channel_t channel)
{
    sse_node_t *node = sse_subindex_find(realm, channel);
    if (node)
        return node;
    node = sse_calloc(1, offsetof(sse_node_t, key) + channel.name.n + 2);
    node->source.kind = SSE_SOURCE_NODE;
    node->realm = realm;
    node->name_len = (uint16_t)channel.name.n;
    size_t n = make_key(channel, node->key);
    sse_nametable_add(&realm->nodes, &node->link, n);
    realm->refs++;
    tell(realm, sse_node_channel(node), true);
    return node;
}

static void node_free(sse_subindex_t *ix, sse_node_t *node)
{
    sse_node_realm_t *realm = node->realm;
    tell(realm, sse_node_channel(node), false);
    sse_nametable_remove(&realm->nodes, &node->link);
    free(node->members);
    free(node->source.edges);
    free(node);
    sse_subindex_realm_unref(ix, realm);
}

/* ---- edges ---- */

static uint32_t find_edge(const sse_source_t *source, const sse_node_t *target)
{
    for (uint32_t i = 0; i < source->n_edges; i++)
        if (source->edges[i].target == target)
            return i;
    return NO_EDGE;
}

/* To the size that is needed: most sources never change again. */
static void reserve_edges(sse_source_t *source, size_t n)
{
    if (n <= source->cap_edges)
        return;
    source->edges = sse_realloc(source->edges, n * sizeof *source->edges);
    source->cap_edges = (uint32_t)n & 0x7fffffff;
}

static void add_edge(sse_source_t *source, sse_node_t *target, uint64_t start)
{
    if (target->n_members == target->cap_members) {
        target->cap_members = target->cap_members ? target->cap_members * 2 : 2;
        target->members =
            sse_realloc(target->members, target->cap_members * sizeof *target->members);
    }
    if (source->n_edges == source->cap_edges)
        reserve_edges(source, source->n_edges + 1);
    source->edges[source->n_edges] = (sse_edge_t){target, start, target->n_members};
    target->members[target->n_members++] = (sse_member_t){source, source->n_edges};
    source->n_edges++;
}

/* The last member and the last edge move into the gaps. */
static void remove_edge(sse_subindex_t *ix, sse_source_t *source, uint32_t i)
{
    sse_edge_t edge = source->edges[i];
    sse_node_t *target = edge.target;

    sse_member_t moved = target->members[--target->n_members];
    target->members[edge.back] = moved;
    moved.source->edges[moved.edge].back = edge.back;
    if (target->cap_members > 8 && target->n_members < target->cap_members / 4) {
        target->cap_members /= 2;
        target->members =
            sse_realloc(target->members, target->cap_members * sizeof *target->members);
    }

    sse_edge_t last = source->edges[--source->n_edges];
    if (i != source->n_edges) {
        source->edges[i] = last;
        last.target->members[last.back].edge = i;
    }
    if (!source->n_edges) {
        free(source->edges);
        source->edges = NULL;
        source->cap_edges = 0;
    }
    sse_subindex_release(ix, target);
}

static void clear_edges(sse_subindex_t *ix, sse_source_t *source)
{
    while (source->n_edges)
        remove_edge(ix, source, source->n_edges - 1);
}

void sse_subindex_release(sse_subindex_t *ix, sse_node_t *node)
{
    if (node->key[0] == SSE_CHANNEL_USER || node->n_members || node->n_streams)
        return;
    clear_edges(ix, &node->source);
    node_free(ix, node);
}

void sse_subindex_user_free(sse_subindex_t *ix, sse_node_t *user)
{
    clear_edges(ix, &user->source);
    node_free(ix, user);
}

/* ---- records ---- */

static bool wanted(const sse_record_t *record, const sse_node_t *target)
{
    sse_channel_t c = sse_node_channel(target);
    if (c.kind == SSE_CHANNEL_GROUP) {
        for (size_t i = 0; i < record->n_memberships; i++)
            if (sse_str_eq(sse_str(record->memberships[i].group), c.name))
                return true;
    } else {
        for (size_t i = 0; i < record->n_subs; i++)
            if (sse_str_eq(sse_str(record->subs[i].event), c.name))
                return true;
    }
    return false;
}

/* True when it was not there. */
static bool put_edge(sse_node_t *node, sse_channel_t channel, uint64_t start)
{
    sse_node_t *target = sse_subindex_get(node->realm, channel);
    uint32_t i = find_edge(&node->source, target);
    if (i == NO_EDGE)
        add_edge(&node->source, target, start);
    else
        node->source.edges[i].start = start;
    return i == NO_EDGE;
}

/* The earliest start among the subscriptions of one event, which may stand in the record twice. */
static uint64_t sub_start(const sse_record_t *record, size_t i)
{
    uint64_t start = record->subs[i].start;
    for (size_t k = 0; k < record->n_subs; k++)
        if (record->subs[k].start < start && !strcmp(record->subs[k].event, record->subs[i].event))
            start = record->subs[k].start;
    return start;
}

/* True when a channel was added. */
static bool apply(sse_subindex_t *ix, sse_node_t *node, const sse_record_t *record)
{
    bool more = false;
    for (uint32_t i = node->source.n_edges; i-- > 0;)
        if (!wanted(record, node->source.edges[i].target))
            remove_edge(ix, &node->source, i);
    bool fresh = !node->source.n_edges;
    reserve_edges(&node->source, record->n_subs + record->n_memberships);
    for (size_t i = 0; i < record->n_subs; i++)
        more |= put_edge(node, (sse_channel_t){SSE_CHANNEL_EVENT, sse_str(record->subs[i].event)},
                         sub_start(record, i));
    for (size_t i = 0; i < record->n_memberships; i++) {
        sse_channel_t group = {SSE_CHANNEL_GROUP, sse_str(record->memberships[i].group)};
        if (fresh) /* each group stands in the record once */
            add_edge(&node->source, sse_subindex_get(node->realm, group),
                     record->memberships[i].start);
        more |= fresh || put_edge(node, group, record->memberships[i].start);
    }
    return more;
}

static void tell_gained(const sse_subindex_t *ix, const sse_node_t *node)
{
    if (ix->gained)
        ix->gained(ix->owner, node);
}

void sse_subindex_apply_user(sse_subindex_t *ix, sse_node_t *user, const sse_record_t *record,
                             sse_record_t *const *groups)
{
    bool more = apply(ix, user, record);
    for (size_t i = 0; i < record->n_memberships; i++) {
        sse_channel_t c = {SSE_CHANNEL_GROUP, sse_str(record->memberships[i].group)};
        sse_subindex_apply_group(ix, sse_subindex_find(user->realm, c), groups[i]);
    }
    if (more)
        tell_gained(ix, user);
}

void sse_subindex_apply_group(sse_subindex_t *ix, sse_node_t *group, const sse_record_t *record)
{
    if (apply(ix, group, record))
        tell_gained(ix, group);
}

/* ---- streams ---- */

void sse_subindex_stream_events(sse_source_t *stream, sse_node_realm_t *realm,
                                const sse_str_t *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sse_node_t *target = sse_subindex_get(realm, (sse_channel_t){SSE_CHANNEL_EVENT, events[i]});
        if (find_edge(stream, target) == NO_EDGE)
            add_edge(stream, target, 0);
    }
}

void sse_subindex_stream_clear(sse_subindex_t *ix, sse_source_t *stream)
{
    clear_edges(ix, stream);
}

static void visit_user(const sse_node_t *user, sse_subindex_fn fn, void *baton)
{
    /* fn may end a stream, never free it: the reactor frees after the visit. */
    for (sse_stream_t *s = user->oldest; s; s = s->user_next)
        fn(baton, s);
}

static void visit_members(const sse_node_t *node, sse_subindex_fn fn, void *baton)
{
    for (uint32_t i = 0; i < node->n_members; i++) {
        sse_source_t *source = node->members[i].source;
        if (source->kind == SSE_SOURCE_STREAM) {
            fn(baton, (sse_stream_t *)source);
            continue;
        }
        const sse_node_t *below = (const sse_node_t *)source;
        if (below->key[0] == SSE_CHANNEL_USER)
            visit_user(below, fn, baton);
        else
            visit_members(below, fn, baton); /* a group's users: one level, users have no members */
    }
}

void sse_subindex_visit(const sse_node_realm_t *realm, sse_channel_t channel, sse_subindex_fn fn,
                        void *baton)
{
    if (channel.kind == SSE_CHANNEL_BROADCAST) {
        for (sse_stream_t *s = realm->streams; s; s = s->realm_next)
            fn(baton, s);
        return;
    }
    const sse_node_t *node = sse_subindex_find(realm, channel);
    if (!node)
        return;
    if (channel.kind == SSE_CHANNEL_USER)
        visit_user(node, fn, baton);
    else
        visit_members(node, fn, baton);
}

/* ---- ranges ---- */

typedef struct ranges_t {
    sse_range_t *r;
    size_t n, cap;
} ranges_t;

static void add_range(ranges_t *to, sse_channel_t channel, uint64_t after)
{
    if (to->n == to->cap) {
        to->cap = to->cap ? to->cap * 2 : 8;
        to->r = sse_realloc(to->r, to->cap * sizeof *to->r);
    }
    to->r[to->n++] = (sse_range_t){channel, after};
}

static int by_channel(const void *a, const void *b)
{
    const sse_range_t *x = a, *y = b;
    if (x->channel.kind != y->channel.kind)
        return x->channel.kind < y->channel.kind ? -1 : 1;
    /* Names come from nodes, so equal names are the same bytes. */
    if (x->channel.name.p != y->channel.name.p)
        return x->channel.name.p < y->channel.name.p ? -1 : 1;
    return x->after < y->after ? -1 : x->after > y->after;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void sse_subindex_ranges(const sse_source_t *stream, const sse_node_t *user, uint64_t cursor,
                         sse_range_t **out_ranges, size_t *out_n)
{
    ranges_t all = {0};
    add_range(&all, (sse_channel_t){SSE_CHANNEL_BROADCAST, SSE_STR_NONE}, cursor);
    for (uint32_t i = 0; i < stream->n_edges; i++)
        add_range(&all, sse_node_channel(stream->edges[i].target), cursor);
    if (user) {
        add_range(&all, sse_node_channel(user), cursor);
        for (uint32_t i = 0; i < user->source.n_edges; i++) {
            const sse_edge_t *edge = &user->source.edges[i];
            uint64_t start = later(cursor, edge->start);
            add_range(&all, sse_node_channel(edge->target), start);
            if (edge->target->key[0] != SSE_CHANNEL_GROUP)
                continue;
            const sse_source_t *group = &edge->target->source;
            for (uint32_t k = 0; k < group->n_edges; k++)
                add_range(&all, sse_node_channel(group->edges[k].target),
                          later(start, group->edges[k].start));
        }
    }
    qsort(all.r, all.n, sizeof *all.r, by_channel);
    size_t n = 1;
    for (size_t i = 1; i < all.n; i++)
        if (all.r[i].channel.kind != all.r[n - 1].channel.kind ||
            all.r[i].channel.name.p != all.r[n - 1].channel.name.p)
            all.r[n++] = all.r[i];
    *out_ranges = all.r;
    *out_n = n;
}
