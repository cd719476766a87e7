/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: history. Ranges, limits, gaps, and how a replay joins what comes by the upcall. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

static void history_gives_what_came_after(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    uint64_t seqs[10];
    for (int i = 0; i < 10; i++) {
        char data[16];
        snprintf(data, sizeof(data), "%d", i);
        seqs[i] = rig_send(r, realm, EVENT("e"), data);
    }
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), seqs[3]), APR_SUCCESS);
    assert_int_equal(r->n_history, 6);
    for (size_t i = 0; i < 6; i++) {
        char data[16];
        snprintf(data, sizeof(data), "%zu", i + 4);
        assert_int_equal(r->history[i]->pos.seq, seqs[i + 4]);
        assert_true(sse_str_eq(r->history[i]->data, sse_str(data)));
        assert_true(sse_str_eq(r->history[i]->event, SSE_STR("e")));
        assert_int_equal(r->history[i]->n_targets, 1);
    }
    assert_false(r->more);
    assert_int_equal(r->n_gaps, 0);
    assert_int_equal(r->pos.seq, seqs[9]);
    assert_int_equal(r->pos.epoch, r->history[0]->pos.epoch);
    rig_stop(r);
}

static void several_channels_are_merged_and_each_message_comes_once(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t both[] = {USER("1"), GROUP("g")};
    sse_publish_t item = {
        .event = SSE_STR("e"), .data = SSE_STR("1"), .channels = both, .n_channels = 2};
    for (int i = 0; i < 5; i++) {
        rig_send(r, realm, EVENT("a"), "1");
        assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
        rig_send(r, realm, BROADCAST, "1");
        rig_send(r, realm, EVENT("not asked for"), "1");
    }
    sse_range_t ranges[] = {
        {USER("1"), 0}, {EVENT("a"), 0}, {GROUP("g"), 0}, {BROADCAST, 0}, {EVENT("never used"), 0}};
    assert_int_equal(rig_history(r, realm, ranges, 5, 1000, 1 << 20), APR_SUCCESS);
    assert_int_equal(r->n_history, 15);
    assert_int_equal(r->n_gaps, 0);
    rig_stop(r);
}

static void each_range_has_a_start_of_its_own(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    rig_send(r, realm, EVENT("a"), "1");
    uint64_t b = rig_send(r, realm, EVENT("b"), "1");
    rig_send(r, realm, EVENT("a"), "2");
    rig_send(r, realm, EVENT("b"), "2");
    sse_range_t ranges[] = {{EVENT("a"), 0}, {EVENT("b"), b}};
    assert_int_equal(rig_history(r, realm, ranges, 2, 1000, 1 << 20), APR_SUCCESS);
    assert_int_equal(r->n_history, 3);
    rig_stop(r);
}

static void limits_cut_and_the_rest_can_be_asked_for(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    for (int i = 0; i < 60; i++)
        rig_send(r, realm, i % 3 ? EVENT("a") : EVENT("b"), "0123456789");
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        uint64_t after = 0;
        size_t got = 0, rounds = 0;
        do {
            sse_range_t ranges[] = {{EVENT("a"), after}, {EVENT("b"), after}};
            assert_int_equal(
                rig_history(r, realm, ranges, 2, by_bytes ? 1000 : 7, by_bytes ? 300 : 1 << 20),
                APR_SUCCESS);
            assert_true(r->n_history > 0);
            assert_true(by_bytes || r->n_history <= 7);
            assert_true(r->history[0]->pos.seq > after);
            got += r->n_history;
            after = r->history[r->n_history - 1]->pos.seq;
            rounds++;
        } while (r->more);
        assert_int_equal(got, 60);
        assert_true(rounds >= 9);
    }
    rig_stop(r);
}

static void count_trims_and_is_a_gap(void **state)
{
    rig_history_count = 10;
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    uint64_t seqs[25];
    for (int i = 0; i < 25; i++)
        seqs[i] = rig_send(r, realm, EVENT("e"), "1");
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), seqs[2]), APR_SUCCESS);
    assert_int_equal(r->n_history, 10);
    assert_int_equal(r->history[0]->pos.seq, seqs[15]);
    assert_int_equal(r->n_gaps, 1);
    assert_int_equal(r->gaps[0], 0);
    assert_int_equal(r->gap_end, seqs[14]);
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), seqs[14]), APR_SUCCESS);
    assert_int_equal(r->n_history, 10);
    assert_int_equal(r->n_gaps, 0);
    /* Only the channel that lost something has a gap. */
    uint64_t quiet = rig_send(r, realm, EVENT("quiet"), "1");
    for (int i = 0; i < 25; i++)
        rig_send(r, realm, EVENT("e"), "1");
    sse_range_t ranges[] = {{EVENT("quiet"), quiet - 1}, {EVENT("e"), quiet}, {EVENT("none"), 0}};
    assert_int_equal(rig_history(r, realm, ranges, 3, 1000, 1 << 20), APR_SUCCESS);
    assert_int_equal(r->n_gaps, 1);
    assert_int_equal(r->gaps[0], 1);
    assert_int_equal(r->n_history, 11);
    rig_stop(r);
}

static void others_messages_push_nothing_out(void **state)
{
    rig_history_count = 10;
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    uint64_t unread = rig_send(r, realm, USER("me"), "unread");
    char name[16];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "u%d", i % 20);
        rig_send(r, realm, USER(name), "1");
    }
    assert_int_equal(rig_history_of(r, realm, USER("me"), unread - 1), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    assert_int_equal(r->n_gaps, 0);
    rig_stop(r);
}

static void no_history_is_a_gap_for_whoever_was_away(void **state)
{
    rig_history_count = 0;
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    rig_interest(r, realm, EVENT("e"), true);
    uint64_t first = rig_send(r, realm, EVENT("e"), "1");
    uint64_t second = rig_send(r, realm, EVENT("e"), "2");
    rig_wait_messages(r, 2);
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), second), APR_SUCCESS);
    assert_int_equal(r->n_history + r->n_gaps, 0);
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), first), APR_SUCCESS);
    assert_int_equal(r->n_history, 0);
    assert_int_equal(r->n_gaps, 1);
    assert_int_equal(r->gap_end, second);
    rig_stop(r);
}

static void a_message_past_its_ttl_is_a_gap(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    uint64_t first = rig_send(r, realm, event, "1");
    sse_publish_t item = {
        .event = SSE_STR("e"), .data = SSE_STR("2"), .channels = &event, .n_channels = 1, .ttl = 1};
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    uint64_t brief = r->published[0].pos.seq;
    uint64_t third = rig_send(r, realm, event, "3");
    assert_int_equal(rig_history_of(r, realm, event, 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 3);
    uint64_t begun = uv_hrtime();
    do {
        rig_run_ms(r, 20);
        assert_int_equal(rig_history_of(r, realm, event, 0), APR_SUCCESS);
    } while (r->n_history == 3 && uv_hrtime() - begun < 5000000000ull);
    assert_int_equal(r->n_history, 2);
    assert_int_equal(r->history[0]->pos.seq, first);
    assert_int_equal(r->history[1]->pos.seq, third);
    assert_int_equal(r->n_gaps, 1);
    assert_int_equal(r->gap_end, brief);
    assert_int_equal(rig_history_of(r, realm, event, brief), APR_SUCCESS);
    assert_int_equal(r->n_gaps, 0);
    rig_stop(r);
}

/* ---- joining ---- */

typedef struct join_t {
    rig_t *rig;
    sse_str_t realm;
    uv_prepare_t pump; /* publishes in every turn of the loop */
    unsigned left;     /* turns to go */
    unsigned in_flight;
    unsigned readers; /* histories that are not joined yet */
    unsigned joined;
    bool done;
} join_t;

typedef struct reader_t {
    join_t *join;
    uint64_t after;  /* of the history */
    size_t portion;  /* messages at a time */
    char quiet[16];  /* another event that it asks for, too; empty: none */
    uint64_t expect; /* number of the message that must come next */
    bool live;
    size_t live_from; /* index into the rig's messages */
} reader_t;

static void check_done(join_t *j)
{
    j->done = !j->left && !j->in_flight && !j->readers;
}

static uint64_t number_of(const sse_message_t *m)
{
    char text[24];
    assert_true(m->data.n < sizeof(text));
    memcpy(text, m->data.p, m->data.n);
    text[m->data.n] = '\0';
    return strtoull(text, NULL, 10);
}

static void ask(reader_t *reader);

static void on_portion(void *baton, apr_status_t status, const sse_history_t *h)
{
    reader_t *reader = baton;
    rig_t *r = reader->join->rig;
    assert_int_equal(status, APR_SUCCESS);
    assert_int_equal(h->n_gaps, 0);
    for (size_t i = 0; i < h->n_messages; i++) {
        assert_int_equal(number_of(h->messages[i]), reader->expect);
        reader->expect++;
        reader->after = h->messages[i]->pos.seq;
    }
    if (h->more) {
        ask(reader);
        return;
    }
    /* Everything up to pos is here or has passed; the next upcall is what comes after it. */
    for (size_t i = 0; i < r->n_messages; i++)
        assert_true(r->messages[i]->pos.seq <= h->pos.seq);
    reader->live = true;
    reader->live_from = r->n_messages;
    reader->join->readers--;
    reader->join->joined++;
    check_done(reader->join);
}

static void ask(reader_t *reader)
{
    join_t *j = reader->join;
    sse_range_t ranges[] = {{EVENT("e"), reader->after}, {EVENT(reader->quiet), 0}};
    j->rig->broker->driver->history(j->rig->broker, j->realm, ranges, *reader->quiet ? 2 : 1,
                                    reader->portion, 16 << 20, on_portion, reader);
}

static void on_sent(void *baton, apr_status_t status, const sse_published_t *results, size_t n,
                    size_t bad)
{
    join_t *j = baton;
    assert_int_equal(status, APR_SUCCESS);
    j->in_flight--;
    check_done(j);
}

#define READERS 40

static reader_t readers[READERS];
static uint64_t sent;

static void send_one(join_t *j)
{
    char data[24];
    snprintf(data, sizeof(data), "%llu", (unsigned long long)sent++);
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = event.name, .data = sse_str(data), .channels = &event, .n_channels = 1};
    j->in_flight++;
    j->rig->broker->driver->publish(j->rig->broker, j->realm, &item, 1, on_sent, j);
}

static void pump(uv_prepare_t *handle)
{
    join_t *j = handle->data;
    if (!j->left) {
        uv_prepare_stop(handle);
        return;
    }
    for (int i = 0; i < 3; i++)
        send_one(j);
    /* A reader begins every few turns: from the very beginning, from somewhere in the middle, from
     * the last message. */
    if (j->left % 10 == 0 && j->left / 10 <= READERS) {
        unsigned i = j->left / 10 - 1;
        reader_t *reader = &readers[i];
        size_t from = i % 3 == 0 ? 0 : i % 3 == 1 ? j->rig->n_messages / 2 : j->rig->n_messages;
        /* In small portions, or all in one: then what was stored meets what is live. */
        *reader = (reader_t){.join = j, .portion = i % 4 < 2 ? 50 : 10000};
        if (i % 2) {
            snprintf(reader->quiet, sizeof(reader->quiet), "quiet%u", i);
            rig_interest(j->rig, j->realm, EVENT(reader->quiet), true);
        }
        if (from) {
            reader->after = j->rig->messages[from - 1]->pos.seq;
            reader->expect = number_of(j->rig->messages[from - 1]) + 1;
        }
        j->readers++;
        ask(reader);
    }
    j->left--;
    check_done(j);
}

#define OLD 700

static void a_replay_joins_without_hole_or_double_while_publishing_goes_on(void **state)
{
    char realm_name[64];
    sse_str_t realm = rig_realm();
    memcpy(realm_name, realm.p, realm.n);
    realm.p = realm_name;
    rig_history_count = 100000;
    /* What an earlier life left is not in any driver's memory. */
    rig_t *r = rig_start();
    join_t j = {.rig = r, .realm = realm};
    for (sent = 0; sent < OLD;)
        send_one(&j);
    while (j.in_flight)
        rig_run_ms(r, 1);
    rig_stop(r);

    r = rig_start();
    j = (join_t){.rig = r, .realm = realm, .left = READERS * 10 + 5};
    rig_interest(r, j.realm, EVENT("e"), true);
    uv_prepare_init(&r->loop, &j.pump);
    j.pump.data = &j;
    uv_prepare_start(&j.pump, pump);
    /* The pump runs once a turn; this keeps the turns coming. */
    while (!j.done)
        rig_run_ms(r, 5);
    rig_wait_messages(r, sent - OLD);
    assert_int_equal(j.joined, READERS);
    for (size_t i = 0; i < READERS; i++) {
        assert_true(readers[i].live);
        uint64_t expect = readers[i].expect;
        for (size_t k = readers[i].live_from; k < r->n_messages; k++)
            assert_int_equal(number_of(r->messages[k]), expect++);
        assert_int_equal(expect, sent);
    }
    uv_close((uv_handle_t *)&j.pump, NULL);
    rig_stop(r);
}

int contract_history_tests(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(history_gives_what_came_after),
        contract_test(several_channels_are_merged_and_each_message_comes_once),
        contract_test(each_range_has_a_start_of_its_own),
        contract_test(limits_cut_and_the_rest_can_be_asked_for),
        contract_test(count_trims_and_is_a_gap),
        contract_test(others_messages_push_nothing_out),
        contract_test(no_history_is_a_gap_for_whoever_was_away),
        contract_test(a_message_past_its_ttl_is_a_gap),
        contract_test(a_replay_joins_without_hole_or_double_while_publishing_goes_on),
    };
    return cmocka_run_group_tests_name("contract: history", tests, NULL, NULL);
}
