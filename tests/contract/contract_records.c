/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: what is remembered of users and groups, and how its changes are told. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char session_a_bytes[SSE_SESSION_HASH_LEN] = "session a, which is 32 bytes lon";
static const char session_b_bytes[SSE_SESSION_HASH_LEN] = "session b, which is 32 bytes lon";
#define SESSION_A ((sse_str_t){session_a_bytes, SSE_SESSION_HASH_LEN})
#define SESSION_B ((sse_str_t){session_b_bytes, SSE_SESSION_HASH_LEN})

/* Users and groups with a stream here: their changes must be told. */
static void care_for(rig_t *r, sse_str_t realm, sse_channel_t channel)
{
    rig_interest(r, realm, channel, true);
}

static void an_anonymous_connect_gives_the_position(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    uint64_t seq = rig_send(r, realm, EVENT("e"), "1");
    assert_int_equal(rig_connect(r, realm, "", NULL, 0), APR_SUCCESS);
    assert_null(r->record);
    assert_true(r->pos.seq >= seq);
    assert_true(r->pos.epoch != 0);
    rig_stop(r);
}

typedef struct crowd_t {
    unsigned answered, wanted;
    bool done;
} crowd_t;

/* One of a crowd without users: what had been acknowledged when it asked lies before its position.
 */
typedef struct one_t {
    crowd_t *crowd;
    uint64_t acknowledged;
    unsigned answers;
} one_t;

static void on_one(void *baton, apr_status_t status, sse_record_t *user,
                   sse_record_t *const *groups, sse_pos_t pos)
{
    one_t *one = baton;
    assert_int_equal(status, APR_SUCCESS);
    assert_null(user);
    assert_true(pos.epoch != 0);
    assert_true(pos.seq >= one->acknowledged);
    assert_int_equal(one->answers++, 0);
    one->crowd->done = ++one->crowd->answered == one->crowd->wanted;
}

static void ask_one(rig_t *r, sse_str_t realm, one_t *one)
{
    r->broker->driver->connect(r->broker, realm, SSE_STR_NONE, NULL, 0, NO_SESSION, 0, on_one, one);
}

static void a_crowd_of_anonymous_connects_is_answered_each(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    crowd_t crowd = {.wanted = 400};
    one_t all[400];
    for (unsigned i = 0; i < crowd.wanted; i++) {
        /* Some ask between two publishes that are acknowledged, with others still under way. */
        uint64_t seq = i % 50 == 0 ? rig_send(r, realm, EVENT("e"), "1") : all[i - 1].acknowledged;
        all[i] = (one_t){.crowd = &crowd, .acknowledged = seq};
        ask_one(r, realm, &all[i]);
    }
    rig_wait(r, &crowd.done);
    for (unsigned i = 0; i < crowd.wanted; i++)
        assert_int_equal(all[i].answers, 1);
    rig_stop(r);
}

static void on_one_of_the_last(void *baton, apr_status_t status, sse_record_t *user,
                               sse_record_t *const *groups, sse_pos_t pos)
{
    ++*(unsigned *)baton;
}

static void anonymous_connects_of_a_broker_that_stops_are_answered(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    unsigned answers = 0;
    for (int i = 0; i < 20; i++)
        r->broker->driver->connect(r->broker, realm, SSE_STR_NONE, NULL, 0, NO_SESSION, 0,
                                   on_one_of_the_last, &answers);
    assert_int_equal(answers, 0);
    rig_stop(r);
    assert_int_equal(answers, 20);
}

static void a_subscription_begins_where_it_was_made(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    uint64_t before = rig_send(r, realm, EVENT("e"), "1"), start = 0;
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, &start));
    assert_true(start >= before);
    uint64_t after = rig_send(r, realm, EVENT("e"), "2");
    assert_true(start < after);
    /* Made again it keeps its beginning. */
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    uint64_t again;
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, &again));
    assert_int_equal(start, again);
    assert_int_equal(rig_connect(r, realm, "1", NULL, 0), APR_SUCCESS);
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, &again));
    assert_int_equal(start, again);
    assert_string_equal(r->record->name, "1");
    assert_int_equal(r->record->kind, SSE_CHANNEL_USER);
    rig_stop(r);
}

static void changes_are_told_once_and_in_order_with_messages(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    care_for(r, realm, EVENT("e"));
    for (int i = 0; i < 20; i++) {
        char event[24];
        snprintf(event, sizeof(event), "event%d", i);
        rig_send(r, realm, EVENT("e"), "1");
        rig_wait_messages(r, (size_t)i + 1);
        assert_int_equal(rig_subscribe(r, realm, USER("1"), event, NO_SESSION), APR_SUCCESS);
        assert_int_equal(r->n_changes, i + 1);
        assert_int_equal(r->change_at[i], i + 1);
        assert_int_equal(r->changes[i]->n_subs, i + 1);
    }
    /* What changes nothing is not told. */
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "event0", NO_SESSION), APR_SUCCESS);
    assert_int_equal(rig_unsubscribe(r, realm, USER("1"), "never", NO_SESSION), APR_SUCCESS);
    assert_int_equal(r->n_changes, 20);
    rig_stop(r);
}

static void only_new_subscriptions_count_against_the_limit(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    char event[24];
    for (int i = 0; i < SSE_OWNER_SUBS_MAX; i++) {
        snprintf(event, sizeof(event), "event%d", i);
        assert_int_equal(rig_subscribe(r, realm, USER("1"), event, NO_SESSION), APR_SUCCESS);
    }
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "one:more", NO_SESSION), APR_EINVAL);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), event, NO_SESSION), APR_SUCCESS);
    assert_int_equal(r->record->n_subs, SSE_OWNER_SUBS_MAX);
    assert_false(rig_subscribed(r->record, "one:more", NO_SESSION, &(uint64_t){0}));
    rig_stop(r);
}

static void a_session_subscription_lasts_as_long_as_the_session(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", SESSION_A), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", SESSION_B), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    assert_true(rig_subscribed(r->record, "e", SESSION_A, NULL));
    assert_true(rig_subscribed(r->record, "e", SESSION_B, NULL));
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, NULL));
    /* The end of a session ends its own. */
    assert_int_equal(rig_disconnect(r, realm, 's', SESSION_A, 0), APR_SUCCESS);
    sse_record_t *told = rig_last_change(r, USER("1"));
    assert_false(rig_subscribed(told, "e", SESSION_A, NULL));
    assert_true(rig_subscribed(told, "e", SESSION_B, NULL));
    /* Taking back with a session leaves the rest, without one takes all. */
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", SESSION_A), APR_SUCCESS);
    assert_int_equal(rig_unsubscribe(r, realm, USER("1"), "e", SESSION_A), APR_SUCCESS);
    assert_false(rig_subscribed(r->record, "e", SESSION_A, NULL));
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, NULL));
    assert_int_equal(rig_unsubscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    assert_int_equal(r->record->n_subs, 0);
    rig_stop(r);
}

static void a_session_that_ran_out_takes_its_subscriptions_along(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", SESSION_A), APR_SUCCESS);
    uint64_t now = (uint64_t)time(NULL);
    /* A connect says when the session ends; the end can be put off. */
    assert_int_equal(rig_connect_session(r, realm, "1", SESSION_A, now + 1), APR_SUCCESS);
    assert_int_equal(rig_connect_session(r, realm, "1", SESSION_A, now + 3600), APR_SUCCESS);
    assert_true(rig_subscribed(r->record, "e", SESSION_A, NULL));
    assert_int_equal(r->record->subs[0].session_expires, now + 3600);
    assert_int_equal(rig_connect_session(r, realm, "1", SESSION_A, now - 1), APR_SUCCESS);
    assert_int_equal(rig_connect(r, realm, "1", NULL, 0), APR_SUCCESS);
    assert_false(rig_subscribed(r->record, "e", SESSION_A, NULL));
    rig_stop(r);
}

static void group_subscriptions_come_with_the_members_connect(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    care_for(r, realm, GROUP("staff"));
    care_for(r, realm, GROUP("admin"));
    const char *groups[] = {"staff", "admin"};
    assert_int_equal(rig_subscribe(r, realm, GROUP("staff"), "rota", NO_SESSION), APR_SUCCESS);
    assert_int_equal(r->record->kind, SSE_CHANNEL_GROUP);
    assert_int_equal(rig_connect(r, realm, "1", groups, 2), APR_SUCCESS);
    assert_int_equal(r->n_groups, 2);
    for (size_t i = 0; i < 2; i++)
        if (strcmp(r->groups[i]->name, "staff") == 0)
            assert_true(rig_subscribed(r->groups[i], "rota", NO_SESSION, NULL));
    /* A group's change is told as the group's. */
    assert_int_equal(rig_subscribe(r, realm, GROUP("admin"), "logins", NO_SESSION), APR_SUCCESS);
    assert_true(rig_subscribed(rig_last_change(r, GROUP("admin")), "logins", NO_SESSION, NULL));
    rig_stop(r);
}

static void groups_named_at_connect_are_the_truth(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    const char *first[] = {"a", "b"}, *second[] = {"b", "c"};
    assert_int_equal(rig_connect(r, realm, "1", first, 2), APR_SUCCESS);
    uint64_t b = 0, c = 0, seq;
    assert_true(rig_member(r->record, "b", &b));
    seq = rig_send(r, realm, EVENT("e"), "1");
    assert_int_equal(rig_connect(r, realm, "1", second, 2), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 2);
    assert_false(rig_member(r->record, "a", NULL));
    uint64_t b_again;
    assert_true(rig_member(r->record, "b", &b_again));
    assert_int_equal(b, b_again);
    assert_true(rig_member(r->record, "c", &c));
    assert_true(c >= seq);
    /* The user's other streams are told. */
    assert_true(rig_member(rig_last_change(r, USER("1")), "c", NULL));
    /* No groups known: nothing changes. None at all is another thing. */
    assert_int_equal(rig_connect(r, realm, "1", NULL, 0), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 2);
    assert_int_equal(rig_connect(r, realm, "1", first, 0), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 0);
    rig_stop(r);
}

static bool named(rig_t *r, const char *name)
{
    for (size_t i = 0; i < r->n_names; i++)
        if (strcmp(r->names[i], name) == 0)
            return true;
    return false;
}

static void members_change_at_once(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *ab[] = {"a", "b"}, *bc[] = {"b", "c"}, *d[] = {"d"};
    const char *all[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++)
        care_for(r, realm, USER(all[i]));
    assert_int_equal(rig_members_change(r, realm, "g", true, ab, 2, NULL, 0), APR_SUCCESS);
    assert_int_equal(r->n_changes, 2);
    assert_true(rig_member(rig_last_change(r, USER("a")), "g", NULL));
    assert_int_equal(rig_members_change(r, realm, "g", true, bc, 2, NULL, 0), APR_SUCCESS);
    assert_int_equal(r->n_changes, 4); /* a went, c came, b stayed */
    assert_false(rig_member(rig_last_change(r, USER("a")), "g", NULL));
    assert_true(rig_member(rig_last_change(r, USER("c")), "g", NULL));
    assert_int_equal(rig_members_change(r, realm, "g", false, d, 1, bc, 1), APR_SUCCESS);
    assert_int_equal(rig_members(r, realm, "g"), APR_SUCCESS);
    assert_int_equal(r->n_names, 2);
    assert_true(named(r, "c") && named(r, "d"));
    assert_int_equal(rig_members(r, realm, "unknown"), APR_SUCCESS);
    assert_int_equal(r->n_names, 0);
    rig_stop(r);
}

static void a_block_stands_in_the_record(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    care_for(r, realm, USER("1"));
    uint64_t until = (uint64_t)time(NULL) + 600;
    assert_int_equal(rig_disconnect(r, realm, 'u', SSE_STR("1"), until), APR_SUCCESS);
    assert_int_equal(rig_last_change(r, USER("1"))->blocked_until, until);
    assert_int_equal(rig_connect(r, realm, "1", NULL, 0), APR_SUCCESS);
    assert_int_equal(r->record->blocked_until, until);
    size_t told = r->n_changes;
    assert_int_equal(rig_disconnect(r, realm, 'u', SSE_STR("1"), 0), APR_SUCCESS);
    assert_int_equal(r->n_changes, told);
    rig_stop(r);
}

static void a_forgotten_user_leaves_nothing(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *groups[] = {"g"};
    care_for(r, realm, USER("1"));
    assert_int_equal(rig_connect(r, realm, "1", groups, 1), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    sse_channel_t both[] = {USER("1"), USER("2")};
    sse_publish_t item = {
        .event = SSE_STR("e"), .data = SSE_STR("1"), .channels = both, .n_channels = 2};
    uint64_t first = rig_send(r, realm, USER("1"), "mine");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_int_equal(rig_cursor(r, realm, "1", r->published[0].pos, 1), APR_SUCCESS);
    assert_int_equal(rig_forget(r, realm, USER("1")), APR_SUCCESS);
    assert_int_equal(rig_last_change(r, USER("1"))->n_subs, 0);
    assert_int_equal(rig_last_change(r, USER("1"))->n_memberships, 0);
    assert_int_equal(rig_history_of(r, realm, USER("1"), first - 1), APR_SUCCESS);
    assert_int_equal(r->n_history, 0);
    assert_int_equal(rig_history_of(r, realm, USER("2"), 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    assert_int_equal(rig_tracking(r, realm, "1"), APR_SUCCESS);
    assert_int_equal(r->tracking.last.epoch, 0);
    assert_int_equal(r->tracking.pending, 0);
    assert_int_equal(rig_members(r, realm, "g"), APR_SUCCESS);
    assert_int_equal(r->n_names, 0);
    rig_stop(r);
}

static void a_forgotten_event_is_a_gap(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    uint64_t first = rig_send(r, realm, EVENT("e"), "1");
    uint64_t second = rig_send(r, realm, EVENT("e"), "2");
    assert_int_equal(rig_forget(r, realm, EVENT("e")), APR_SUCCESS);
    uint64_t third = rig_send(r, realm, EVENT("e"), "3");
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), first), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    assert_int_equal(r->history[0]->pos.seq, third);
    assert_int_equal(r->n_gaps, 1);
    assert_int_equal(r->gap_end, second);
    assert_int_equal(rig_record(r, realm, USER("1")), APR_SUCCESS);
    assert_int_equal(r->record->n_subs, 1);
    rig_stop(r);
}

static void a_forgotten_group_loses_its_members(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *users[] = {"1", "2"};
    care_for(r, realm, USER("1"));
    care_for(r, realm, GROUP("g"));
    assert_int_equal(rig_members_change(r, realm, "g", true, users, 2, NULL, 0), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, GROUP("g"), "e", NO_SESSION), APR_SUCCESS);
    assert_int_equal(rig_forget(r, realm, GROUP("g")), APR_SUCCESS);
    assert_int_equal(rig_last_change(r, USER("1"))->n_memberships, 0);
    assert_int_equal(rig_last_change(r, GROUP("g"))->n_subs, 0);
    assert_int_equal(rig_members(r, realm, "g"), APR_SUCCESS);
    assert_int_equal(r->n_names, 0);
    rig_stop(r);
}

static void tracking_counts_what_waits(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *groups[] = {"g"};
    rig_send(r, realm, EVENT("e"), "before the subscription");
    assert_int_equal(rig_connect(r, realm, "1", groups, 1), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, GROUP("g"), "f", NO_SESSION), APR_SUCCESS);
    assert_int_equal(rig_tracking(r, realm, "1"), APR_SUCCESS);
    assert_int_equal(r->tracking.last.epoch, 0);
    assert_int_equal(r->tracking.delivered_at, 0);
    assert_int_equal(r->tracking.pending, 0);
    sse_channel_t both[] = {USER("1"), GROUP("g")};
    sse_publish_t item = {
        .event = SSE_STR("x"), .data = SSE_STR("1"), .channels = both, .n_channels = 2};
    rig_send(r, realm, EVENT("e"), "1");
    rig_send(r, realm, EVENT("f"), "1");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    sse_pos_t middle = r->published[0].pos;
    rig_send(r, realm, USER("1"), "1");
    rig_send(r, realm, BROADCAST, "1");
    rig_send(r, realm, USER("2"), "1");
    rig_send(r, realm, EVENT("other"), "1");
    assert_int_equal(rig_tracking(r, realm, "1"), APR_SUCCESS);
    assert_int_equal(r->tracking.pending, 4);
    assert_int_equal(rig_cursor(r, realm, "1", middle, 1234567), APR_SUCCESS);
    assert_int_equal(rig_tracking(r, realm, "1"), APR_SUCCESS);
    assert_int_equal(r->tracking.last.seq, middle.seq);
    assert_int_equal(r->tracking.last.epoch, middle.epoch);
    assert_int_equal(r->tracking.delivered_at, 1234567);
    assert_int_equal(r->tracking.pending, 1);
    /* A cursor may step back. */
    sse_pos_t back = {middle.epoch, middle.seq - 1};
    assert_int_equal(rig_cursor(r, realm, "1", back, 1234568), APR_SUCCESS);
    assert_int_equal(rig_tracking(r, realm, "1"), APR_SUCCESS);
    assert_int_equal(r->tracking.last.seq, back.seq);
    assert_int_equal(r->tracking.pending, 2);
    rig_stop(r);
}

static void a_mirrored_session_is_known_until_it_ends(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm(), other = rig_realm();
    uint64_t later = (uint64_t)time(NULL) + 1000;
    assert_int_equal(rig_session_get(r, realm, SESSION_A), APR_NOTFOUND);
    assert_int_equal(rig_session_put(r, realm, SESSION_A, "1", later), APR_SUCCESS);
    assert_int_equal(rig_session_put(r, realm, SESSION_B, "1", later), APR_SUCCESS);
    assert_int_equal(rig_session_get(r, other, SESSION_A), APR_NOTFOUND);
    assert_int_equal(rig_session_get(r, realm, SESSION_A), APR_SUCCESS);
    assert_string_equal(r->session_user, "1");
    assert_int_equal(r->session_expires, later);
    /* Put again it is another user's, with another end. */
    assert_int_equal(rig_session_put(r, realm, SESSION_A, "two", later + 1), APR_SUCCESS);
    assert_int_equal(rig_session_get(r, realm, SESSION_A), APR_SUCCESS);
    assert_string_equal(r->session_user, "two");
    assert_int_equal(r->session_expires, later + 1);
    assert_int_equal(rig_disconnect(r, realm, 's', SESSION_A, 0), APR_SUCCESS);
    assert_int_equal(rig_session_get(r, realm, SESSION_A), APR_NOTFOUND);
    /* A forgotten user's sessions are forgotten, too. */
    assert_int_equal(rig_session_get(r, realm, SESSION_B), APR_SUCCESS);
    assert_int_equal(rig_forget(r, realm, USER("1")), APR_SUCCESS);
    assert_int_equal(rig_session_get(r, realm, SESSION_B), APR_NOTFOUND);
    /* One that has run out is none. */
    assert_int_equal(rig_session_put(r, realm, SESSION_A, "1", (uint64_t)time(NULL) - 1),
                     APR_SUCCESS);
    assert_int_equal(rig_session_get(r, realm, SESSION_A), APR_NOTFOUND);
    rig_stop(r);
}

/* The same subscriptions and memberships, begun where the other's were. */
static void assert_same_record(const sse_record_t *a, const sse_record_t *b)
{
    assert_int_equal(a->n_subs, b->n_subs);
    for (size_t i = 0; i < a->n_subs; i++) {
        assert_string_equal(a->subs[i].event, b->subs[i].event);
        assert_int_equal(a->subs[i].start, b->subs[i].start);
        assert_int_equal(a->subs[i].session_expires, b->subs[i].session_expires);
        assert_memory_equal(a->subs[i].session, b->subs[i].session, SSE_SESSION_HASH_LEN);
    }
    assert_int_equal(a->n_memberships, b->n_memberships);
    for (size_t i = 0; i < a->n_memberships; i++) {
        uint64_t start;
        assert_true(rig_member(b, a->memberships[i].group, &start));
        assert_int_equal(a->memberships[i].start, start);
    }
    assert_int_equal(a->blocked_until, b->blocked_until);
}

/* Something that may change what is remembered of the user. */
static void change_something(rig_t *r, sse_str_t realm, const char *user)
{
    static const char *const groups[] = {"g0", "g1", "g2"};
    static const char *const events[] = {"e0", "e1"};
    const char *event = events[random() % 2], *group = groups[random() % 3];
    sse_str_t session = random() % 2 ? SESSION_A : NO_SESSION;
    uint64_t later = (uint64_t)time(NULL) + 3600 + (uint64_t)random() % 2;
    switch (random() % 12) {
    case 0:
        assert_int_equal(rig_subscribe(r, realm, USER(user), event, session), APR_SUCCESS);
        break;
    case 1:
        assert_int_equal(rig_unsubscribe(r, realm, USER(user), event, session), APR_SUCCESS);
        break;
    case 2:
        assert_int_equal(rig_subscribe(r, realm, GROUP(group), event, NO_SESSION), APR_SUCCESS);
        break;
    case 3:
        assert_int_equal(rig_members_change(r, realm, group, false, &user, 1, NULL, 0),
                         APR_SUCCESS);
        break;
    case 4:
        assert_int_equal(rig_members_change(r, realm, group, false, NULL, 0, &user, 1),
                         APR_SUCCESS);
        break;
    case 5:
        assert_int_equal(rig_disconnect(r, realm, 's', SESSION_A, 0), APR_SUCCESS);
        break;
    case 6:
        assert_int_equal(rig_disconnect(r, realm, 'u', sse_str(user), later), APR_SUCCESS);
        break;
    case 7:
        assert_int_equal(rig_forget(r, realm, random() % 2 ? USER(user) : GROUP(group)),
                         APR_SUCCESS);
        break;
    case 8:
        assert_int_equal(rig_connect_session(r, realm, user, SESSION_A, later), APR_SUCCESS);
        break;
    case 9:
        rig_send(r, realm, EVENT("e0"), "1");
        break;
    default:
        assert_int_equal(rig_connect(r, realm, user, groups + random() % 2, random() % 3),
                         APR_SUCCESS);
        break;
    }
}

static void a_connect_knows_every_change(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *users[] = {"1", "2"};
    care_for(r, realm, USER("1"));
    care_for(r, realm, USER("2"));
    srandom(7);
    for (int i = 0; i < 400; i++) {
        change_something(r, realm, users[random() % 2]);
        for (size_t u = 0; u < 2; u++) {
            assert_int_equal(rig_connect(r, realm, users[u], NULL, 0), APR_SUCCESS);
            sse_record_t *connected = sse_record_ref(r->record);
            assert_int_equal(rig_record(r, realm, USER(users[u])), APR_SUCCESS);
            assert_same_record(connected, r->record);
            sse_record_unref(connected);
        }
    }
    rig_stop(r);
}

static void groups_named_at_connect_are_kept_before_what_follows(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *groups[] = {"g"};
    uint64_t start, before = rig_send(r, realm, EVENT("e"), "1");
    for (int i = 0; i < 20; i++) {
        char user[16];
        snprintf(user, sizeof(user), "user%d", i);
        care_for(r, realm, USER(user));
        assert_int_equal(rig_connect(r, realm, user, groups, 1), APR_SUCCESS);
        assert_true(rig_member(r->record, "g", &start));
        assert_true(start >= before);
    }
    uint64_t after = rig_send(r, realm, GROUP("g"), "1");
    assert_int_equal(rig_members(r, realm, "g"), APR_SUCCESS);
    assert_int_equal(r->n_names, 20);
    rig_stop(r);
    r = rig_start();
    assert_int_equal(rig_connect(r, realm, "user7", NULL, 0), APR_SUCCESS);
    assert_true(rig_member(r->record, "g", &start));
    assert_true(start >= before && start < after);
    rig_stop(r);
}

static void groups_of_a_broker_that_stops_at_once_are_kept(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *groups[] = {"g", "h"};
    /* Until what the store has is known, and from then on. */
    for (int i = 0; i < 3; i++) {
        char user[16];
        snprintf(user, sizeof(user), "user%d", i);
        rig_run_ms(r, 20);
        assert_int_equal(rig_connect(r, realm, user, groups, 2), APR_SUCCESS);
    }
    rig_stop(r);
    r = rig_start();
    assert_int_equal(rig_connect(r, realm, "user2", NULL, 0), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 2);
    assert_int_equal(rig_connect(r, realm, "unknown", NULL, 0), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 0);
    rig_stop(r);
}

int contract_records_tests(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(an_anonymous_connect_gives_the_position),
        contract_test(a_crowd_of_anonymous_connects_is_answered_each),
        contract_test(anonymous_connects_of_a_broker_that_stops_are_answered),
        contract_test(a_subscription_begins_where_it_was_made),
        contract_test(changes_are_told_once_and_in_order_with_messages),
        contract_test(only_new_subscriptions_count_against_the_limit),
        contract_test(a_session_subscription_lasts_as_long_as_the_session),
        contract_test(a_session_that_ran_out_takes_its_subscriptions_along),
        contract_test(group_subscriptions_come_with_the_members_connect),
        contract_test(groups_named_at_connect_are_the_truth),
        contract_test(groups_named_at_connect_are_kept_before_what_follows),
        contract_test(groups_of_a_broker_that_stops_at_once_are_kept),
        contract_test(a_connect_knows_every_change),
        contract_test(members_change_at_once),
        contract_test(a_block_stands_in_the_record),
        contract_test(a_forgotten_user_leaves_nothing),
        contract_test(a_forgotten_event_is_a_gap),
        contract_test(a_forgotten_group_loses_its_members),
        contract_test(tracking_counts_what_waits),
        contract_test(a_mirrored_session_is_known_until_it_ends),
    };
    return cmocka_run_group_tests_name("contract: records", tests, NULL, NULL);
}
