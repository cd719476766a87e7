/* SPDX-License-Identifier: Apache-2.0 */
/* The subscription graph under random changes against a brute-force answer to "who gets it, and
 * from where on". */
#include "cmocka_all.h"
#include "core/buf.h"
#include "hub/stream.h"
#include <stdio.h>
#include <stdlib.h>

#define USERS 12
#define GROUPS 4
#define EVENTS 6
#define STREAMS 40

/* What each user and group should have; start 0 = not subscribed. */
typedef struct world_t {
    sse_subindex_t index;
    sse_node_realm_t *realm;
    uint64_t user_event[USERS][EVENTS], user_group[USERS][GROUPS], group_event[GROUPS][EVENTS];
    bool user_loaded[USERS];
    sse_stream_t streams[STREAMS];
    int stream_user[STREAMS];                 /* -1: anonymous */
    bool open[STREAMS], own[STREAMS][EVENTS]; /* ?event= names */
    int channels;                             /* told minus taken back */
} world_t;

static const char *name(char kind, int i)
{
    static char names[4][16];
    static int next;
    char *out = names[next++ % 4];
    snprintf(out, sizeof names[0], "%c%d", kind, i);
    return out;
}

static sse_record_t *group_record(const world_t *w, int g)
{
    size_t n = 0;
    for (int e = 0; e < EVENTS; e++)
        n += w->group_event[g][e] > 0;
    sse_record_t *r =
        sse_record_create(SSE_CHANNEL_GROUP, SSE_STR("r"), sse_str(name('g', g)), n, 0);
    n = 0;
    for (int e = 0; e < EVENTS; e++) {
        if (!w->group_event[g][e])
            continue;
        r->subs[n].event = sse_strndup(name('e', e), 2);
        r->subs[n++].start = w->group_event[g][e];
    }
    return r;
}

static void apply_user(world_t *w, int u)
{
    sse_record_t *groups[GROUPS];
    size_t n = 0, m = 0;
    for (int e = 0; e < EVENTS; e++)
        n += w->user_event[u][e] > 0;
    for (int g = 0; g < GROUPS; g++)
        m += w->user_group[u][g] > 0;
    sse_record_t *r =
        sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), sse_str(name('u', u)), n, m);
    n = m = 0;
    for (int e = 0; e < EVENTS; e++) {
        if (!w->user_event[u][e])
            continue;
        r->subs[n].event = sse_strndup(name('e', e), 2);
        r->subs[n++].start = w->user_event[u][e];
    }
    for (int g = 0; g < GROUPS; g++) {
        if (!w->user_group[u][g])
            continue;
        groups[m] = group_record(w, g);
        r->memberships[m].group = sse_strndup(name('g', g), 2);
        r->memberships[m++].start = w->user_group[u][g];
    }
    sse_channel_t c = {SSE_CHANNEL_USER, sse_str(r->name)};
    sse_subindex_apply_user(&w->index, sse_subindex_get(w->realm, c), r, groups);
    w->user_loaded[u] = true;
    for (size_t i = 0; i < m; i++)
        sse_record_unref(groups[i]);
    sse_record_unref(r);
}

static void apply_group(world_t *w, int g)
{
    sse_record_t *r = group_record(w, g);
    sse_node_t *node =
        sse_subindex_find(w->realm, (sse_channel_t){SSE_CHANNEL_GROUP, sse_str(r->name)});
    if (node)
        sse_subindex_apply_group(&w->index, node, r);
    sse_record_unref(r);
}

static void open_stream(world_t *w, int i)
{
    sse_stream_t *s = &w->streams[i];
    sse_str_t names[EVENTS];
    char text[EVENTS][16];
    size_t n = 0;
    memset(s, 0, sizeof *s);
    s->source.kind = SSE_SOURCE_STREAM;
    s->slot = (uint32_t)i;
    s->realm = w->realm;
    w->stream_user[i] = rand() % (USERS + 3) - 3;
    if (w->stream_user[i] < 0)
        w->stream_user[i] = -1;
    for (int e = 0; e < EVENTS; e++) {
        w->own[i][e] = rand() % 8 == 0;
        if (!w->own[i][e])
            continue;
        snprintf(text[n], sizeof text[n], "e%d", e);
        names[n] = sse_str(text[n]);
        n++;
    }
    sse_subindex_stream_events(&s->source, w->realm, names, n);
    s->realm_next = w->realm->streams;
    w->realm->streams = s;
    w->open[i] = true;
    if (w->stream_user[i] < 0)
        return;
    apply_user(w, w->stream_user[i]);
    sse_channel_t c = {SSE_CHANNEL_USER, sse_str(name('u', w->stream_user[i]))};
    sse_node_t *user = sse_subindex_find(w->realm, c);
    s->user = user;
    s->user_next = user->oldest;
    user->oldest = s;
    user->n_streams++;
}

static void close_stream(world_t *w, int i)
{
    sse_stream_t *s = &w->streams[i], **link = &w->realm->streams;
    while (*link != s)
        link = &(*link)->realm_next;
    *link = s->realm_next;
    sse_subindex_stream_clear(&w->index, &s->source);
    w->open[i] = false;
    if (!s->user)
        return;
    for (link = &s->user->oldest; *link != s;)
        link = &(*link)->user_next;
    *link = s->user_next;
    if (--s->user->n_streams == 0) {
        sse_subindex_user_free(&w->index, s->user);
        w->user_loaded[w->stream_user[i]] = false;
    }
}

static bool reaches_user(const world_t *w, int u, int e)
{
    if (w->user_event[u][e])
        return true;
    for (int g = 0; g < GROUPS; g++)
        if (w->user_group[u][g] && w->group_event[g][e])
            return true;
    return false;
}

static void mark(void *baton, sse_stream_t *s)
{
    ((bool *)baton)[s->slot] = true;
}

static void check_visits(const world_t *w)
{
    for (int e = 0; e < EVENTS; e++) {
        bool got[STREAMS] = {false};
        sse_subindex_visit(w->realm, (sse_channel_t){SSE_CHANNEL_EVENT, sse_str(name('e', e))},
                           mark, got);
        for (int i = 0; i < STREAMS; i++) {
            bool want =
                w->open[i] &&
                (w->own[i][e] || (w->stream_user[i] >= 0 && reaches_user(w, w->stream_user[i], e)));
            assert_int_equal(got[i], want);
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        bool got[STREAMS] = {false};
        sse_subindex_visit(w->realm, (sse_channel_t){SSE_CHANNEL_GROUP, sse_str(name('g', g))},
                           mark, got);
        for (int i = 0; i < STREAMS; i++)
            assert_int_equal(got[i], w->open[i] && w->stream_user[i] >= 0 &&
                                         w->user_group[w->stream_user[i]][g]);
    }
}

static uint64_t max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void check_ranges(const world_t *w, int i)
{
    sse_range_t *ranges;
    size_t n, found = 0;
    int u = w->stream_user[i];
    uint64_t cursor = (uint64_t)(rand() % 50);
    sse_subindex_ranges(&w->streams[i].source, w->streams[i].user, cursor, &ranges, &n);
    for (int e = 0; e < EVENTS; e++) {
        uint64_t want = w->own[i][e] ? cursor : UINT64_MAX;
        if (u >= 0 && w->user_event[u][e] && max(cursor, w->user_event[u][e]) < want)
            want = max(cursor, w->user_event[u][e]);
        for (int g = 0; u >= 0 && g < GROUPS; g++)
            if (w->user_group[u][g] && w->group_event[g][e]) {
                uint64_t start = max(cursor, max(w->user_group[u][g], w->group_event[g][e]));
                want = start < want ? start : want;
            }
        for (size_t k = 0; k < n; k++) {
            if (ranges[k].channel.kind != SSE_CHANNEL_EVENT ||
                !sse_str_eq(ranges[k].channel.name, sse_str(name('e', e))))
                continue;
            assert_int_equal(ranges[k].after, want);
            want = UINT64_MAX;
            found++;
        }
        assert_true(want == UINT64_MAX); /* told exactly once, or not carried */
    }
    for (int g = 0; u >= 0 && g < GROUPS; g++)
        found += w->user_group[u][g] > 0;
    assert_int_equal(n, found + 1 + (u >= 0)); /* and broadcasts, and the user's own */
    free(ranges);
}

static void on_carried(void *owner, const sse_node_realm_t *realm, sse_channel_t channel, bool on)
{
    ((world_t *)owner)->channels += on ? 1 : -1;
}

static void test_random(void **state)
{
    world_t *w = calloc(1, sizeof *w);
    srand(3);
    w->index.carried = on_carried;
    w->index.owner = w;
    w->realm = sse_subindex_realm_ref(&w->index, SSE_STR("r"));
    for (int step = 0; step < 20000; step++) {
        int u = rand() % USERS, g = rand() % GROUPS, e = rand() % EVENTS, i = rand() % STREAMS;
        uint64_t start = rand() % 2 ? (uint64_t)(1 + rand() % 60) : 0;
        switch (rand() % 5) {
        case 0:
            w->user_event[u][e] = start;
            break;
        case 1:
            w->user_group[u][g] = start;
            break;
        case 2:
            w->group_event[g][e] = start;
            apply_group(w, g);
            break;
        default:
            if (w->open[i])
                close_stream(w, i);
            else
                open_stream(w, i);
            continue;
        }
        if (w->user_loaded[u])
            apply_user(w, u);
        check_visits(w);
        if (w->open[i])
            check_ranges(w, i);
    }
    for (int i = 0; i < STREAMS; i++)
        if (w->open[i])
            close_stream(w, i);
    assert_int_equal(w->realm->refs, 1); /* no node is left */
    sse_subindex_realm_unref(&w->index, w->realm);
    assert_null(w->index.realms);
    assert_int_equal(w->channels, 0);
    free(w);
}

/* More than a count of 16 bits holds: nothing bounds the groups that an administrator makes. */
static void test_very_many_groups(void **state)
{
    const size_t n = 66000;
    sse_subindex_t index = {0};
    sse_node_realm_t *realm = sse_subindex_realm_ref(&index, SSE_STR("r"));
    sse_record_t *record = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("u"), 0, n);
    sse_record_t *empty = sse_record_create(SSE_CHANNEL_GROUP, SSE_STR("r"), SSE_STR("g"), 0, 0);
    sse_record_t *none = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("u"), 0, 0);
    sse_record_t **groups = sse_calloc(n, sizeof *groups);
    sse_channel_t last = {SSE_CHANNEL_GROUP, SSE_STR("65999")};
    sse_range_t *ranges;
    size_t n_ranges;
    for (size_t i = 0; i < n; i++) {
        char text[16];
        record->memberships[i].group =
            sse_strndup(text, (size_t)snprintf(text, sizeof text, "%zu", i));
        groups[i] = empty;
    }
    sse_node_t *user = sse_subindex_get(realm, (sse_channel_t){SSE_CHANNEL_USER, SSE_STR("u")});
    sse_subindex_apply_user(&index, user, record, groups);
    assert_int_equal(user->source.n_edges, n);
    assert_int_equal(sse_subindex_find(realm, last)->n_members, 1);
    sse_source_t stream = {.kind = SSE_SOURCE_STREAM};
    sse_subindex_ranges(&stream, user, 0, &ranges, &n_ranges);
    assert_int_equal(n_ranges, n + 2);
    free(ranges);
    sse_subindex_apply_user(&index, user, none, NULL);
    assert_null(sse_subindex_find(realm, last));
    sse_subindex_user_free(&index, user);
    sse_subindex_realm_unref(&index, realm);
    sse_record_unref(record);
    sse_record_unref(empty);
    sse_record_unref(none);
    free(groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_very_many_groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
