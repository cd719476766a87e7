/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: a broker's life. What a restart keeps, and what becomes of calls that are under way
 * when it stops. */
#include "rig.h"

#include <stdio.h>

static void a_restart_keeps_everything(void **state)
{
    char realm_name[64];
    sse_str_t realm = rig_realm();
    memcpy(realm_name, realm.p, realm.n);
    realm.p = realm_name;
    rig_t *r = rig_start();
    const char *groups[] = {"g"};
    uint64_t start = 0;
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {.event = SSE_STR("e"),
                          .data = SSE_STR("line 1\nline 2"),
                          .raw = true,
                          .channels = &event,
                          .n_channels = 1,
                          .key = SSE_STR("k")};
    assert_int_equal(rig_connect(r, realm, "1", groups, 1), APR_SUCCESS);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, &start));
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    sse_pos_t first = r->published[0].pos;
    uint64_t second = rig_send(r, realm, EVENT("e"), "2");
    assert_int_equal(rig_cursor(r, realm, "1", first, 99), APR_SUCCESS);
    rig_stop(r);

    r = rig_start();
    assert_int_equal(rig_connect(r, realm, "1", NULL, 0), APR_SUCCESS);
    assert_int_equal(r->pos.epoch, first.epoch);
    assert_true(r->pos.seq >= second);
    assert_true(rig_member(r->record, "g", NULL));
    uint64_t again;
    assert_true(rig_subscribed(r->record, "e", NO_SESSION, &again));
    assert_int_equal(start, again);
    assert_int_equal(rig_history_of(r, realm, event, start), APR_SUCCESS);
    assert_int_equal(r->n_history, 2);
    assert_int_equal(r->n_gaps, 0);
    assert_int_equal(r->history[0]->pos.seq, first.seq);
    assert_int_equal(r->history[0]->pos.epoch, first.epoch);
    assert_true(r->history[0]->raw);
    assert_true(sse_str_eq(r->history[0]->data, item.data));
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_true(r->published[0].repeated);
    assert_int_equal(r->published[0].pos.seq, first.seq);
    assert_int_equal(rig_tracking(r, realm, "1"), APR_SUCCESS);
    assert_int_equal(r->tracking.last.seq, first.seq);
    assert_int_equal(r->tracking.pending, 1);
    uint64_t third = rig_send(r, realm, EVENT("e"), "3");
    assert_true(third > second);
    /* Old and new are joined. */
    assert_int_equal(rig_history_of(r, realm, event, first.seq), APR_SUCCESS);
    assert_int_equal(r->n_history, 2);
    assert_int_equal(r->history[0]->pos.seq, second);
    assert_int_equal(r->history[1]->pos.seq, third);
    rig_stop(r);
}

static void superseded_messages_stay_superseded(void **state)
{
    char realm_name[64];
    sse_str_t realm = rig_realm();
    memcpy(realm_name, realm.p, realm.n);
    realm.p = realm_name;
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {.event = SSE_STR("e"),
                          .data = SSE_STR("1"),
                          .channels = &event,
                          .n_channels = 1,
                          .replace = SSE_STR("x")};
    rig_t *r = rig_start();
    uint64_t start = rig_send(r, realm, event, "0");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    rig_stop(r);
    r = rig_start();
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    uint64_t last = r->published[0].pos.seq;
    assert_int_equal(rig_history_of(r, realm, event, start), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    assert_int_equal(r->history[0]->pos.seq, last);
    assert_int_equal(r->n_gaps, 0);
    rig_stop(r);
}

/* ---- stopping ---- */

typedef struct pending_t {
    unsigned answers, ended;
    bool stopped;
} pending_t;

static pending_t pending;

static void count(apr_status_t status)
{
    assert_false(pending.stopped); /* `done` comes last */
    assert_true(status == APR_SUCCESS || status == APR_EOF);
    pending.answers++;
    pending.ended += status == APR_EOF;
}

static void on_published(void *baton, apr_status_t status, const sse_published_t *results, size_t n,
                         size_t bad)
{
    count(status);
}

static void on_connected(void *baton, apr_status_t status, sse_record_t *user,
                         sse_record_t *const *groups, sse_pos_t pos)
{
    count(status);
}

static void on_record(void *baton, apr_status_t status, sse_record_t *record)
{
    count(status);
}

static void on_names(void *baton, apr_status_t status, const sse_str_t *names, size_t n)
{
    count(status);
}

static void on_done(void *baton, apr_status_t status)
{
    count(status);
}

static void on_history(void *baton, apr_status_t status, const sse_history_t *history)
{
    count(status);
}

static void on_tracking(void *baton, apr_status_t status, const sse_tracking_t *tracking)
{
    count(status);
}

static void call_everything(rig_t *r, sse_str_t realm)
{
    sse_broker_t *b = r->broker;
    const sse_broker_driver_t *d = b->driver;
    sse_str_t name = SSE_STR("x");
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = SSE_STR("e"), .data = SSE_STR("1"), .channels = &event, .n_channels = 1};
    sse_range_t range = {event, 0};
    sse_cursor_t cursor = {name, {1, 1}, 1};
    d->publish(b, realm, &item, 1, on_published, NULL);
    d->connect(b, realm, name, &name, 1, NO_SESSION, 0, on_connected, NULL);
    d->history(b, realm, &range, 1, 100, 1 << 20, on_history, NULL);
    d->subscribe(b, realm, USER("x"), &name, 1, NO_SESSION, on_record, NULL);
    d->unsubscribe(b, realm, USER("x"), &name, 1, NO_SESSION, on_record, NULL);
    d->record(b, realm, USER("x"), on_record, NULL);
    d->members_change(b, realm, name, true, &name, 1, NULL, 0, on_done, NULL);
    d->members(b, realm, name, on_names, NULL);
    d->forget(b, realm, EVENT("other"), on_done, NULL);
    d->disconnect(b, realm, 'u', name, 0, 1, on_done, NULL);
    d->cursors(b, realm, &cursor, 1, on_done, NULL);
    d->tracking(b, realm, name, on_tracking, NULL);
}

#define CALLS 12

static void on_stopped(void *baton, apr_status_t status)
{
    pending.stopped = true;
}

static void every_pending_call_is_answered_once_when_it_stops(void **state)
{
    for (int calls_after_stop = 0; calls_after_stop < 2; calls_after_stop++) {
        rig_t *r = rig_start();
        sse_str_t realm = rig_realm();
        rig_send(r, realm, EVENT("e"), "1");
        pending = (pending_t){0};
        for (int i = 0; i < 20; i++)
            call_everything(r, realm);
        assert_int_equal(pending.answers, 0);
        r->broker->driver->stop(r->broker, on_stopped, NULL);
        if (calls_after_stop)
            call_everything(r, realm);
        rig_wait(r, &pending.stopped);
        assert_int_equal(pending.answers, CALLS * (20 + calls_after_stop));
        assert_true(pending.ended >= (unsigned)(CALLS * calls_after_stop));
        rig_dispose(r);
    }
}

static void it_can_be_stopped_while_it_starts(void **state)
{
    rig_t *r = rig_start_until(SSE_BROKER_STARTING);
    pending = (pending_t){0};
    call_everything(r, rig_realm());
    r->broker->driver->stop(r->broker, on_stopped, NULL);
    rig_wait(r, &pending.stopped);
    assert_int_equal(pending.answers, CALLS);
    rig_dispose(r);
}

static void calls_made_while_it_starts_are_carried_out(void **state)
{
    rig_t *r = rig_start_until(SSE_BROKER_STARTING);
    sse_str_t realm = rig_realm();
    uint64_t seq = rig_send(r, realm, EVENT("e"), "1");
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    assert_int_equal(r->history[0]->pos.seq, seq);
    rig_stop(r);
}

int contract_life_tests(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(a_restart_keeps_everything),
        contract_test(superseded_messages_stay_superseded),
        contract_test(every_pending_call_is_answered_once_when_it_stops),
        contract_test(it_can_be_stopped_while_it_starts),
        contract_test(calls_made_while_it_starts_are_carried_out),
    };
    return cmocka_run_group_tests_name("contract: life", tests, NULL, NULL);
}
