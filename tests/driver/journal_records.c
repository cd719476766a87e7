/* SPDX-License-Identifier: Apache-2.0 */
/* The example driver's records: what is known of users and groups, their sessions and cursors. */
#include "journal_impl.h"

#include <stdlib.h>

static const unsigned char no_session[SSE_SESSION_HASH_LEN];

static const unsigned char *session_of(sse_str_t hash)
{
    return hash.n == SSE_SESSION_HASH_LEN ? (const unsigned char *)hash.p : no_session;
}

static bool same_session(const unsigned char *a, const unsigned char *b)
{
    return memcmp(a, b, SSE_SESSION_HASH_LEN) == 0;
}

state_owner_t *state_owner(realm_t *realm, sse_channel_kind_t kind, sse_str_t name, bool add)
{
    for (state_owner_t *o = realm->owners; o; o = o->next)
        if (o->kind == kind && sse_str_eq(sse_str(o->name), name))
            return o;
    if (!add)
        return NULL;
    state_owner_t *o = sse_calloc(1, sizeof *o);
    o->kind = kind;
    o->name = sse_strndup(name.p, name.n);
    o->next = realm->owners;
    return realm->owners = o;
}

/* ---- taking away ---- */

static void drop_sub(sub_t **at)
{
    sub_t *sub = *at;
    *at = sub->next;
    free(sub->event);
    free(sub);
}

static void drop_membership(membership_t **at)
{
    membership_t *m = *at;
    *at = m->next;
    free(m->group);
    free(m);
}

static void drop_session(session_t **at)
{
    session_t *session = *at;
    *at = session->next;
    free(session->user);
    free(session);
}

static void clear_owner(state_owner_t *o)
{
    while (o->subs)
        drop_sub(&o->subs);
    while (o->memberships)
        drop_membership(&o->memberships);
    o->blocked_until = 0;
    o->last = (sse_pos_t){0};
    o->delivered_at = 0;
}

void state_realm_free_records(realm_t *realm)
{
    for (state_owner_t *o = realm->owners, *next; o; o = next) {
        next = o->next;
        clear_owner(o);
        free(o->name);
        free(o);
    }
    while (realm->sessions)
        drop_session(&realm->sessions);
}

/* ---- records ---- */

static bool lives(const sub_t *sub, int64_t now)
{
    return !sub->expires || (int64_t)sub->expires * 1000 > now;
}

static sse_record_t *make_record(const realm_t *realm, const state_owner_t *o, int64_t now)
{
    size_t n_subs = 0, n_memberships = 0;
    for (const sub_t *sub = o->subs; sub; sub = sub->next)
        n_subs += lives(sub, now);
    for (const membership_t *m = o->memberships; m; m = m->next)
        n_memberships++;
    sse_record_t *r =
        sse_record_create(o->kind, sse_str(realm->name), sse_str(o->name), n_subs, n_memberships);
    r->blocked_until = o->blocked_until;
    for (const sub_t *sub = o->subs; sub; sub = sub->next) {
        if (!lives(sub, now))
            continue;
        sse_sub_t *to = &r->subs[--n_subs];
        to->event = sse_strndup(sub->event, strlen(sub->event));
        to->start = sub->start;
        to->session_expires = sub->expires;
        memcpy(to->session, sub->session, sizeof to->session);
    }
    for (const membership_t *m = o->memberships; m; m = m->next) {
        sse_membership_t *to = &r->memberships[--n_memberships];
        to->group = sse_strndup(m->group, strlen(m->group));
        to->start = m->start;
    }
    return r;
}

/* A user's record and those of its groups, in the order of its memberships. */
static void make_full(realm_t *realm, state_owner_t *o, int64_t now, state_result_t *out)
{
    out->record = make_record(realm, o, now);
    if (o->kind != SSE_CHANNEL_USER)
        return;
    size_t n = out->record->n_memberships;
    out->groups = sse_calloc(n + 1, sizeof *out->groups);
    for (size_t i = 0; i < n; i++)
        out->groups[i] = make_record(
            realm,
            state_owner(realm, SSE_CHANNEL_GROUP, sse_str(out->record->memberships[i].group), true),
            now);
}

void state_result_clear(state_result_t *r)
{
    for (size_t i = 0; r->groups && i < r->record->n_memberships; i++)
        sse_record_unref(r->groups[i]);
    free(r->groups);
    sse_record_unref(r->record);
    free(r->published);
    *r = (state_result_t){0};
}

static void tell(state_t *s, realm_t *realm, state_owner_t *o, int64_t now)
{
    state_result_t made = {0};
    if (!s->up)
        return;
    make_full(realm, o, now, &made);
    s->up->changed(s->hub, made.record, made.groups);
    state_result_clear(&made);
}

static state_owner_t *take_owner(realm_t *realm, sse_str_t *line)
{
    sse_channel_kind_t kind = (sse_channel_kind_t)line_take_number(line);
    return state_owner(realm, kind, line_take(line), true);
}

void state_record(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    make_full(realm, take_owner(realm, &line), now, out);
}

/* ---- subscriptions ---- */

static bool is_subscribed(const state_owner_t *o, sse_str_t event, sse_str_t session)
{
    for (const sub_t *sub = o->subs; sub; sub = sub->next)
        if (sse_str_eq(sse_str(sub->event), event) &&
            same_session(sub->session, session_of(session)))
            return true;
    return false;
}

static bool subscribe(realm_t *realm, state_owner_t *o, sse_str_t event, sse_str_t session)
{
    if (is_subscribed(o, event, session))
        return false;
    sub_t *sub = sse_calloc(1, sizeof *sub);
    sub->event = sse_strndup(event.p, event.n);
    sub->start = realm->seq;
    memcpy(sub->session, session_of(session), sizeof sub->session);
    sub->next = o->subs;
    o->subs = sub;
    return true;
}

/* kind, name, session, n events, events */
void state_subscribe(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    state_owner_t *o = take_owner(realm, &line);
    sse_str_t session = line_take(&line);
    size_t n = (size_t)line_take_number(&line), count = 0;
    bool some = false;
    for (const sub_t *sub = o->subs; sub; sub = sub->next)
        count++;
    sse_str_t events = line;
    for (size_t i = 0; i < n; i++)
        count += !is_subscribed(o, line_take(&events), session);
    if (count > SSE_OWNER_SUBS_MAX) {
        out->status = APR_EINVAL;
        return;
    }
    for (; n; n--)
        some = subscribe(realm, o, line_take(&line), session) || some;
    if (some)
        tell(s, realm, o, now);
    make_full(realm, o, now, out);
}

void state_unsubscribe(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    state_owner_t *o = take_owner(realm, &line);
    sse_str_t session = line_take(&line);
    bool some = false;
    for (size_t n = (size_t)line_take_number(&line); n; n--) {
        sse_str_t event = line_take(&line);
        for (sub_t **at = &o->subs; *at;) {
            if (sse_str_eq(sse_str((*at)->event), event) &&
                (!session.n || same_session((*at)->session, session_of(session)))) {
                drop_sub(at);
                some = true;
            } else {
                at = &(*at)->next;
            }
        }
    }
    if (some)
        tell(s, realm, o, now);
    make_full(realm, o, now, out);
}

/* ---- groups ---- */

static bool join(realm_t *realm, state_owner_t *user, sse_str_t group)
{
    for (const membership_t *m = user->memberships; m; m = m->next)
        if (sse_str_eq(sse_str(m->group), group))
            return false;
    membership_t *m = sse_calloc(1, sizeof *m);
    m->group = sse_strndup(group.p, group.n);
    m->start = realm->seq;
    m->next = user->memberships;
    user->memberships = m;
    return true;
}

static bool leave(state_owner_t *user, sse_str_t group)
{
    for (membership_t **at = &user->memberships; *at; at = &(*at)->next)
        if (sse_str_eq(sse_str((*at)->group), group)) {
            drop_membership(at);
            return true;
        }
    return false;
}

static bool names(sse_str_t list, size_t n, const char *name)
{
    for (; n; n--)
        if (sse_str_eq(line_take(&list), sse_str(name)))
            return true;
    return false;
}

/* user, session, its expiry, n groups (-1: not known), groups */
void state_connect(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    sse_str_t name = line_take(&line), session = line_take(&line);
    uint64_t expires = (uint64_t)line_take_number(&line);
    int64_t n = line_take_number(&line);
    bool some = false;
    if (!name.n)
        return;
    state_owner_t *o = state_owner(realm, SSE_CHANNEL_USER, name, true);
    for (membership_t **at = &o->memberships; n >= 0 && *at;) {
        if (names(line, (size_t)n, (*at)->group)) {
            at = &(*at)->next;
        } else {
            drop_membership(at);
            some = true;
        }
    }
    for (; n > 0; n--)
        some = join(realm, o, line_take(&line)) || some;
    for (sub_t *sub = o->subs; sub && session.n && expires; sub = sub->next)
        if (same_session(sub->session, session_of(session)))
            sub->expires = expires;
    if (some)
        tell(s, realm, o, now);
    make_full(realm, o, now, out);
}

/* group, replace, n added, added, n removed, removed */
void state_members_change(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    sse_str_t group = line_take(&line);
    bool replace = line_take_number(&line) != 0;
    size_t n_add = (size_t)line_take_number(&line);
    sse_str_t added = line;
    for (size_t i = 0; i < n_add; i++) {
        state_owner_t *user = state_owner(realm, SSE_CHANNEL_USER, line_take(&line), true);
        if (join(realm, user, group))
            tell(s, realm, user, now);
    }
    size_t n_remove = (size_t)line_take_number(&line);
    for (state_owner_t *o = realm->owners; o; o = o->next) {
        bool out_of_it = replace ? !names(added, n_add, o->name) : names(line, n_remove, o->name);
        if (o->kind == SSE_CHANNEL_USER && out_of_it && leave(o, group))
            tell(s, realm, o, now);
    }
}

size_t state_members(state_t *s, sse_str_t line, sse_str_t **out_names)
{
    realm_t *realm = state_realm(s, &line);
    sse_str_t group = line_take(&line);
    size_t n = 0;
    for (const state_owner_t *o = realm->owners; o; o = o->next)
        n++;
    *out_names = sse_calloc(n + 1, sizeof **out_names);
    n = 0;
    for (const state_owner_t *o = realm->owners; o; o = o->next)
        for (const membership_t *m = o->memberships; m; m = m->next)
            if (sse_str_eq(sse_str(m->group), group))
                (*out_names)[n++] = sse_str(o->name);
    return n;
}

/* ---- forgetting and disconnecting ---- */

void state_forget(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    sse_channel_t id = {(sse_channel_kind_t)line_take_number(&line), line_take(&line)};
    channel_t *c = state_channel(realm, id, false);
    if (c)
        state_channel_empty(c);
    if (id.kind != SSE_CHANNEL_USER && id.kind != SSE_CHANNEL_GROUP)
        return;
    for (state_owner_t *o = realm->owners; id.kind == SSE_CHANNEL_GROUP && o; o = o->next)
        if (o->kind == SSE_CHANNEL_USER && leave(o, id.name))
            tell(s, realm, o, now);
    for (session_t **at = &realm->sessions; id.kind == SSE_CHANNEL_USER && *at;) {
        if (sse_str_eq(sse_str((*at)->user), id.name))
            drop_session(at);
        else
            at = &(*at)->next;
    }
    state_owner_t *o = state_owner(realm, id.kind, id.name, true);
    clear_owner(o);
    tell(s, realm, o, now);
}

static void end_session(state_t *s, realm_t *realm, const unsigned char *hash, int64_t now)
{
    for (state_owner_t *o = realm->owners; o; o = o->next) {
        bool some = false;
        for (sub_t **at = &o->subs; *at;) {
            if (same_session((*at)->session, hash)) {
                drop_sub(at);
                some = true;
            } else {
                at = &(*at)->next;
            }
        }
        if (some)
            tell(s, realm, o, now);
    }
    for (session_t **at = &realm->sessions; *at;) {
        if (same_session((*at)->hash, hash))
            drop_session(at);
        else
            at = &(*at)->next;
    }
}

/* kind, name, blocked until. There is one hub: nobody else is to be told. */
void state_disconnect(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    char kind = (char)line_take_number(&line);
    sse_str_t name = line_take(&line);
    uint64_t until = (uint64_t)line_take_number(&line);
    if (kind == 's') {
        end_session(s, realm, session_of(name), now);
    } else if (until) {
        state_owner_t *o = state_owner(realm, (sse_channel_kind_t)kind, name, true);
        o->blocked_until = until;
        tell(s, realm, o, now);
    }
}

/* ---- tracking and sessions ---- */

/* n, each: user, epoch, number, delivered at */
void state_cursors(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    for (size_t n = (size_t)line_take_number(&line); n; n--) {
        state_owner_t *o = state_owner(realm, SSE_CHANNEL_USER, line_take(&line), true);
        o->last.epoch = (uint64_t)line_take_number(&line);
        o->last.seq = (uint64_t)line_take_number(&line);
        o->delivered_at = line_take_number(&line);
    }
}

static void range(sse_buf_t *line, size_t *n, sse_channel_kind_t kind, const char *name,
                  uint64_t start, uint64_t last)
{
    line_put_number(line, kind);
    line_put(line, sse_str(name));
    line_put_number(line, (int64_t)(start > last ? start : last));
    ++*n;
}

void state_tracking(state_t *s, sse_str_t line, int64_t now, sse_tracking_t *out)
{
    realm_t *realm = state_realm(s, &line);
    sse_str_t user = line_take(&line);
    state_owner_t *o = state_owner(realm, SSE_CHANNEL_USER, user, false);
    sse_buf_t ranges = {0}, ask = {0};
    sse_history_t waits;
    size_t n = 0;
    *out = (sse_tracking_t){0};
    if (!o)
        return;
    out->last = o->last;
    out->delivered_at = o->delivered_at;
    uint64_t last = o->last.seq;
    range(&ranges, &n, SSE_CHANNEL_USER, o->name, 0, last);
    for (const sub_t *sub = o->subs; sub; sub = sub->next)
        range(&ranges, &n, SSE_CHANNEL_EVENT, sub->event, sub->start, last);
    for (const membership_t *m = o->memberships; m; m = m->next) {
        const state_owner_t *group =
            state_owner(realm, SSE_CHANNEL_GROUP, sse_str(m->group), false);
        uint64_t start = m->start > last ? m->start : last;
        range(&ranges, &n, SSE_CHANNEL_GROUP, m->group, 0, start);
        for (const sub_t *sub = group ? group->subs : NULL; sub; sub = sub->next)
            range(&ranges, &n, SSE_CHANNEL_EVENT, sub->event, sub->start, start);
    }
    line_put(&ask, sse_str(realm->name));
    line_put_number(&ask, INT32_MAX);
    line_put_number(&ask, INT64_MAX);
    line_put_number(&ask, (int64_t)n);
    sse_buf_str(&ask, sse_buf_slice(&ranges));
    state_history(s, sse_buf_slice(&ask), now, &waits);
    out->pending = waits.n_messages;
    free((void *)waits.messages);
    free((void *)waits.gaps);
    sse_buf_clear(&ranges);
    sse_buf_clear(&ask);
}

/* session, user, expires */
void state_session_put(state_t *s, sse_str_t line, int64_t now, state_result_t *out)
{
    realm_t *realm = state_realm(s, &line);
    const unsigned char *hash = session_of(line_take(&line));
    sse_str_t user = line_take(&line);
    for (session_t **at = &realm->sessions; *at;) {
        if (same_session((*at)->hash, hash) || (int64_t)(*at)->expires * 1000 <= now)
            drop_session(at);
        else
            at = &(*at)->next;
    }
    session_t *session = sse_calloc(1, sizeof *session);
    memcpy(session->hash, hash, sizeof session->hash);
    session->user = sse_strndup(user.p, user.n);
    session->expires = (uint64_t)line_take_number(&line);
    session->next = realm->sessions;
    realm->sessions = session;
}

bool state_session_get(state_t *s, sse_str_t line, int64_t now, sse_str_t *out_user,
                       uint64_t *out_expires)
{
    realm_t *realm = state_realm(s, &line);
    const unsigned char *hash = session_of(line_take(&line));
    for (const session_t *session = realm->sessions; session; session = session->next)
        if (same_session(session->hash, hash) && (int64_t)session->expires * 1000 > now) {
            *out_user = sse_str(session->user);
            *out_expires = session->expires;
            return true;
        }
    return false;
}
