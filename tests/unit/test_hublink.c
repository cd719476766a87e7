/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's line to the hub: what it does when the hub answers, dies before, during or after a
 * request, or says nothing. The hub is a thread that plays the far end of the rendezvous by a
 * script, one letter a channel. */
#include "cmocka_all.h"

#include "core/fdpass.h"
#include "httpd/hublink.h"

#include <apr_general.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

/* What the hub does with the channels, in the order in which they come. */
typedef enum act_t {
    ACT_END = 0, /* of the script: no channel is taken any more */
    ACT_ANSWER,  /* answers every request until the test closes it */
    ACT_ONCE,    /* answers one request, then closes */
    ACT_DROP,    /* reads one request, closes without an answer */
    ACT_REFUSE,  /* closes at once */
    ACT_SILENT,  /* reads one request and holds its tongue */
    ACT_DEAF,    /* answers one request and reads no more */
    ACT_WRONG,   /* answers with a message of another type */
} act_t;

typedef struct hub_t {
    int rendezvous[2];
    const act_t *script;
    pthread_t thread;
    int requests; /* seen by the hub */
    int held;     /* the silent or deaf channel */
} hub_t;

static hub_t hub;
static apr_pool_t *pool;

static void answer(int channel, const sse_wire_in_t *in, sse_wire_type_t type)
{
    sse_wire_msg_t reply = {.type = type, .id = in->msg.id};
    if (type == SSE_WIRE_RESERVED)
        reply.u.reserved.ticket = 42;
    assert_int_equal(sse_wire_send(channel, &reply, -1, 1000), APR_SUCCESS);
}

static void play(int channel, act_t act)
{
    sse_wire_in_t in;
    while (act != ACT_REFUSE &&
           sse_wire_recv(channel, SSE_WIRE_REQUEST_MAX, 5000, &in) == APR_SUCCESS) {
        hub.requests++;
        if (act == ACT_ANSWER || act == ACT_ONCE || act == ACT_DEAF)
            answer(channel, &in, SSE_WIRE_RESERVED);
        if (act == ACT_WRONG)
            answer(channel, &in, SSE_WIRE_ADMIN_REPLY);
        sse_wire_in_clear(&in);
        if (act == ACT_SILENT || act == ACT_DEAF) {
            hub.held = channel;
            return;
        }
        if (act != ACT_ANSWER)
            break;
    }
    close(channel);
}

static void *run(void *unused)
{
    for (const act_t *act = hub.script; *act != ACT_END; act++) {
        sse_wire_in_t in;
        if (sse_wire_recv(hub.rendezvous[1], 0, 5000, &in) != APR_SUCCESS)
            return NULL;
        assert_int_equal(in.msg.type, SSE_WIRE_HELLO);
        int channel = in.fd;
        in.fd = -1;
        sse_wire_in_clear(&in);
        play(channel, *act);
    }
    return NULL;
}

static void start(const act_t *script)
{
    memset(&hub, 0, sizeof hub);
    hub.held = -1;
    hub.script = script;
    apr_initialize();
    apr_pool_create(&pool, NULL);
    assert_int_equal(sse_fdpass_pair(hub.rendezvous), APR_SUCCESS);
    sse_hublink_child_init(pool, hub.rendezvous[0]);
    assert_int_equal(pthread_create(&hub.thread, NULL, run, NULL), 0);
}

static void stop(void)
{
    pthread_join(hub.thread, NULL);
    if (hub.held >= 0)
        close(hub.held);
    close(hub.rendezvous[0]);
    close(hub.rendezvous[1]);
    apr_pool_destroy(pool);
    apr_terminate();
}

static apr_status_t call(bool repeatable, int timeout_ms)
{
    sse_wire_msg_t req = {.type = SSE_WIRE_RESERVE, .u.reserve.realm = SSE_STR("default")};
    sse_answer_t out = {.channel = NULL};
    apr_status_t rv = sse_hublink_call(&req, SSE_WIRE_RESERVED, repeatable, timeout_ms, &out);
    if (rv == APR_SUCCESS)
        assert_int_equal(out.in.msg.u.reserved.ticket, 42);
    sse_hublink_done(&out);
    sse_hublink_done(&out);
    return rv;
}

static void one_channel_serves_many_requests(void **state)
{
    static const act_t script[] = {ACT_ANSWER, ACT_END};
    static char name[SSE_GROUP_MAX];
    static sse_str_t groups[SSE_USER_GROUPS_MAX];
    sse_wire_msg_t big = {.type = SSE_WIRE_RESERVE, .u.reserve.n_groups = SSE_USER_GROUPS_MAX};
    /* What is no message ends the play. */
    sse_wire_msg_t wrong = {.type = SSE_WIRE_RESERVE, .u.reserve.session = SSE_STR("short")};
    sse_answer_t out = {.channel = NULL};
    start(script);
    for (int i = 0; i < 5; i++)
        assert_int_equal(call(false, 5000), APR_SUCCESS);
    assert_int_equal(hub.requests, 5);
    for (size_t i = 0; i < SSE_ARRAY_LEN(groups); i++)
        groups[i] = (sse_str_t){name, sizeof name};
    big.u.reserve.groups = groups;
    memset(name, 'g', sizeof name);
    assert_int_equal(sse_hublink_call(&big, SSE_WIRE_RESERVED, true, 5000, &out), APR_SUCCESS);
    sse_hublink_done(&out);
    assert_int_equal(hub.requests, 6);
    assert_int_equal(sse_hublink_call(&wrong, SSE_WIRE_RESERVED, false, 5000, &out), APR_EOF);
    stop();
}

static void a_channel_that_ended_while_idle_is_not_used(void **state)
{
    static const act_t script[] = {ACT_ONCE, ACT_ONCE, ACT_ONCE, ACT_END};
    start(script);
    /* The end may be seen before the next request is sent or after: it must not be the last answer.
     */
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(true, 5000), APR_SUCCESS);
    assert_int_equal(hub.requests, 3);
    stop();
}

static void what_may_be_done_twice_is_asked_again(void **state)
{
    static const act_t script[] = {ACT_DROP, ACT_ONCE, ACT_END};
    start(script);
    assert_int_equal(call(true, 5000), APR_SUCCESS);
    assert_int_equal(hub.requests, 2);
    stop();
}

static void what_may_not_is_told_to_be_open(void **state)
{
    static const act_t script[] = {ACT_DROP, ACT_END};
    start(script);
    assert_int_equal(call(false, 5000), APR_EOF);
    assert_int_equal(hub.requests, 1);
    stop();
}

static void repeating_ends(void **state)
{
    static const act_t script[] = {ACT_DROP, ACT_DROP, ACT_DROP, ACT_END};
    start(script);
    assert_int_equal(call(true, 5000), APR_EOF);
    assert_int_equal(hub.requests, 3);
    stop();
}

static void silence_ends_in_time_and_spares_the_next(void **state)
{
    static const act_t script[] = {ACT_SILENT, ACT_END};
    start(script);
    apr_time_t began = apr_time_now();
    assert_true(APR_STATUS_IS_TIMEUP(call(true, 200)));
    apr_time_t took = apr_time_now() - began;
    assert_true(took >= apr_time_from_msec(190) && took < apr_time_from_msec(2000));
    began = apr_time_now();
    assert_true(APR_STATUS_IS_TIMEUP(call(true, 5000)));
    assert_true(apr_time_now() - began < apr_time_from_msec(100));
    assert_int_equal(hub.requests, 1);
    stop();
}

static void a_reply_of_another_kind_closes_the_channel(void **state)
{
    static const act_t script[] = {ACT_WRONG, ACT_ONCE, ACT_END};
    start(script);
    assert_int_equal(call(true, 5000), APR_EOF);
    assert_int_equal(call(true, 5000), APR_SUCCESS);
    stop();
}

/* A ticket that could not be released goes with its channel. */
static void a_channel_that_takes_no_release_is_closed(void **state)
{
    static const act_t script[] = {ACT_DEAF, ACT_ONCE, ACT_END};
    start(script);
    sse_wire_msg_t req = {.type = SSE_WIRE_RESERVE, .u.reserve.realm = SSE_STR("default")};
    sse_answer_t out = {.channel = NULL};
    assert_int_equal(sse_hublink_call(&req, SSE_WIRE_RESERVED, true, 5000, &out), APR_SUCCESS);
    uint64_t released = 0;
    while (!out.broken && released < 1000000)
        sse_hublink_release(&out, ++released);
    assert_true(out.broken);
    sse_hublink_done(&out);
    assert_int_equal(call(true, 5000), APR_SUCCESS);
    sse_wire_in_t in;
    uint64_t came = 0;
    while (sse_wire_recv(hub.held, 0, 5000, &in) == APR_SUCCESS) {
        assert_int_equal(in.msg.u.release.ticket, ++came);
        sse_wire_in_clear(&in);
    }
    assert_int_equal(came, released - 1);
    struct pollfd end = {hub.held, POLLIN, 0};
    assert_int_equal(poll(&end, 1, 5000), 1);
    assert_true(end.revents & POLLHUP);
    stop();
}

static void without_a_hub_there_is_no_waiting_for_ever(void **state)
{
    static const act_t script[] = {ACT_END};
    start(script);
    assert_true(APR_STATUS_IS_TIMEUP(call(true, 100)));
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_channel_serves_many_requests),
        cmocka_unit_test(a_channel_that_ended_while_idle_is_not_used),
        cmocka_unit_test(what_may_be_done_twice_is_asked_again),
        cmocka_unit_test(what_may_not_is_told_to_be_open),
        cmocka_unit_test(repeating_ends),
        cmocka_unit_test(silence_ends_in_time_and_spares_the_next),
        cmocka_unit_test(a_reply_of_another_kind_closes_the_channel),
        cmocka_unit_test(a_channel_that_takes_no_release_is_closed),
        cmocka_unit_test(without_a_hub_there_is_no_waiting_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
