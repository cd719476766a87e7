/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis driver when several hubs share a server, and when the server goes away, comes back,
 * refuses, forgets or steps back. */
#include "redis_server.h"
#include "rig.h"

#include <signal.h>
#include <stdio.h>

world_t world;
static redis_server_t server;

static void keep(sse_str_t realm, char out[64])
{
    snprintf(out, 64, "%.*s", (int)realm.n, realm.p);
}

static void care_for(rig_t *r, sse_str_t realm, sse_channel_t channel)
{
    r->broker->driver->interest(r->broker, realm, channel, true);
}

static void what_one_hub_publishes_another_gets(void **state)
{
    rig_t *a = rig_start(), *b = rig_start();
    sse_str_t realm = rig_realm();
    care_for(b, realm, EVENT("e"));
    care_for(b, realm, USER("1"));
    assert_int_equal(rig_connect(b, realm, "1", NULL, 0), APR_SUCCESS);
    uint64_t start = b->pos.seq;
    for (int i = 0; i < 50; i++)
        rig_send(a, realm, i % 2 ? EVENT("e") : EVENT("nobody here"), "1");
    rig_wait_messages(b, 25);
    assert_true(b->messages[0]->pos.seq > start);
    assert_int_equal(a->n_messages, 0); /* no interest, nothing sent */
    assert_int_equal(rig_subscribe(a, realm, USER("1"), "e", NO_SESSION), APR_SUCCESS);
    assert_int_equal(rig_record(b, realm, USER("1")), APR_SUCCESS);
    assert_true(rig_subscribed(b->record, "e", NO_SESSION, NULL));
    assert_int_equal(b->n_changes, 1); /* told before the answer, which reflects it */
    rig_stop(a);
    rig_stop(b);
}

static void a_message_to_many_comes_once(void **state)
{
    rig_t *a = rig_start(), *b = rig_start();
    sse_str_t realm = rig_realm();
    char names[40][8];
    sse_channel_t channels[40];
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof(names[i]), "u%d", i);
        channels[i] = USER(names[i]);
        care_for(b, realm, channels[i]);
    }
    assert_int_equal(rig_connect(b, realm, "", NULL, 0), APR_SUCCESS);
    for (size_t n = 1; n <= 40; n++) {
        sse_publish_t item = {
            .event = SSE_STR("x"), .data = SSE_STR("1"), .channels = channels, .n_channels = n};
        assert_int_equal(rig_publish(a, realm, &item, 1), APR_SUCCESS);
    }
    rig_wait_messages(b, 40);
    assert_int_equal(rig_history_of(b, realm, channels[0], 0), APR_SUCCESS);
    assert_int_equal(b->n_history, 40);
    assert_int_equal(b->n_messages, 40);
    rig_stop(a);
    rig_stop(b);
}

static void a_cut_connection_catches_up(void **state)
{
    rig_t *a = rig_start(), *b = rig_start();
    sse_str_t realm = rig_realm();
    care_for(b, realm, EVENT("e"));
    care_for(b, realm, USER("1"));
    assert_int_equal(rig_connect(b, realm, "1", NULL, 0), APR_SUCCESS);
    for (int round = 0; round < 5; round++) {
        redis_server_say(&server, "CLIENT KILL TYPE pubsub");
        if (round % 2)
            redis_server_say(&server, "CLIENT KILL TYPE normal SKIPME yes");
        rig_wait_state(a, SSE_BROKER_LOST);
        rig_wait_state(a, SSE_BROKER_CONNECTED);
        for (int i = 0; i < 100; i++)
            rig_send(a, realm, EVENT("e"), "1");
        char event[16];
        snprintf(event, sizeof(event), "event%d", round);
        assert_int_equal(rig_subscribe(a, realm, USER("1"), event, NO_SESSION), APR_SUCCESS);
        rig_wait_messages(b, 100 * ((size_t)round + 1));
        rig_wait_state(b, SSE_BROKER_CONNECTED);
        assert_int_equal(rig_connect(b, realm, "1", NULL, 0), APR_SUCCESS);
        assert_true(rig_subscribed(rig_last_change(b, USER("1")), event, NO_SESSION, NULL));
    }
    assert_int_equal(b->n_messages, 500);
    for (size_t i = 1; i < b->n_messages; i++)
        assert_true(b->messages[i]->pos.seq > b->messages[i - 1]->pos.seq);
    assert_int_equal(a->resets + b->resets, 0);
    rig_stop(a);
    rig_stop(b);
}

static void a_restart_with_all_data_is_no_reset(void **state)
{
    rig_t *a = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    care_for(a, realm, event);
    uint64_t seq = rig_send(a, realm, event, "1");
    rig_wait_messages(a, 1);
    redis_server_kill(&server);
    rig_wait_state(a, SSE_BROKER_LOST);
    sse_publish_t item = {.event = event.name,
                          .data = SSE_STR("2"),
                          .channels = &event,
                          .n_channels = 1,
                          .key = SSE_STR("k")};
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_EAGAIN);
    redis_server_start(&server, NULL);
    rig_wait_state(a, SSE_BROKER_CONNECTED);
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_SUCCESS);
    assert_int_equal(a->published[0].pos.seq, seq + 1);
    rig_wait_messages(a, 2);
    assert_int_equal(a->resets, 0);
    rig_stop(a);
}

static void a_step_back_is_told(void **state)
{
    rig_t *a = rig_start();
    char name[64], command[160];
    keep(rig_realm(), name);
    sse_str_t realm = sse_str(name);
    care_for(a, realm, EVENT("e"));
    for (int i = 0; i < 10; i++)
        rig_send(a, realm, EVENT("e"), "1");
    rig_wait_messages(a, 10);
    uint64_t epoch = a->messages[0]->pos.epoch;
    snprintf(command, sizeof(command), "HINCRBY faults:{%s}:meta seq -5", name);
    redis_server_say(&server, command);
    redis_server_kill(&server);
    redis_server_start(&server, NULL);
    rig_wait_state(a, SSE_BROKER_LOST);
    rig_wait_state(a, SSE_BROKER_CONNECTED);
    assert_int_equal(a->resets, 1);
    sse_channel_t event = EVENT("e");
    uint64_t next = rig_send(a, realm, event, "1");
    assert_true(next > 10);
    assert_true(a->published[0].pos.epoch != epoch);
    rig_wait_messages(a, 11);
    rig_stop(a);
}

/* Numbers that were lost and given to other messages before this hub came back. */
static void numbers_given_twice_are_told(void **state)
{
    rig_t *a = rig_start();
    char name[64], command[160];
    keep(rig_realm(), name);
    sse_str_t realm = sse_str(name);
    care_for(a, realm, EVENT("e"));
    for (int i = 0; i < 10; i++)
        rig_send(a, realm, EVENT("e"), "1");
    rig_wait_messages(a, 10);
    snprintf(command, sizeof(command), "XTRIM faults:{%s}:log MAXLEN 0", name);
    redis_server_say(&server, command);
    redis_server_kill(&server);
    redis_server_start(&server, NULL);
    rig_wait_state(a, SSE_BROKER_LOST);
    rig_wait_state(a, SSE_BROKER_CONNECTED);
    assert_int_equal(a->resets, 1);
    rig_stop(a);
}

static void an_emptied_server_is_told(void **state)
{
    rig_t *a = rig_start();
    sse_str_t realm = rig_realm();
    care_for(a, realm, EVENT("e"));
    rig_send(a, realm, EVENT("e"), "1");
    rig_wait_messages(a, 1);
    redis_server_say(&server, "FLUSHALL");
    rig_send(a, realm, EVENT("e"), "2");
    rig_wait_messages(a, 2);
    assert_int_equal(a->resets, 1);
    assert_true(a->messages[1]->pos.epoch != a->messages[0]->pos.epoch);
    rig_stop(a);
}

static void flushed_scripts_are_loaded_again(void **state)
{
    rig_t *a = rig_start();
    sse_str_t realm = rig_realm();
    uint64_t first = rig_send(a, realm, EVENT("e"), "1");
    redis_server_say(&server, "SCRIPT FLUSH");
    assert_true(rig_send(a, realm, EVENT("e"), "1") > first);
    assert_int_equal(a->state, SSE_BROKER_CONNECTED);
    rig_stop(a);
}

static void a_full_memory_refuses_whole(void **state)
{
    rig_t *a = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = event.name, .data = SSE_STR("2"), .channels = &event, .n_channels = 1};
    care_for(a, realm, event);
    uint64_t first = rig_send(a, realm, event, "1");
    redis_server_say(&server, "CONFIG SET maxmemory 1");
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_EAGAIN);
    redis_server_say(&server, "CONFIG SET maxmemory 0");
    assert_int_equal(rig_send(a, realm, event, "3"), first + 1);
    assert_int_equal(rig_history_of(a, realm, event, 0), APR_SUCCESS);
    assert_int_equal(a->n_history, 2);
    rig_stop(a);
}

static void a_replica_takes_no_writes(void **state)
{
    rig_t *a = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = event.name, .data = SSE_STR("2"), .channels = &event, .n_channels = 1};
    rig_send(a, realm, event, "1");
    redis_server_say(&server, "REPLICAOF 127.0.0.1 1");
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_EAGAIN);
    rig_wait_state(a, SSE_BROKER_LOST);
    redis_server_say(&server, "REPLICAOF NO ONE");
    rig_wait_state(a, SSE_BROKER_CONNECTED);
    rig_send(a, realm, event, "3");
    rig_stop(a);
}

static void a_server_that_stands_still_is_left(void **state)
{
    rig_t *a = rig_start();
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {.event = event.name,
                          .data = SSE_STR("2"),
                          .channels = &event,
                          .n_channels = 1,
                          .key = SSE_STR("k")};
    care_for(a, realm, event);
    rig_send(a, realm, event, "1");
    redis_server_signal(&server, SIGSTOP);
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_EAGAIN);
    assert_int_equal(a->state, SSE_BROKER_LOST);
    redis_server_signal(&server, SIGCONT);
    rig_wait_state(a, SSE_BROKER_CONNECTED);
    /* The outcome was open: the repeat is delivered once, whether it was or was not. */
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_SUCCESS);
    rig_send(a, realm, event, "3");
    rig_wait_messages(a, 3);
    assert_int_equal(a->n_messages, 3);
    assert_int_equal(a->resets, 0);
    rig_stop(a);
}

static void a_server_that_is_not_there_yet_is_waited_for(void **state)
{
    redis_server_kill(&server);
    rig_t *a = rig_start_until(SSE_BROKER_LOST);
    assert_true(strlen(a->detail) > 0);
    sse_str_t realm = rig_realm();
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = event.name, .data = SSE_STR("2"), .channels = &event, .n_channels = 1};
    assert_int_equal(rig_publish(a, realm, &item, 1), APR_EAGAIN);
    redis_server_start(&server, NULL);
    rig_wait_state(a, SSE_BROKER_CONNECTED);
    rig_send(a, realm, event, "1");
    rig_stop(a);
}

static void a_wrong_password_is_said(void **state)
{
    char *url = world.url, wrong[512];
    redis_server_say(&server, "CONFIG SET requirepass right");
    snprintf(wrong, sizeof(wrong), "redis://:wrong@127.0.0.1:%d/0", server.port);
    world.url = wrong;
    rig_t *a = rig_start_until(SSE_BROKER_LOST);
    assert_non_null(strstr(a->detail, "WRONGPASS"));
    rig_stop(a);
    snprintf(wrong, sizeof(wrong), "redis+unix://default:right@%s?prefix=s:", server.socket);
    rig_send(a = rig_start(), rig_realm(), EVENT("e"), "1");
    rig_stop(a);
    redis_server_kill(&server);
    redis_server_start(&server, NULL);
    world.url = url;
}

int main(void)
{
    char url[128];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_hub_publishes_another_gets),
        cmocka_unit_test(a_message_to_many_comes_once),
        cmocka_unit_test(a_cut_connection_catches_up),
        cmocka_unit_test(a_restart_with_all_data_is_no_reset),
        cmocka_unit_test(a_step_back_is_told),
        cmocka_unit_test(numbers_given_twice_are_told),
        cmocka_unit_test(an_emptied_server_is_told),
        cmocka_unit_test(flushed_scripts_are_loaded_again),
        cmocka_unit_test(a_full_memory_refuses_whole),
        cmocka_unit_test(a_replica_takes_no_writes),
        cmocka_unit_test(a_server_that_stands_still_is_left),
        cmocka_unit_test(a_server_that_is_not_there_yet_is_waited_for),
        cmocka_unit_test(a_wrong_password_is_said),
    };
    if (!redis_server_make(&server)) {
        fprintf(stderr, "redis-server is missing\n");
        return 77;
    }
    redis_server_start(&server, NULL);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d/0?prefix=faults:", server.port);
    world = (world_t){.url = url, .state_dir = server.dir};
    int failed = cmocka_run_group_tests_name("redis: faults", tests, NULL, NULL);
    redis_server_remove(&server);
    return failed ? 1 : 0;
}
