/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: publishing. Order, acknowledgement, batches, keys, superseding. */
#include "rig.h"

#include <stdio.h>

static sse_publish_t to(const sse_channel_t *channel, const char *event, const char *data)
{
    return (sse_publish_t){
        .event = sse_str(event), .data = sse_str(data), .channels = channel, .n_channels = 1};
}

static void messages_come_as_published_and_rendered(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t channels[] = {USER("7"), GROUP("staff"), USER("8")};
    sse_publish_t item = {.event = SSE_STR("chat:new"),
                          .data = SSE_STR("{\"n\": 12345678901234567890}\nsecond"),
                          .channels = channels,
                          .n_channels = 3};
    rig_interest(r, realm, channels[0], true);
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_int_equal(r->n_published, 1);
    assert_false(r->published[0].repeated);
    assert_true(r->published[0].pos.epoch != 0 && r->published[0].pos.seq != 0);
    rig_wait_messages(r, 1);
    sse_message_t *m = r->messages[0];
    assert_int_equal(m->pos.seq, r->published[0].pos.seq);
    assert_int_equal(m->pos.epoch, r->published[0].pos.epoch);
    assert_true(sse_str_eq(m->realm, realm));
    assert_true(sse_str_eq(m->event, item.event));
    assert_true(sse_str_eq(m->data, item.data));
    assert_false(m->raw);
    assert_int_equal(m->n_targets, 3);
    assert_memory_equal(m->targets[1].name, "staff", 5);
    char id[SSE_EVENTID_MAX], frame[256];
    sse_eventid_format(m->pos, false, id);
    snprintf(frame, sizeof(frame),
             "id: %s\nevent: chat:new\ndata: {\"n\": 12345678901234567890}\ndata: second\n\n", id);
    assert_int_equal(m->frame.n, strlen(frame));
    assert_memory_equal(m->frame.p, frame, m->frame.n);
    rig_stop(r);
}

static void sequence_numbers_grow_in_the_order_of_calls(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("tick");
    rig_interest(r, realm, event, true);
    uint64_t last = 0;
    for (int i = 0; i < 50; i++) {
        uint64_t seq = rig_send(r, realm, event, "1");
        assert_true(seq > last);
        last = seq;
    }
    rig_wait_messages(r, 50);
    for (size_t i = 1; i < 50; i++)
        assert_true(r->messages[i]->pos.seq > r->messages[i - 1]->pos.seq);
    rig_stop(r);
}

static void a_message_to_nobody_gets_an_id(void **state)
{
    rig_t *r = rig_start();
    sse_publish_t item = {.event = SSE_STR("e"), .data = SSE_STR("1")};
    assert_int_equal(rig_publish(r, rig_realm(), &item, 1), APR_SUCCESS);
    assert_true(r->published[0].pos.seq > 0);
    rig_stop(r);
}

static void a_batch_is_accepted_as_one(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t a = EVENT("a"), b = EVENT("b");
    sse_publish_t items[100];
    rig_interest(r, realm, a, true);
    rig_interest(r, realm, b, true);
    for (size_t i = 0; i < 100; i++)
        items[i] = to(i % 2 ? &b : &a, i % 2 ? "b" : "a", "{}");
    assert_int_equal(rig_publish(r, realm, items, 100), APR_SUCCESS);
    assert_int_equal(r->n_published, 100);
    for (size_t i = 1; i < 100; i++)
        assert_true(r->published[i].pos.seq > r->published[i - 1].pos.seq);
    rig_wait_messages(r, 100);
    rig_stop(r);
}

static void a_clash_in_a_batch_publishes_nothing(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    sse_publish_t first = to(&event, "e", "1");
    first.key = SSE_STR("k");
    rig_interest(r, realm, event, true);
    assert_int_equal(rig_publish(r, realm, &first, 1), APR_SUCCESS);
    uint64_t seq = r->published[0].pos.seq;
    sse_publish_t items[] = {to(&event, "e", "2"), to(&event, "e", "3"), to(&event, "e", "other")};
    items[0].key = SSE_STR("fresh");
    items[2].key = SSE_STR("k");
    assert_int_equal(rig_publish(r, realm, items, 3), APR_EEXIST);
    assert_int_equal(r->bad, 2);
    assert_int_equal(rig_history_of(r, realm, event, seq), APR_SUCCESS);
    assert_int_equal(r->n_history, 0);
    assert_int_equal(r->n_gaps, 0);
    /* The key of the batch that was refused is not taken. */
    items[0].data = SSE_STR("another");
    assert_int_equal(rig_publish(r, realm, items, 1), APR_SUCCESS);
    assert_false(r->published[0].repeated);
    rig_wait_messages(r, 2);
    assert_int_equal(r->n_messages, 2);
    rig_stop(r);
}

static void a_key_makes_a_repeat_harmless(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e"), other = EVENT("f");
    sse_publish_t item = to(&event, "e", "{\"a\":1}");
    item.key = SSE_STR("order-17");
    rig_interest(r, realm, event, true);
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    sse_pos_t first = r->published[0].pos;
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_true(r->published[0].repeated);
    assert_int_equal(r->published[0].pos.seq, first.seq);
    item.data = SSE_STR("{\"a\":2}");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_EEXIST);
    assert_int_equal(r->bad, 0);
    /* Keys are per channel and per realm. */
    sse_publish_t elsewhere = to(&other, "f", "1");
    elsewhere.key = SSE_STR("order-17");
    assert_int_equal(rig_publish(r, realm, &elsewhere, 1), APR_SUCCESS);
    assert_false(r->published[0].repeated);
    assert_int_equal(rig_publish(r, rig_realm(), &item, 1), APR_SUCCESS);
    assert_false(r->published[0].repeated);
    rig_wait_messages(r, 1);
    assert_int_equal(rig_history_of(r, realm, event, 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    rig_stop(r);
}

static void a_key_repeated_within_a_batch_counts_once(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    sse_publish_t items[] = {to(&event, "e", "1"), to(&event, "e", "1")};
    items[0].key = items[1].key = SSE_STR("k");
    assert_int_equal(rig_publish(r, realm, items, 2), APR_SUCCESS);
    assert_false(r->published[0].repeated);
    assert_true(r->published[1].repeated);
    assert_int_equal(r->published[0].pos.seq, r->published[1].pos.seq);
    rig_stop(r);
}

static void keys_do_not_depend_on_the_order_of_addressees(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t ab[] = {USER("a"), USER("b")}, ba[] = {USER("b"), USER("a")};
    sse_publish_t item = {.event = SSE_STR("e"),
                          .data = SSE_STR("1"),
                          .channels = ab,
                          .n_channels = 2,
                          .key = SSE_STR("k")};
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    item.channels = ba;
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_true(r->published[0].repeated);
    rig_stop(r);
}

static void replace_takes_the_place_of_the_earlier_message(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("price");
    uint64_t start = rig_send(r, realm, event, "0");
    sse_publish_t item = to(&event, "price", "1");
    item.replace = SSE_STR("ACME");
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    uint64_t last = r->published[0].pos.seq;
    item.replace = SSE_STR("other");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_int_equal(rig_history_of(r, realm, event, start), APR_SUCCESS);
    assert_int_equal(r->n_history, 2);
    assert_int_equal(r->history[0]->pos.seq, last);
    assert_int_equal(r->n_gaps, 0);
    rig_stop(r);
}

static void replace_leaves_other_addressees_alone(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t a = USER("a"), b = USER("b");
    sse_publish_t item = to(&a, "state", "1");
    item.replace = SSE_STR("x");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    item.channels = &b;
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_int_equal(rig_history_of(r, realm, a, 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    /* Another event of the same value is another thing. */
    item.event = SSE_STR("state2");
    assert_int_equal(rig_publish(r, realm, &item, 1), APR_SUCCESS);
    assert_int_equal(rig_history_of(r, realm, b, 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 2);
    rig_stop(r);
}

static void realms_do_not_meet(void **state)
{
    rig_t *r = rig_start();
    char first[64];
    sse_str_t name = rig_realm();
    memcpy(first, name.p, name.n);
    sse_str_t one = {first, name.n}, two = rig_realm();
    sse_channel_t event = EVENT("e");
    rig_send(r, one, event, "1");
    assert_int_equal(rig_history_of(r, two, event, 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 0);
    assert_int_equal(r->n_gaps, 0);
    rig_stop(r);
}

int contract_publish_tests(void)
{
    const struct CMUnitTest tests[] = {
        contract_test(messages_come_as_published_and_rendered),
        contract_test(sequence_numbers_grow_in_the_order_of_calls),
        contract_test(a_message_to_nobody_gets_an_id),
        contract_test(a_batch_is_accepted_as_one),
        contract_test(a_clash_in_a_batch_publishes_nothing),
        contract_test(a_key_makes_a_repeat_harmless),
        contract_test(a_key_repeated_within_a_batch_counts_once),
        contract_test(keys_do_not_depend_on_the_order_of_addressees),
        contract_test(replace_takes_the_place_of_the_earlier_message),
        contract_test(replace_leaves_other_addressees_alone),
        contract_test(realms_do_not_meet),
    };
    return cmocka_run_group_tests_name("contract: publish", tests, NULL, NULL);
}
