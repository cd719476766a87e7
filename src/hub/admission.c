/* SPDX-License-Identifier: Apache-2.0 */
/* See admission.h. A ticket is an sse_attach_t that waits for its descriptor; it counts as a stream
 * from the moment it is asked for, so that a crowd cannot pass a limit between the steps. */
#include "hub/admission_impl.h"

#include "core/crypto.h"
#include "core/log.h"
#include "hub/hub.h"
#include "hub/missed.h"
#include "hub/tlsrecord.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Milliseconds between RESERVE and ATTACH; a worker writes the head in between. */
#define TICKET_MS 30000
/* How often the broker is asked for a user's records that change all the time. */
#define ASKED_MAX 5
/* Descriptors that are not streams: channels, sockets, database, log. */
#define OTHER_FDS 640

typedef struct sse_address_t {
    UT_hash_handle hh;
    unsigned char address[16];
    uint32_t streams;
} sse_address_t;

/* ---- limits ---- */

static sse_address_t *find_address(sse_hub_t *hub, const unsigned char *address)
{
    sse_address_t *found;
    HASH_FIND(hh, hub->admission.addresses, address, 16, found);
    return found;
}

static void count_in(sse_hub_t *hub, const unsigned char *address)
{
    atomic_fetch_add(&hub->streams, 1);
    if (!hub->conf.max_streams_per_host)
        return;
    sse_address_t *a = find_address(hub, address);
    if (!a) {
        a = sse_calloc(1, sizeof *a);
        memcpy(a->address, address, sizeof a->address);
        HASH_ADD(hh, hub->admission.addresses, address, 16, a);
    }
    a->streams++;
}

void sse_admission_closed(sse_hub_t *hub, const unsigned char address[16], bool parked)
{
    atomic_fetch_sub(&hub->streams, 1);
    if (parked)
        hub->admission.parked--;
    sse_address_t *a = hub->conf.max_streams_per_host ? find_address(hub, address) : NULL;
    if (a && --a->streams == 0) {
        HASH_DELETE(hh, hub->admission.addresses, a);
        free(a);
    }
}

static bool limits_reached(sse_hub_t *hub, const unsigned char *address)
{
    if (atomic_load(&hub->streams) >= hub->admission.max_streams)
        return true;
    const sse_address_t *a = hub->conf.max_streams_per_host ? find_address(hub, address) : NULL;
    return a && a->streams >= (uint64_t)hub->conf.max_streams_per_host;
}

static void parse_address(sse_str_t text, unsigned char out[16])
{
    char buf[INET6_ADDRSTRLEN] = "";
    memset(out, 0, 16);
    if (text.n && text.n < sizeof buf)
        memcpy(buf, text.p, text.n);
    if (inet_pton(AF_INET, buf, out + 12) == 1)
        out[10] = out[11] = 0xff;
    else
        inet_pton(AF_INET6, buf, out);
}

/* ---- tickets ---- */

static void ticket_free(sse_ticket_t *t)
{
    sse_attach_free(t->attach);
    free(t);
}

static void hold_user(sse_ticket_t *t, bool on)
{
    if (on == t->holds_user)
        return;
    t->holds_user = on;
    sse_interest_change(t->hub, sse_str(t->attach->realm),
                        (sse_channel_t){SSE_CHANNEL_USER, sse_str(t->attach->user)}, on);
}

/* The stream will not be: gives its place back. */
static void ticket_drop(sse_ticket_t *t)
{
    sse_admission_closed(t->hub, t->attach->address, t->attach->parked);
    if (t->holds)
        sse_interest_attach(t->hub, t->attach, false);
    hold_user(t, false);
    ticket_free(t);
}

static void ticket_add(sse_ticket_t *t)
{
    sse_admission_t *adm = &t->hub->admission;
    t->id = adm->next_ticket++;
    t->deadline = uv_now(&t->hub->loop) + TICKET_MS;
    HASH_ADD(hh, adm->tickets, id, sizeof t->id, t);
}

/* Into the table while the broker is asked: what is changed or revoked meanwhile concerns this one
 * as well. */
static void ticket_wait(sse_ticket_t *t)
{
    t->waits = true;
    ticket_add(t);
}

static void ticket_answered(sse_ticket_t *t)
{
    t->waits = false;
    HASH_DELETE(hh, t->hub->admission.tickets, t);
}

static sse_ticket_t *ticket_take(sse_hub_t *hub, uint64_t id)
{
    sse_ticket_t *t;
    HASH_FIND(hh, hub->admission.tickets, &id, sizeof id, t);
    if (!t || t->waits)
        return NULL;
    HASH_DELETE(hh, hub->admission.tickets, t);
    return t;
}

static sse_attach_t *make_attach(sse_str_t realm, sse_str_t user, sse_str_t address)
{
    sse_attach_t *a = sse_calloc(1, sizeof *a);
    a->fd = -1;
    a->reset = a->end = -1;
    a->realm = sse_strndup(realm.p, realm.n);
    if (user.n)
        a->user = sse_strndup(user.p, user.n);
    parse_address(address, a->address);
    return a;
}

/* ---- refusals ---- */

void sse_admission_refusal(sse_hub_t *hub, sse_end_reason_t reason, sse_buf_t *out,
                           uint32_t *out_retry_after)
{
    uint32_t jitter;
    sse_crypto_random(&jitter, sizeof jitter);
    uint32_t spread = 2 * (uint32_t)hub->conf.retry + (uint32_t)atomic_load(&hub->streams) + 1;
    uint32_t ms = 2 * (uint32_t)hub->conf.retry + jitter % spread;
    sse_render_retry(out, ms);
    sse_render_end(out, (sse_pos_t){0, 0}, reason);
    *out_retry_after = (ms + 999) / 1000;
    if (reason == SSE_END_BUSY)
        hub->counters.refused_busy++;
    else
        hub->counters.refused_unavailable++;
}

static void answer_refusal(sse_hub_t *hub, sse_wire_verdict_t verdict, sse_reserved_fn cb,
                           void *baton)
{
    sse_buf_t body = {0};
    sse_wire_reserved_t reply = {.verdict = verdict};
    sse_admission_refusal(hub, verdict == SSE_RESERVED_BUSY ? SSE_END_BUSY : SSE_END_UNAVAILABLE,
                          &body, &reply.retry_after);
    reply.body = sse_buf_slice(&body);
    cb(baton, &reply);
    sse_buf_clear(&body);
}

/* Revoked while history was read: told its end, as an open stream would be, and nothing more. */
static void answer_end(sse_ticket_t *t)
{
    const sse_attach_t *a = t->attach;
    sse_pos_t pos = {a->pos.epoch, a->cursor};
    sse_buf_t body = {0};
    uint32_t retry = (uint32_t)t->hub->conf.retry;
    if (a->end == SSE_END_EXPIRED && retry < SSE_EXPIRED_RETRY_MS)
        retry = SSE_EXPIRED_RETRY_MS;
    sse_render_retry(&body, retry);
    if (a->reset >= 0)
        sse_render_reset(&body, pos, (sse_reset_reason_t)a->reset, NULL, 0);
    sse_render_end(&body, pos, (sse_end_reason_t)a->end);
    sse_wire_reserved_t reply = {.verdict = SSE_RESERVED_POLL, .body = sse_buf_slice(&body)};
    t->cb(t->baton, &reply);
    sse_buf_clear(&body);
}

/* What was missed goes before the end: a client that cannot have a stream now still gets its
 * messages. */
static void on_missed(void *baton, apr_status_t status, const sse_buf_t *missed, sse_pos_t pos)
{
    sse_ticket_t *t = baton;
    sse_hub_t *hub = t->hub;
    sse_buf_t body = {0};
    sse_wire_reserved_t reply = {.verdict = t->verdict};
    ticket_answered(t);
    if (t->attach->end >= 0) {
        answer_end(t);
        ticket_drop(t);
        return;
    }
    static const sse_buf_t nothing;
    if (pos.epoch != t->attach->pos.epoch) { /* it is of positions that are no more */
        missed = &nothing;
        status = APR_EAGAIN;
    }
    if (t->verdict == SSE_RESERVED_POLL && status == APR_SUCCESS) {
        uint32_t jitter;
        sse_crypto_random(&jitter, sizeof jitter);
        uint32_t retry = (uint32_t)hub->conf.retry, most = retry + retry / 2;
        sse_render_retry(&body, retry + jitter % (most - retry + 1));
        sse_buf_str(&body, sse_buf_slice(missed));
        hub->admission.polled++;
        if (t->attach->user)
            sse_polled_add(hub, sse_str(t->attach->realm), sse_str(t->attach->user), most);
    } else {
        sse_buf_t end = {0};
        bool busy = t->verdict == SSE_RESERVED_BUSY;
        if (!busy)
            reply.verdict = SSE_RESERVED_UNAVAILABLE;
        sse_buf_str(&body, sse_buf_slice(missed));
        sse_admission_refusal(hub, busy ? SSE_END_BUSY : SSE_END_UNAVAILABLE, &end,
                              &reply.retry_after);
        sse_buf_str(&body, sse_buf_slice(&end));
        sse_buf_clear(&end);
    }
    reply.body = sse_buf_slice(&body);
    t->cb(t->baton, &reply);
    sse_buf_clear(&body);
    ticket_drop(t);
}

/* ---- reserving ---- */

/* Where the stream begins, by what the client brought. */
static void set_cursor(sse_ticket_t *t)
{
    sse_attach_t *a = t->attach;
    a->cursor = a->pos.seq;
    a->current = !sse_interest_wanted(t->hub);
    if (!t->last_id_len)
        return;
    sse_pos_t asked;
    bool end_mark;
    apr_status_t rv = sse_eventid_parse((sse_str_t){t->last_id, t->last_id_len}, &asked, &end_mark);
    if (rv != APR_SUCCESS || asked.epoch != a->pos.epoch || asked.seq > a->pos.seq) {
        a->reset = SSE_RESET_UNKNOWN_ID;
    } else {
        a->cursor = asked.seq;
        a->resumed = true;
    }
    /* A broker that sends by interest may have sent nothing of the stream's channels yet. */
    a->current = a->cursor == a->pos.seq && !sse_interest_wanted(t->hub);
}

static void finish_reserve(sse_ticket_t *t)
{
    if (t->verdict == SSE_RESERVED_OK) {
        ticket_add(t);
        sse_wire_reserved_t reply = {.verdict = SSE_RESERVED_OK, .ticket = t->id};
        t->cb(t->baton, &reply);
    } else {
        ticket_wait(t);
        sse_missed_read(t->hub, t->attach, on_missed, t);
    }
}

static void on_tracking(void *baton, apr_status_t status, const sse_tracking_t *tracking)
{
    sse_ticket_t *t = baton;
    sse_attach_t *a = t->attach;
    ticket_answered(t);
    if (a->reset < 0 && status == APR_SUCCESS && tracking->last.epoch == a->pos.epoch &&
        tracking->last.seq <= a->pos.seq) {
        a->cursor = tracking->last.seq;
        a->resumed = true;
    }
    a->current = false; /* messages may have come since on_connected */
    finish_reserve(t);
}

static bool stale(const sse_hub_t *hub, const sse_ticket_t *t)
{
    const sse_attach_t *a = t->attach;
    sse_str_t realm = sse_str(a->realm);
    return (a->has_session &&
            sse_revocations_stale(&hub->revocations, 's', realm,
                                  (sse_str_t){(const char *)a->session, sizeof a->session},
                                  t->looked_up)) ||
           (a->user &&
            sse_revocations_stale(&hub->revocations, 'u', realm, sse_str(a->user), t->looked_up));
}

/* Takes the records and holds their channels. True when they may be of before a change that was
 * not sent here: it came while they were on their way, or to a group of which nobody here was a
 * member. */
static bool take_answer(sse_ticket_t *t, sse_record_t *user, sse_record_t *const *groups)
{
    sse_attach_t *a = t->attach;
    bool old = t->outdated;
    for (size_t i = 0; user && i < user->n_memberships; i++)
        old |= !sse_interest_held(
            t->hub, sse_str(a->realm),
            (sse_channel_t){SSE_CHANNEL_GROUP, sse_str(user->memberships[i].group)});
    if (user && a->record && !t->outdated) {
        sse_admission_take_records(t->hub, a, user, groups);
    } else if (!t->holds) {
        if (user) {
            a->record = sse_record_ref(user);
            a->groups = sse_calloc(user->n_memberships + 1, sizeof *a->groups);
            for (size_t i = 0; i < user->n_memberships; i++)
                a->groups[i] = sse_record_ref(groups[i]);
        }
        t->holds = true;
        sse_interest_attach(t->hub, a, true);
    }
    hold_user(t, false);
    return old && sse_interest_wanted(t->hub);
}

static void on_connected(void *baton, apr_status_t status, sse_record_t *user,
                         sse_record_t *const *groups, sse_pos_t pos);

/* Where the broker sends by interest, the user's channel is held before, so that no change of the
 * record is missed between the answer and the stream. */
static void ask_records(sse_ticket_t *t, const sse_str_t *groups, size_t n_groups)
{
    const sse_attach_t *a = t->attach;
    sse_str_t session = {(const char *)a->session, a->has_session ? sizeof a->session : 0};
    t->asked++;
    t->outdated = false;
    t->connecting = a->user && sse_interest_wanted(t->hub);
    if (t->connecting) {
        if (!t->holds)
            hold_user(t, true);
        ticket_wait(t);
    }
    t->hub->broker->driver->connect(t->hub->broker, sse_str(a->realm),
                                    sse_str(a->user ? a->user : ""), groups, n_groups, session,
                                    a->session_expires, on_connected, t);
}

static void on_connected(void *baton, apr_status_t status, sse_record_t *user,
                         sse_record_t *const *groups, sse_pos_t pos)
{
    sse_ticket_t *t = baton;
    sse_attach_t *a = t->attach;
    sse_hub_t *hub = t->hub;
    if (t->connecting)
        ticket_answered(t);
    t->connecting = false;
    if (status != APR_SUCCESS || hub->state != SSE_HUB_RUNNING) {
        answer_refusal(hub, SSE_RESERVED_UNAVAILABLE, t->cb, t->baton);
        ticket_drop(t);
        return;
    }
    bool blocked = user && user->blocked_until > (uint64_t)time(NULL);
    if (blocked || stale(hub, t)) {
        sse_wire_reserved_t reply = {.verdict =
                                         blocked ? SSE_RESERVED_REFUSED : SSE_RESERVED_STALE};
        t->cb(t->baton, &reply);
        ticket_drop(t);
        return;
    }
    a->pos = pos;
    if (take_answer(t, user, groups) && t->asked < ASKED_MAX) {
        ask_records(t, NULL, 0); /* the first question stored the groups that were named */
        return;
    }
    set_cursor(t);
    if (t->flags & SSE_RESERVE_RESUME_USER && !t->last_id_len && a->user) {
        ticket_wait(t);
        hub->broker->driver->tracking(hub->broker, sse_str(a->realm), sse_str(a->user), on_tracking,
                                      t);
    } else {
        finish_reserve(t);
    }
}

void sse_admission_reserve(sse_hub_t *hub, const sse_wire_reserve_t *req, const void *source,
                           sse_reserved_fn cb, void *baton)
{
    if (hub->state != SSE_HUB_RUNNING) {
        answer_refusal(hub, SSE_RESERVED_UNAVAILABLE, cb, baton);
        return;
    }
    sse_ticket_t *t = sse_calloc(1, sizeof *t);
    t->hub = hub;
    t->cb = cb;
    t->baton = baton;
    t->flags = req->flags;
    t->source = source;
    t->looked_up = req->looked_up;
    t->attach = make_attach(req->realm, req->user, req->address);
    sse_attach_t *a = t->attach;
    a->session_expires = req->session_expires;
    if (req->session.n == SSE_SESSION_HASH_LEN) {
        a->has_session = true;
        memcpy(a->session, req->session.p, SSE_SESSION_HASH_LEN);
    }
    a->events = sse_calloc(req->n_events + 1, sizeof *a->events);
    for (uint32_t i = 0; i < req->n_events; i++)
        a->events[a->n_events++] = sse_strndup(req->events[i].p, req->events[i].n);
    t->last_id_len = req->last_id.n < sizeof t->last_id ? req->last_id.n : sizeof t->last_id - 1;
    memcpy(t->last_id, req->last_id.p ? req->last_id.p : "", t->last_id_len);

    bool polled = req->flags & SSE_RESERVE_POLLED ||
                  (req->flags & SSE_RESERVE_PARKED &&
                   hub->admission.parked >= (uint64_t)hub->conf.parked_streams);
    t->verdict = polled ? SSE_RESERVED_POLL : SSE_RESERVED_OK;
    bool over = t->verdict == SSE_RESERVED_OK && limits_reached(hub, a->address);
    if (over && !req->last_id.n) {
        answer_refusal(hub, SSE_RESERVED_BUSY, cb, baton);
        ticket_free(t);
        return;
    }
    if (over)
        t->verdict = SSE_RESERVED_BUSY;
    count_in(hub, a->address);
    a->parked = t->verdict == SSE_RESERVED_OK && req->flags & SSE_RESERVE_PARKED;
    if (a->parked)
        hub->admission.parked++;
    bool known = req->user.n && req->flags & SSE_RESERVE_GROUPS_KNOWN;
    static const sse_str_t no_group;
    const sse_str_t *groups = !known ? NULL : req->n_groups ? req->groups : &no_group;
    ask_records(t, groups, known ? req->n_groups : 0);
}

uint64_t sse_admission_feed(sse_hub_t *hub, sse_str_t realm, sse_str_t address, const void *source)
{
    sse_ticket_t *t = sse_calloc(1, sizeof *t);
    t->hub = hub;
    t->source = source;
    t->attach = make_attach(realm, SSE_STR_NONE, address);
    t->attach->feed = true;
    t->attach->current = true;
    count_in(hub, t->attach->address);
    ticket_add(t);
    return t->id;
}

/* ---- attaching ---- */

/* What the worker brings along: how the stream is carried, and with what it is to be sealed. */
static void settle_carriage(sse_hub_t *hub, sse_attach_t *a, const sse_wire_attach_t *attach)
{
    sse_admission_t *adm = &hub->admission;
    sse_tlsstate_t state;
    a->carriage = (uint8_t)attach->carriage;
    /* A worker that found out too late that the stream can only be parked asked for no place. */
    if (attach->carriage == SSE_CARRIED_PARKED && !a->parked) {
        a->parked = true;
        if (adm->parked++ >= (uint64_t)hub->conf.parked_streams)
            a->end = SSE_END_BUSY;
    }
    if (attach->carriage == SSE_CARRIED_TLS &&
        sse_tlsstate_unpack(attach->tls, &state) == APR_SUCCESS) {
        a->tls = sse_tlsrecord_create(&state);
        sse_crypto_wipe(&state, sizeof state);
    }
}

/* The stream will not be: an answer without a head would be taken for a broken server. */
static void write_head(int fd, sse_str_t head)
{
    if (head.n && send(fd, head.p, head.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        sse_log(SSE_LOG_DEBUG, "a client left before the head of its stream");
}

void sse_admission_attach(sse_hub_t *hub, const sse_wire_attach_t *attach, int fd)
{
    sse_ticket_t *t = ticket_take(hub, attach->ticket);
    if (!t) {
        write_head(fd, attach->head);
        close(fd);
        return;
    }
    sse_attach_t *a = t->attach;
    a->fd = fd;
    settle_carriage(hub, a, attach);
    bool unsealed = a->carriage == SSE_CARRIED_TLS && !a->tls;
    if (unsealed)
        sse_log(SSE_LOG_ERR,
                "SSE0600: a worker sent a TLS state that is none; the stream is ended");
    if (hub->state != SSE_HUB_RUNNING || unsealed) {
        write_head(fd, attach->head);
        ticket_drop(t);
        return;
    }
    if (attach->head.n) {
        a->head = sse_strndup(attach->head.p, attach->head.n);
        a->head_len = attach->head.n;
    }
    t->attach = NULL;
    free(t);
    hub->admission.carried[a->carriage]++;
    hub->admission.carried_ever[a->carriage]++;
    if (!a->feed) {
        sse_str_t realm = sse_str(a->realm);
        sse_presence_stream(&hub->presence, realm, 1);
    }
    sse_reactor_attach_post(
        a->feed ? hub->reactors[0] : sse_hub_reactor(hub, sse_str(a->realm), sse_str(a->user)), a);
}

void sse_admission_release(sse_hub_t *hub, uint64_t id)
{
    sse_ticket_t *t = ticket_take(hub, id);
    if (t)
        ticket_drop(t);
}

void sse_admission_source_closed(sse_hub_t *hub, const void *source)
{
    sse_ticket_t *t, *next;
    HASH_ITER (hh, hub->admission.tickets, t, next)
        if (t->source == source)
            sse_admission_release(hub, t->id);
}

void sse_admission_expire(sse_hub_t *hub)
{
    uint64_t now = uv_now(&hub->loop);
    sse_ticket_t *t, *next;
    HASH_ITER (hh, hub->admission.tickets, t, next) { /* in order of age */
        if (t->deadline > now)
            return;
        sse_admission_release(hub, t->id);
    }
}

/* ---- life ---- */

void sse_admission_init(sse_hub_t *hub)
{
    sse_admission_t *adm = &hub->admission;
    struct rlimit files;
    adm->next_ticket = 1;
    uint64_t by_files = 1000;
    if (!getrlimit(RLIMIT_NOFILE, &files))
        by_files = files.rlim_cur > 2 * OTHER_FDS ? files.rlim_cur - OTHER_FDS : files.rlim_cur / 2;
    adm->max_streams = hub->conf.max_streams ? (uint64_t)hub->conf.max_streams : by_files;
    if (adm->max_streams > by_files) {
        sse_log(
            SSE_LOG_WARNING,
            "SSE0201: SSEMaxStreams %lld is more than the limit of open files allows, using %llu",
            (long long)hub->conf.max_streams, (unsigned long long)by_files);
        adm->max_streams = by_files;
    }
}

void sse_admission_clear(sse_hub_t *hub)
{
    while (hub->admission.tickets) {
        hub->admission.tickets->waits = false; /* the broker is gone */
        sse_admission_release(hub, hub->admission.tickets->id);
    }
}
