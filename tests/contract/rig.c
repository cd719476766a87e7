/* SPDX-License-Identifier: Apache-2.0 */
/* What the contract tests stand on. */
#include "rig.h"

#include "core/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define TURN_MS 20

int64_t rig_history_count = 1000, rig_history_seconds = 3600;
const char *rig_durability = "normal";

/* Brokers that are running. */
static unsigned running;

/* ---- upcalls ---- */

static void on_message(void *hub, sse_message_t *m)
{
    rig_t *r = hub;
    if (r->n_messages == r->cap_messages) {
        r->cap_messages = r->cap_messages ? 2 * r->cap_messages : 64;
        r->messages = sse_realloc(r->messages, r->cap_messages * sizeof(sse_message_t *));
    }
    r->messages[r->n_messages++] = sse_message_ref(m);
}

static void on_changed(void *hub, sse_record_t *record, sse_record_t *const *groups)
{
    rig_t *r = hub;
    if (r->n_changes == r->cap_changes) {
        r->cap_changes = r->cap_changes ? 2 * r->cap_changes : 64;
        r->changes = sse_realloc(r->changes, r->cap_changes * sizeof(sse_record_t *));
        r->change_at = sse_realloc(r->change_at, r->cap_changes * sizeof(size_t));
    }
    if (record->kind == SSE_CHANNEL_GROUP)
        assert_null(groups);
    for (size_t i = 0; i < record->n_memberships; i++)
        assert_string_equal(groups[i]->name, record->memberships[i].group);
    r->change_at[r->n_changes] = r->n_messages;
    r->changes[r->n_changes++] = sse_record_ref(record);
}

static void on_reset(void *hub, const char *realm, sse_pos_t pos)
{
    ((rig_t *)hub)->resets++;
}

static void on_disconnect(void *hub, const char *realm, char kind, sse_str_t name, int reason,
                          uint64_t revoked_at)
{
    rig_t *r = hub;
    if (!r->others)
        fail_msg("the hub that calls disconnect is not told of it");
    assert_true(name.n < sizeof r->disconnect_name && strlen(realm) < sizeof r->disconnect_realm);
    r->disconnects++;
    r->disconnect_kind = kind;
    strcpy(r->disconnect_realm, realm);
    memcpy(r->disconnect_name, name.p, name.n);
    r->disconnect_name_n = name.n;
    r->disconnect_reason = reason;
    r->disconnect_at = revoked_at;
}

static void on_presence(void *hub, const char *realm, sse_str_t user, bool online)
{
    rig_t *r = hub;
    assert_true(r->n_presences < SSE_ARRAY_LEN(r->presences));
    assert_true(user.n < sizeof r->presences[0].user);
    memcpy(r->presences[r->n_presences].user, user.p, user.n);
    r->presences[r->n_presences++].online = online;
}

static void on_state(void *hub, sse_broker_state_t state, const char *detail)
{
    rig_t *r = hub;
    r->state = state;
    snprintf(r->detail, sizeof(r->detail), "%s", detail ? detail : "");
}

static const sse_broker_upcalls_t upcalls = {.message = on_message,
                                             .changed = on_changed,
                                             .reset = on_reset,
                                             .disconnect = on_disconnect,
                                             .presence = on_presence,
                                             .state = on_state};

/* ---- waiting ---- */

static void bark(uv_timer_t *timer) {}

static void turn(rig_t *r, unsigned ms)
{
    /* A driver's timer runs before the loop blocks: what it did is seen after this at the latest.
     */
    uv_timer_start(&r->watchdog, bark, ms < TURN_MS ? ms : TURN_MS, 0);
    uv_run(&r->loop, UV_RUN_ONCE);
}

void rig_wait(rig_t *r, const bool *flag)
{
    uint64_t begun = uv_hrtime();
    while (!*flag) {
        /* An answer may come before the loop would wait for anything. */
        uv_run(&r->loop, UV_RUN_NOWAIT);
        if (*flag)
            return;
        turn(r, PATIENCE_MS);
        if (uv_hrtime() - begun > PATIENCE_MS * 1000000ull)
            fail_msg("no answer within %d ms", PATIENCE_MS);
    }
}

void rig_wait_messages(rig_t *r, size_t n)
{
    uint64_t begun = uv_hrtime();
    while (r->n_messages < n) {
        turn(r, PATIENCE_MS);
        if (uv_hrtime() - begun > PATIENCE_MS * 1000000ull)
            fail_msg("%zu of %zu messages within %d ms", r->n_messages, n, PATIENCE_MS);
    }
}

void rig_wait_state(rig_t *r, sse_broker_state_t state)
{
    uint64_t begun = uv_hrtime();
    while (r->state != state) {
        turn(r, PATIENCE_MS);
        if (uv_hrtime() - begun > 2 * PATIENCE_MS * 1000000ull)
            fail_msg("state %d, not %d: %s", r->state, state, r->detail);
    }
}

void rig_run_ms(rig_t *r, unsigned ms)
{
    uint64_t begun = uv_hrtime();
    while (uv_hrtime() - begun < ms * 1000000ull)
        turn(r, 10);
}

/* ---- life ---- */

sse_str_t rig_realm(void)
{
    static char names[4][64]; /* a test may hold a few at once */
    static unsigned n;
    static uint64_t run;
    if (!run)
        sse_crypto_random(&run, sizeof(run));
    char *name = names[++n % SSE_ARRAY_LEN(names)];
    snprintf(name, sizeof(names[0]), "test-%016llx-%u", (unsigned long long)run, n);
    return sse_str(name);
}

int rig_set_up(void **state)
{
    rig_history_count = 1000;
    rig_history_seconds = 3600;
    if (running && world.renew)
        world.renew();
    running = 0;
    return 0;
}

rig_t *rig_start_until(sse_broker_state_t state)
{
    char problem[256] = "";
    rig_t *r = sse_calloc(1, sizeof(*r));
    uv_loop_init(&r->loop);
    uv_timer_init(&r->loop, &r->watchdog);
    r->watchdog.data = r;
    sse_hubconf_init(&r->conf);
    free(r->conf.state_dir);
    r->conf.state_dir = sse_strndup(world.state_dir, strlen(world.state_dir));
    free(r->conf.durability);
    r->conf.durability = sse_strndup(rig_durability, strlen(rig_durability));
    if (world.driver_dir) {
        free(r->conf.driver_dir);
        r->conf.driver_dir = sse_strndup(world.driver_dir, strlen(world.driver_dir));
    }
    r->conf.history_count = rig_history_count;
    r->conf.history_seconds = rig_history_seconds;
    sse_broker_env_t env = {.loop = &r->loop, .conf = &r->conf, .up = &upcalls, .hub = r};
    r->state = SSE_BROKER_STARTING;
    if (sse_broker_create(&env, world.url, &r->broker, problem) != APR_SUCCESS)
        fail_msg("%s", problem);
    running++;
    rig_wait_state(r, state);
    return r;
}

rig_t *rig_start(void)
{
    return rig_start_until(SSE_BROKER_CONNECTED);
}

static void forget_answer(rig_t *r)
{
    free(r->published);
    r->published = NULL;
    sse_record_unref(r->record);
    r->record = NULL;
    for (size_t i = 0; i < r->n_groups; i++)
        sse_record_unref(r->groups[i]);
    free(r->groups);
    r->groups = NULL;
    for (size_t i = 0; i < r->n_names; i++)
        free(r->names[i]);
    free(r->names);
    r->names = NULL;
    for (size_t i = 0; i < r->n_history; i++)
        sse_message_unref(r->history[i]);
    free(r->history);
    r->history = NULL;
    r->n_published = r->n_groups = r->n_names = r->n_history = r->n_gaps = r->bad = 0;
    r->answered = false;
}

static void on_stopped(void *baton, apr_status_t status)
{
    *(bool *)baton = true;
}

void rig_stop(rig_t *r)
{
    bool stopped = false;
    r->broker->driver->stop(r->broker, on_stopped, &stopped);
    rig_wait(r, &stopped);
    rig_dispose(r);
}

void rig_dispose(rig_t *r)
{
    running--;
    forget_answer(r);
    for (size_t i = 0; i < r->n_messages; i++)
        sse_message_unref(r->messages[i]);
    for (size_t i = 0; i < r->n_changes; i++)
        sse_record_unref(r->changes[i]);
    free(r->messages);
    free(r->changes);
    free(r->change_at);
    uv_close((uv_handle_t *)&r->watchdog, NULL);
    /* A handle that the driver left open would keep the loop alive. */
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    sse_hubconf_clear(&r->conf);
    free(r);
}

/* ---- answers ---- */

static void answered(rig_t *r, apr_status_t status)
{
    assert_false(r->answered);
    r->answered = true;
    r->status = status;
    r->callbacks++;
}

static void on_published(void *baton, apr_status_t status, const sse_published_t *results, size_t n,
                         size_t bad)
{
    rig_t *r = baton;
    answered(r, status);
    r->n_published = n;
    r->published = sse_calloc(n + 1, sizeof(*results));
    if (n)
        memcpy(r->published, results, n * sizeof(*results));
    r->bad = bad;
}

static void on_connected(void *baton, apr_status_t status, sse_record_t *user,
                         sse_record_t *const *groups, sse_pos_t pos)
{
    rig_t *r = baton;
    answered(r, status);
    r->pos = pos;
    if (!user)
        return;
    r->record = sse_record_ref(user);
    r->n_groups = user->n_memberships;
    r->groups = sse_calloc(r->n_groups + 1, sizeof(sse_record_t *));
    for (size_t i = 0; i < r->n_groups; i++) {
        assert_string_equal(groups[i]->name, user->memberships[i].group);
        r->groups[i] = sse_record_ref(groups[i]);
    }
}

static void on_record(void *baton, apr_status_t status, sse_record_t *record)
{
    rig_t *r = baton;
    answered(r, status);
    r->record = record ? sse_record_ref(record) : NULL;
}

static void on_names(void *baton, apr_status_t status, const sse_str_t *names, size_t n)
{
    rig_t *r = baton;
    answered(r, status);
    r->n_names = n;
    r->names = sse_calloc(n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        r->names[i] = sse_strndup(names[i].p, names[i].n);
}

static void on_done(void *baton, apr_status_t status)
{
    answered(baton, status);
}

static void on_history(void *baton, apr_status_t status, const sse_history_t *h)
{
    rig_t *r = baton;
    answered(r, status);
    if (!h)
        return;
    r->n_history = h->n_messages;
    r->history = sse_calloc(h->n_messages + 1, sizeof(sse_message_t *));
    for (size_t i = 0; i < h->n_messages; i++) {
        r->history[i] = sse_message_ref(h->messages[i]);
        assert_true(i == 0 || h->messages[i]->pos.seq > h->messages[i - 1]->pos.seq);
    }
    r->more = h->more;
    r->pos = h->pos;
    r->n_gaps = h->n_gaps < SSE_ARRAY_LEN(r->gaps) ? h->n_gaps : SSE_ARRAY_LEN(r->gaps);
    for (size_t i = 0; i < r->n_gaps; i++)
        r->gaps[i] = h->gaps[i];
    r->gap_end = h->gap_end;
}

static void on_tracking(void *baton, apr_status_t status, const sse_tracking_t *tracking)
{
    rig_t *r = baton;
    answered(r, status);
    if (tracking)
        r->tracking = *tracking;
}

static void on_session(void *baton, apr_status_t status, sse_str_t user, uint64_t expires)
{
    rig_t *r = baton;
    answered(r, status);
    if (status != APR_SUCCESS)
        return;
    assert_true(user.n < sizeof(r->session_user));
    memcpy(r->session_user, user.p, user.n);
    r->session_user[user.n] = '\0';
    r->session_expires = expires;
}

/* ---- calls ---- */

#define CALL(r, member, ...)                                                                       \
    do {                                                                                           \
        forget_answer(r);                                                                          \
        (r)->broker->driver->member((r)->broker, __VA_ARGS__, r);                                  \
        assert_false((r)->answered); /* never within the call */                                   \
        rig_wait(r, &(r)->answered);                                                               \
        return (r)->status;                                                                        \
    } while (0)

static sse_str_t *strs(const char *const *names, size_t n)
{
    static sse_str_t list[20000];
    assert_true(n <= SSE_ARRAY_LEN(list));
    for (size_t i = 0; i < n; i++)
        list[i] = sse_str(names[i]);
    return list;
}

void rig_interest(rig_t *r, sse_str_t realm, sse_channel_t channel, bool on)
{
    if (r->broker->driver->interest)
        r->broker->driver->interest(r->broker, realm, channel, on);
}

apr_status_t rig_publish(rig_t *r, sse_str_t realm, const sse_publish_t *items, size_t n)
{
    CALL(r, publish, realm, items, n, on_published);
}

uint64_t rig_send(rig_t *r, sse_str_t realm, sse_channel_t channel, const char *data)
{
    sse_publish_t item = {.event =
                              channel.kind == SSE_CHANNEL_EVENT ? channel.name : SSE_STR("note"),
                          .data = sse_str(data),
                          .channels = &channel,
                          .n_channels = 1};
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    return r->published[0].pos.seq;
}

apr_status_t rig_connect(rig_t *r, sse_str_t realm, const char *user, const char *const *groups,
                         size_t n_groups)
{
    CALL(r, connect, realm, sse_str(user), groups ? strs(groups, n_groups) : NULL, n_groups,
         NO_SESSION, 0, on_connected);
}

apr_status_t rig_connect_session(rig_t *r, sse_str_t realm, const char *user, sse_str_t session,
                                 uint64_t expires)
{
    CALL(r, connect, realm, sse_str(user), NULL, 0, session, expires, on_connected);
}

apr_status_t rig_history(rig_t *r, sse_str_t realm, const sse_range_t *ranges, size_t n,
                         size_t max_messages, size_t max_bytes)
{
    CALL(r, history, realm, ranges, n, max_messages, max_bytes, on_history);
}

apr_status_t rig_history_of(rig_t *r, sse_str_t realm, sse_channel_t channel, uint64_t after)
{
    sse_range_t range = {channel, after};
    return rig_history(r, realm, &range, 1, 10000, 16 << 20);
}

apr_status_t rig_subscribe(rig_t *r, sse_str_t realm, sse_channel_t owner, const char *event,
                           sse_str_t session)
{
    CALL(r, subscribe, realm, owner, strs(&event, 1), 1, session, on_record);
}

apr_status_t rig_unsubscribe(rig_t *r, sse_str_t realm, sse_channel_t owner, const char *event,
                             sse_str_t session)
{
    CALL(r, unsubscribe, realm, owner, strs(&event, 1), 1, session, on_record);
}

apr_status_t rig_record(rig_t *r, sse_str_t realm, sse_channel_t owner)
{
    CALL(r, record, realm, owner, on_record);
}

apr_status_t rig_members_change(rig_t *r, sse_str_t realm, const char *group, bool replace,
                                const char *const *add, size_t n_add, const char *const *remove,
                                size_t n_remove)
{
    sse_str_t *all = strs(add, n_add);
    for (size_t i = 0; i < n_remove; i++)
        all[n_add + i] = sse_str(remove[i]);
    CALL(r, members_change, realm, sse_str(group), replace, all, n_add, all + n_add, n_remove,
         on_done);
}

apr_status_t rig_members(rig_t *r, sse_str_t realm, const char *group)
{
    CALL(r, members, realm, sse_str(group), on_names);
}

apr_status_t rig_forget(rig_t *r, sse_str_t realm, sse_channel_t what)
{
    CALL(r, forget, realm, what, on_done);
}

apr_status_t rig_disconnect(rig_t *r, sse_str_t realm, char kind, sse_str_t name, uint64_t until)
{
    CALL(r, disconnect, realm, kind, name, 0, until, on_done);
}

apr_status_t rig_cursor(rig_t *r, sse_str_t realm, const char *user, sse_pos_t last,
                        int64_t delivered_at)
{
    sse_cursor_t cursor = {sse_str(user), last, delivered_at};
    CALL(r, cursors, realm, &cursor, 1, on_done);
}

apr_status_t rig_tracking(rig_t *r, sse_str_t realm, const char *user)
{
    CALL(r, tracking, realm, sse_str(user), on_tracking);
}

apr_status_t rig_session_put(rig_t *r, sse_str_t realm, sse_str_t session, const char *user,
                             uint64_t expires)
{
    CALL(r, session_put, realm, session, sse_str(user), expires, on_done);
}

apr_status_t rig_session_get(rig_t *r, sse_str_t realm, sse_str_t session)
{
    CALL(r, session_get, realm, session, on_session);
}

/* ---- looking ---- */

bool rig_subscribed(const sse_record_t *record, const char *event, sse_str_t session,
                    uint64_t *start)
{
    static const unsigned char none[SSE_SESSION_HASH_LEN];
    const void *wanted = session.n ? (const void *)session.p : none;
    for (size_t i = 0; i < record->n_subs; i++) {
        const sse_sub_t *sub = &record->subs[i];
        if (strcmp(sub->event, event) == 0 &&
            memcmp(sub->session, wanted, SSE_SESSION_HASH_LEN) == 0) {
            if (start)
                *start = sub->start;
            return true;
        }
    }
    return false;
}

bool rig_member(const sse_record_t *record, const char *group, uint64_t *start)
{
    for (size_t i = 0; i < record->n_memberships; i++) {
        if (strcmp(record->memberships[i].group, group) == 0) {
            if (start)
                *start = record->memberships[i].start;
            return true;
        }
    }
    return false;
}

sse_record_t *rig_last_change(rig_t *r, sse_channel_t owner)
{
    for (size_t i = r->n_changes; i > 0; i--) {
        sse_record_t *record = r->changes[i - 1];
        if (record->kind == owner.kind && sse_str_eq(sse_str(record->name), owner.name))
            return record;
    }
    return NULL;
}
