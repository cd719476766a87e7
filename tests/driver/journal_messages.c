/* SPDX-License-Identifier: Apache-2.0 */
/* The example driver's messages: publishing with keys and superseding, history with its gaps. A
 * realm's channels each hold the messages that went to them. */
#include "journal_impl.h"

#include <stdlib.h>

/* ---- lines ---- */

sse_str_t line_take(sse_str_t *rest)
{
    size_t n = 0, i = 0;
    while (i < rest->n && i < 10 && rest->p[i] >= '0' && rest->p[i] <= '9')
        n = 10 * n + (size_t)(rest->p[i++] - '0');
    if (!i || i == rest->n || rest->p[i] != ':' || n > rest->n - i - 1)
        return SSE_STR_NONE;
    sse_str_t field = {rest->p + i + 1, n};
    *rest = (sse_str_t){field.p + n, rest->n - i - 1 - n};
    return field;
}

int64_t line_take_number(sse_str_t *rest)
{
    char text[24] = "";
    sse_str_t field = line_take(rest);
    if (field.n < sizeof text)
        memcpy(text, field.p ? field.p : "", field.n);
    return strtoll(text, NULL, 10);
}

/* ---- realms and channels ---- */

state_t *state_create(const sse_hubconf_t *conf, uint64_t epoch)
{
    state_t *s = sse_calloc(1, sizeof *s);
    s->epoch = epoch;
    s->count = conf->history_count;
    s->seconds = conf->history_seconds;
    return s;
}

void state_speak(state_t *s, const sse_broker_upcalls_t *up, void *hub)
{
    s->up = up;
    s->hub = hub;
}

realm_t *state_realm(state_t *s, sse_str_t *line)
{
    sse_str_t name = line_take(line);
    for (realm_t *r = s->realms; r; r = r->next)
        if (sse_str_eq(sse_str(r->name), name))
            return r;
    realm_t *r = sse_calloc(1, sizeof *r);
    r->name = sse_strndup(name.p, name.n);
    r->next = s->realms;
    return s->realms = r;
}

sse_pos_t state_pos(state_t *s, sse_str_t realm)
{
    for (realm_t *r = s->realms; r; r = r->next)
        if (sse_str_eq(sse_str(r->name), realm))
            return (sse_pos_t){s->epoch, r->seq};
    return (sse_pos_t){s->epoch, 0};
}

channel_t *state_channel(realm_t *realm, sse_channel_t id, bool add)
{
    for (channel_t *c = realm->channels; c; c = c->next)
        if (c->id.kind == id.kind && sse_str_eq(c->id.name, id.name))
            return c;
    if (!add)
        return NULL;
    channel_t *c = sse_calloc(1, sizeof *c);
    c->id = (sse_channel_t){id.kind, {sse_strndup(id.name.p, id.name.n), id.name.n}};
    c->next = realm->channels;
    return realm->channels = c;
}

static void drop_entry(channel_t *c, size_t i, bool is_gap)
{
    if (is_gap && c->entries[i].message->pos.seq > c->gone)
        c->gone = c->entries[i].message->pos.seq;
    sse_message_unref(c->entries[i].message);
    free(c->entries[i].replace);
    c->n--;
    memmove(c->entries + i, c->entries + i + 1, (c->n - i) * sizeof *c->entries);
}

void state_channel_empty(channel_t *channel)
{
    while (channel->n)
        drop_entry(channel, channel->n - 1, channel->id.kind == SSE_CHANNEL_EVENT);
}

void state_expire(state_t *s, channel_t *channel, int64_t now)
{
    for (size_t i = channel->n; i > 0; i--) {
        const sse_message_t *m = channel->entries[i - 1].message;
        if (m->published + s->seconds * 1000 <= now || (m->expires && m->expires <= now))
            drop_entry(channel, i - 1, true);
    }
}

void state_free(state_t *s)
{
    for (realm_t *r = s->realms, *next_realm; r; r = next_realm) {
        next_realm = r->next;
        for (channel_t *c = r->channels, *next; c; c = next) {
            next = c->next;
            state_channel_empty(c);
            free(c->entries);
            free((char *)c->id.name.p);
            free(c);
        }
        for (pubkey_t *k = r->keys, *next; k; k = next) {
            next = k->next;
            free(k->id);
            free(k->content);
            free(k);
        }
        state_realm_free_records(r);
        free(r->name);
        free(r);
    }
    free(s);
}

/* ---- publishing ---- */

typedef struct item_t {
    sse_str_t event, data, key, replace;
    bool raw;
    int64_t ttl;
    sse_channel_t *channels;
    size_t n_channels;
    sse_buf_t to;      /* its channels, sorted */
    sse_buf_t content; /* what a repeat must have, too */
} item_t;

static int by_channel(const void *a, const void *b)
{
    const sse_channel_t *x = a, *y = b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int rc = x->kind != y->kind ? (int)x->kind - (int)y->kind
             : n                ? memcmp(x->name.p, y->name.p, n)
                                : 0;
    return rc ? rc : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static void read_item(sse_str_t *line, item_t *item)
{
    item->event = line_take(line);
    item->data = line_take(line);
    item->raw = line_take_number(line) != 0;
    item->ttl = line_take_number(line);
    item->key = line_take(line);
    item->replace = line_take(line);
    item->n_channels = (size_t)line_take_number(line);
    item->channels = sse_calloc(item->n_channels + 1, sizeof *item->channels);
    for (size_t i = 0; i < item->n_channels; i++) {
        item->channels[i].kind = (sse_channel_kind_t)line_take_number(line);
        item->channels[i].name = line_take(line);
    }
    sse_channel_t *sorted = sse_calloc(item->n_channels + 1, sizeof *sorted);
    memcpy(sorted, item->channels, item->n_channels * sizeof *sorted);
    qsort(sorted, item->n_channels, sizeof *sorted, by_channel);
    line_put(&item->to, item->key);
    for (size_t i = 0; i < item->n_channels; i++) {
        sse_buf_char(&item->to, (char)sorted[i].kind);
        line_put(&item->to, sorted[i].name);
    }
    free(sorted);
    line_put(&item->content, item->event);
    line_put(&item->content, item->data);
    line_put(&item->content, item->replace);
    sse_buf_printf(&item->content, "%d %lld", item->raw, (long long)item->ttl);
}

static pubkey_t *known_key(realm_t *realm, const item_t *item, int64_t now)
{
    pubkey_t **at = &realm->keys;
    while (*at) {
        pubkey_t *k = *at;
        if (k->until <= now) {
            *at = k->next;
            free(k->id);
            free(k->content);
            free(k);
            continue;
        }
        if (sse_str_eq((sse_str_t){k->id, k->id_n}, sse_buf_slice(&item->to)))
            return k;
        at = &k->next;
    }
    return NULL;
}

static void remember_key(state_t *s, realm_t *realm, const item_t *item, int64_t now)
{
    pubkey_t *k = sse_calloc(1, sizeof *k);
    k->id = sse_strndup(item->to.p, k->id_n = item->to.n);
    k->content = sse_strndup(item->content.p, k->content_n = item->content.n);
    k->seq = realm->seq;
    k->until = now + (s->seconds > 0 ? s->seconds : 3600) * 1000;
    k->next = realm->keys;
    realm->keys = k;
}

/* The earlier message with the same event, value and addressees makes room; that is no gap. */
static void supersede(realm_t *realm, channel_t *c, const item_t *item)
{
    for (size_t i = c->n; i > 0; i--) {
        const entry_t *e = &c->entries[i - 1];
        const sse_message_t *m = e->message;
        bool same = e->replace && m->n_targets == item->n_channels &&
                    sse_str_eq((sse_str_t){e->replace, e->replace_n}, item->replace) &&
                    sse_str_eq(m->event, item->event);
        for (size_t k = 0; same && k < m->n_targets; k++)
            same = item->channels[k].kind == m->targets[k].kind &&
                   sse_str_eq(item->channels[k].name,
                              (sse_str_t){m->targets[k].name, m->targets[k].n});
        if (same)
            drop_entry(c, i - 1, false);
    }
}

static void keep(state_t *s, realm_t *realm, const item_t *item, sse_message_t *m, int64_t now)
{
    for (size_t i = 0; i < item->n_channels; i++) {
        channel_t *c = state_channel(realm, item->channels[i], true);
        if (item->replace.n)
            supersede(realm, c, item);
        if (c->n && c->entries[c->n - 1].message == m)
            continue; /* named twice */
        if (c->n == c->cap) {
            c->cap = c->cap ? 2 * c->cap : 16;
            c->entries = sse_realloc(c->entries, c->cap * sizeof *c->entries);
        }
        c->entries[c->n++] =
            (entry_t){sse_message_ref(m),
                      item->replace.n ? sse_strndup(item->replace.p, item->replace.n) : NULL,
                      item->replace.n};
        state_expire(s, c, now);
        while (c->n > (size_t)s->count)
            drop_entry(c, 0, true);
    }
}

static void publish_item(state_t *s, realm_t *realm, const item_t *item, int64_t now)
{
    sse_pos_t pos = {s->epoch, ++realm->seq};
    sse_message_t *m = sse_message_create(pos, sse_str(realm->name), item->event, item->data,
                                          item->raw, now, item->ttl ? now + item->ttl * 1000 : 0,
                                          item->channels, item->n_channels);
    keep(s, realm, item, m, now);
    if (item->key.n)
        remember_key(s, realm, item, now);
    if (s->up)
        s->up->message(s->hub, m);
    sse_message_unref(m);
}

/* All or none: keys are looked at first. */
void state_publish(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    size_t n = (size_t)line_take_number(&line);
    item_t *items = sse_calloc(n + 1, sizeof *items);
    out->published = sse_calloc(n + 1, sizeof *out->published);
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        read_item(&line, &items[i]);
        const pubkey_t *k = items[i].key.n ? known_key(realm, &items[i], now) : NULL;
        bool clash = k && !sse_str_eq((sse_str_t){k->content, k->content_n},
                                      sse_buf_slice(&items[i].content));
        for (size_t e = 0; items[i].key.n && e < i; e++)
            clash =
                clash ||
                (sse_str_eq(sse_buf_slice(&items[e].to), sse_buf_slice(&items[i].to)) &&
                 !sse_str_eq(sse_buf_slice(&items[e].content), sse_buf_slice(&items[i].content)));
        if (clash && out->status == APR_SUCCESS) {
            out->status = APR_EEXIST;
            out->bad = i;
        }
    }
    for (size_t i = 0; i < n && out->status == APR_SUCCESS; i++) {
        const pubkey_t *k = items[i].key.n ? known_key(realm, &items[i], now) : NULL;
        if (!k)
            publish_item(s, realm, &items[i], now);
        out->published[i] = (sse_published_t){{s->epoch, k ? k->seq : realm->seq}, k != NULL};
    }
    for (size_t i = 0; i < n; i++) {
        free(items[i].channels);
        sse_buf_clear(&items[i].to);
        sse_buf_clear(&items[i].content);
    }
    free(items);
}

/* ---- history ---- */

static int by_seq(const void *a, const void *b)
{
    uint64_t x = (*(sse_message_t *const *)a)->pos.seq, y = (*(sse_message_t *const *)b)->pos.seq;
    return (x > y) - (x < y);
}

/* max_messages, max_bytes, n ranges, each: kind, name, after */
void state_history(state_t *s, sse_str_t line, int64_t now, sse_history_t *out)
{
    realm_t *realm = state_realm(s, &line);
    size_t most = (size_t)line_take_number(&line), bytes = (size_t)line_take_number(&line);
    size_t n = (size_t)line_take_number(&line), found = 0, cap = 64, kept = 0;
    sse_message_t **list = sse_malloc(cap * sizeof *list);
    size_t *gaps = sse_calloc(n + 1, sizeof *gaps);
    *out = (sse_history_t){.gaps = gaps, .pos = {s->epoch, realm->seq}};
    for (size_t i = 0; i < n; i++) {
        sse_channel_kind_t kind = (sse_channel_kind_t)line_take_number(&line);
        sse_channel_t id = {kind, line_take(&line)};
        uint64_t after = (uint64_t)line_take_number(&line);
        channel_t *c = state_channel(realm, id, false);
        if (!c)
            continue;
        state_expire(s, c, now);
        if (c->gone > after) {
            gaps[out->n_gaps++] = i;
            out->gap_end = c->gone > out->gap_end ? c->gone : out->gap_end;
        }
        for (size_t e = 0; e < c->n; e++) {
            if (c->entries[e].message->pos.seq <= after)
                continue;
            if (found == cap)
                list = sse_realloc(list, (cap *= 2) * sizeof *list);
            list[found++] = c->entries[e].message;
        }
    }
    qsort(list, found, sizeof *list, by_seq);
    for (size_t i = 0; i < found && !out->more; i++) {
        if (kept && list[kept - 1] == list[i])
            continue;
        out->more = kept && (kept == most || list[i]->frame.n > bytes);
        if (out->more)
            break;
        bytes -= list[i]->frame.n < bytes ? list[i]->frame.n : bytes;
        list[kept++] = list[i];
    }
    out->messages = list;
    out->n_messages = kept;
}
