/* SPDX-License-Identifier: Apache-2.0 */
/* The newest messages of all channels in memory. Slots are found by number; a channel's numbers are
 * an ascending ring of its own. Control loop. */
#include "broker/local_window.h"

#include "broker/local_hits.h"
#include "core/buf.h"

#include <stdlib.h>
#include <uthash.h>

struct sse_window_channel_t {
    UT_hash_handle hh;
    sse_window_channel_t *prev, *next;
    uint64_t
        last; /* number of its last message: with the floor above it nothing is to be known here */
    uint64_t trimmed; /* the highest number that is gone */
    uint64_t *seqs;   /* a ring */
    size_t head, n, cap;
    size_t key_n;
    char key[]; /* kind, realm, NUL, name */
};

#define KEY_MAX (2 + SSE_REALM_MAX + SSE_GROUP_MAX)

/* ---- channels ---- */

static sse_window_channel_t *channel_get(sse_window_t *w, sse_str_t realm, sse_channel_kind_t kind,
                                         sse_str_t name, bool add)
{
    char key[KEY_MAX];
    size_t key_n = 2 + realm.n + name.n;
    if (key_n > sizeof(key))
        return NULL;
    key[0] = (char)kind;
    memcpy(key + 1, realm.p, realm.n);
    key[1 + realm.n] = '\0';
    if (name.n)
        memcpy(key + 2 + realm.n, name.p, name.n);
    sse_window_channel_t *c;
    HASH_FIND(hh, w->channels, key, key_n, c);
    if (!c && add) {
        c = sse_calloc(1, sizeof(*c) + key_n);
        c->key_n = key_n;
        memcpy(c->key, key, key_n);
        HASH_ADD_KEYPTR(hh, w->channels, c->key, c->key_n, c);
        w->bytes += sizeof(*c) + key_n;
        c->prev = w->last;
        *(w->last ? &w->last->next : &w->first) = c;
        w->last = c;
    }
    return c;
}

static void channel_unlink(sse_window_t *w, sse_window_channel_t *c)
{
    *(c->prev ? &c->prev->next : &w->first) = c->next;
    *(c->next ? &c->next->prev : &w->last) = c->prev;
}

static void channel_free(sse_window_t *w, sse_window_channel_t *c)
{
    HASH_DEL(w->channels, c);
    channel_unlink(w, c);
    w->bytes -= sizeof(*c) + c->key_n + c->cap * sizeof(*c->seqs);
    free(c->seqs);
    free(c);
}

static uint64_t *seq_at(const sse_window_channel_t *c, size_t i)
{
    return &c->seqs[(c->head + i) & (c->cap - 1)];
}

/* Index of the first number above `after`. */
static size_t first_above(const sse_window_channel_t *c, uint64_t after)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (*seq_at(c, mid) > after)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static void channel_touch(sse_window_t *w, sse_window_channel_t *c, uint64_t seq)
{
    c->last = seq;
    if (w->last == c)
        return;
    channel_unlink(w, c);
    c->prev = w->last;
    c->next = NULL;
    *(w->last ? &w->last->next : &w->first) = c;
    w->last = c;
}

static void channel_push(sse_window_t *w, sse_window_channel_t *c, uint64_t seq)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 4;
        uint64_t *seqs = sse_malloc(cap * sizeof(*seqs));
        for (size_t i = 0; i < c->n; i++)
            seqs[i] = *seq_at(c, i);
        free(c->seqs);
        w->bytes += (cap - c->cap) * sizeof(*seqs);
        c->seqs = seqs;
        c->cap = cap;
        c->head = 0;
    }
    c->n++;
    *seq_at(c, c->n - 1) = seq;
}

/* ---- slots ---- */

static sse_window_slot_t *slot_of(sse_window_t *w, uint64_t seq)
{
    if (seq <= w->floor || seq - w->floor > w->n)
        return NULL;
    return &w->slots[(w->head + (size_t)(seq - w->floor - 1)) & (w->cap - 1)];
}

static size_t message_bytes(const sse_message_t *m)
{
    /* Names, realm and a second copy of several lines of data are about as long as the frame. */
    return sizeof(*m) + m->n_targets * 2 * sizeof(*m->targets) + 2 * m->frame.n;
}

static void slot_drop(sse_window_t *w, sse_window_slot_t *slot)
{
    if (!slot->message)
        return;
    w->bytes -= message_bytes(slot->message);
    sse_message_unref(slot->message);
    slot->message = NULL;
    slot->live = 0;
}

static void slot_release(sse_window_t *w, uint64_t seq)
{
    sse_window_slot_t *slot = slot_of(w, seq);
    if (slot && slot->message && --slot->live == 0)
        slot_drop(w, slot);
}

static sse_window_slot_t *slot_push(sse_window_t *w)
{
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 1024;
        sse_window_slot_t *slots = sse_malloc(cap * sizeof(*slots));
        for (size_t i = 0; i < w->n; i++)
            slots[i] = w->slots[(w->head + i) & (w->cap - 1)];
        free(w->slots);
        w->slots = slots;
        w->cap = cap;
        w->head = 0;
    }
    w->n++;
    w->bytes += sizeof(*w->slots);
    sse_window_slot_t *slot = &w->slots[(w->head + w->n - 1) & (w->cap - 1)];
    memset(slot, 0, sizeof(*slot));
    return slot;
}

/* The channel lets go of its oldest number. */
static void channel_pop(sse_window_t *w, sse_window_channel_t *c)
{
    uint64_t seq = *seq_at(c, 0);
    c->head = (c->head + 1) & (c->cap - 1);
    c->n--;
    if (seq > c->trimmed)
        c->trimmed = seq;
    slot_release(w, seq);
}

/* ---- the window ---- */

void sse_window_init(sse_window_t *w, int64_t history_count, int64_t history_seconds)
{
    memset(w, 0, sizeof(*w));
    bool keeps = history_count > 0 && history_seconds > 0;
    w->history_count = keeps ? history_count : 0;
    w->history_ms = keeps ? history_seconds * 1000 : 0;
}

void sse_window_restart(sse_window_t *w, uint64_t floor)
{
    for (size_t i = 0; i < w->n; i++)
        slot_drop(w, &w->slots[(w->head + i) & (w->cap - 1)]);
    w->bytes -= w->n * sizeof(*w->slots);
    w->n = 0;
    while (w->first)
        channel_free(w, w->first);
    w->floor = floor;
}

void sse_window_clear(sse_window_t *w)
{
    sse_window_restart(w, 0);
    free(w->slots);
    memset(w, 0, sizeof(*w));
}

void sse_window_add(sse_window_t *w, sse_message_t *m)
{
    uint64_t seq = m->pos.seq;
    if (seq != w->floor + w->n + 1)
        sse_window_restart(w, seq - 1);
    sse_window_slot_t *slot = slot_push(w);
    slot->published = m->published;
    if (w->history_count && m->n_targets) {
        slot->message = sse_message_ref(m);
        slot->live = 1; /* held until the targets are gone through */
        w->bytes += message_bytes(m);
    }
    for (size_t i = 0; i < m->n_targets; i++) {
        sse_window_channel_t *c =
            channel_get(w, m->realm, m->targets[i].kind,
                        (sse_str_t){m->targets[i].name, m->targets[i].n}, true);
        if (!c || c->last == seq) /* named twice */
            continue;
        channel_touch(w, c, seq);
        if (!w->history_count) {
            c->trimmed = seq;
            continue;
        }
        slot->live++;
        channel_push(w, c, seq);
        while ((int64_t)c->n > w->history_count)
            channel_pop(w, c);
    }
    slot_release(w, seq);
}

void sse_window_supersede(sse_window_t *w, uint64_t seq)
{
    sse_window_slot_t *slot = slot_of(w, seq);
    if (!slot || !slot->message)
        return;
    sse_message_t *m = slot->message;
    for (size_t i = 0; i < m->n_targets; i++) {
        sse_window_channel_t *c =
            channel_get(w, m->realm, m->targets[i].kind,
                        (sse_str_t){m->targets[i].name, m->targets[i].n}, false);
        size_t at = c ? first_above(c, seq - 1) : 0;
        if (!c || at == c->n || *seq_at(c, at) != seq)
            continue;
        for (; at + 1 < c->n; at++)
            *seq_at(c, at) = *seq_at(c, at + 1);
        c->n--;
    }
    slot_drop(w, slot);
}

void sse_window_forget(sse_window_t *w, sse_str_t realm, sse_channel_t channel, uint64_t upto)
{
    sse_window_channel_t *c = channel_get(w, realm, channel.kind, channel.name, false);
    while (c && c->n && *seq_at(c, 0) <= upto)
        channel_pop(w, c);
}

/* Takes the oldest slot away; its channels forget that they had it, the store knows. */
static void raise_floor(sse_window_t *w)
{
    sse_window_slot_t *slot = &w->slots[w->head];
    uint64_t seq = w->floor + 1;
    sse_message_t *m = slot->message;
    for (size_t i = 0; m && i < m->n_targets; i++) {
        sse_window_channel_t *c =
            channel_get(w, m->realm, m->targets[i].kind,
                        (sse_str_t){m->targets[i].name, m->targets[i].n}, false);
        if (c && c->n && *seq_at(c, 0) == seq) {
            c->head = (c->head + 1) & (c->cap - 1);
            c->n--;
        }
    }
    slot_drop(w, slot);
    w->head = (w->head + 1) & (w->cap - 1);
    w->n--;
    w->bytes -= sizeof(*slot);
    w->floor = seq;
    while (w->first && w->first->last <= w->floor)
        channel_free(w, w->first);
}

void sse_window_evict(sse_window_t *w, size_t max_bytes, int64_t now_ms)
{
    int64_t limit = now_ms - (w->history_ms ? w->history_ms : 60000);
    while (w->n && (w->bytes > max_bytes || w->slots[w->head].published <= limit))
        raise_floor(w);
}

/* ---- reading ---- */

static apr_status_t get_message(void *baton, uint64_t seq, sse_message_t **out_message)
{
    sse_window_slot_t *slot = slot_of(baton, seq);
    if (!slot || !slot->message)
        return APR_NOTFOUND;
    *out_message = sse_message_ref(slot->message);
    return APR_SUCCESS;
}

static void find_hits(sse_window_t *w, sse_job_t *job, uint64_t after, int64_t now_ms,
                      sse_hits_t *hits)
{
    for (size_t i = 0; i < job->n_ranges; i++) {
        const sse_range_t *range = &job->ranges[i];
        uint64_t from = range->after > after ? range->after : after;
        sse_window_channel_t *c =
            channel_get(w, job->realm, range->channel.kind, range->channel.name, false);
        if (!c)
            continue;
        while (c->n && slot_of(w, *seq_at(c, 0))->published <= now_ms - w->history_ms)
            channel_pop(w, c);
        if (c->trimmed > from)
            sse_hits_gap(job, i, c->trimmed);
        size_t at = first_above(c, from), end = c->n;
        if (end - at > job->max_messages + 1)
            end = at + job->max_messages + 1;
        for (size_t k = at; k < end; k++)
            sse_hits_add(hits, *seq_at(c, k), i);
        if (end < c->n)
            sse_hits_cut(hits);
    }
}

void sse_window_read(sse_window_t *w, sse_job_t *job, uint64_t after, int64_t now_ms)
{
    sse_hits_t hits = {0};
    for (bool again = true; again;) {
        hits.n = 0;
        hits.bound = UINT64_MAX;
        find_hits(w, job, after, now_ms, &hits);
        sse_hits_load(&hits, job, now_ms, get_message, w, &after);
        again = !job->more && hits.bound != UINT64_MAX;
        if (again && job->n_messages) {
            job->more = true;
            again = false;
        }
    }
    sse_hits_clear(&hits);
}
