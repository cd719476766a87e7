/* SPDX-License-Identifier: Apache-2.0 */
/* Admission between its two questions to the broker: a driver here answers when a test says so, and
 * what happens to a session or to positions in between must show in the answer. */
#include "cmocka_all.h"
#include "core/buf.h"
#include "hub/admission_impl.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include <stdlib.h>

#define EPOCH 0x1111
#define MANY_GROUPS (SSE_USER_GROUPS_MAX + 100)

static size_t memberships; /* of the user */

/* What the driver was asked and has not answered. */
static struct {
    sse_history_fn history;
    sse_tracking_fn tracking;
    void *baton;
} asked;

static void fake_connect(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                         size_t n_groups, sse_str_t session, uint64_t session_expires,
                         sse_connected_fn cb, void *baton)
{
    static sse_record_t *records[MANY_GROUPS];
    sse_record_t *record = sse_record_create(SSE_CHANNEL_USER, realm, user, 0, memberships);
    for (size_t i = 0; i < memberships; i++) {
        char name[16];
        size_t n = (size_t)snprintf(name, sizeof name, "g%zu", i);
        record->memberships[i].group = sse_strndup(name, n);
        records[i] = sse_record_create(SSE_CHANNEL_GROUP, realm, (sse_str_t){name, n}, 0, 0);
    }
    cb(baton, APR_SUCCESS, record, records, (sse_pos_t){EPOCH, 100});
    for (size_t i = 0; i < memberships; i++)
        sse_record_unref(records[i]);
    sse_record_unref(record);
}

static void fake_history(sse_broker_t *b, sse_str_t realm, const sse_range_t *ranges,
                         size_t n_ranges, size_t max_messages, size_t max_bytes, sse_history_fn cb,
                         void *baton)
{
    asked.history = cb;
    asked.baton = baton;
}

static void fake_tracking(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_tracking_fn cb,
                          void *baton)
{
    asked.tracking = cb;
    asked.baton = baton;
}

static void fake_presence(sse_broker_t *b, sse_str_t realm, sse_str_t user, uint32_t streams,
                          bool online)
{
}

static const sse_broker_driver_t fake_driver = {.connect = fake_connect,
                                                .history = fake_history,
                                                .tracking = fake_tracking,
                                                .presence_user_set = fake_presence};

typedef struct fixture_t {
    sse_broker_t broker;
    sse_hub_t hub;
    unsigned answers;
    uint32_t verdict;
    uint64_t ticket;
    sse_buf_t body;
} fixture_t;

static const char session[SSE_SESSION_HASH_LEN] = "0123456789abcdef0123456789abcde";
#define SESSION ((sse_str_t){session, sizeof session})

static void start(fixture_t *f)
{
    memset(f, 0, sizeof *f);
    memset(&asked, 0, sizeof asked);
    f->broker.driver = &fake_driver;
    f->hub.broker = &f->broker;
    f->hub.conf.retry = 1000;
    f->hub.conf.presence_grace = 5;
    f->hub.revocations.memory = 60 * 1000000ull;
    assert_int_equal(uv_loop_init(&f->hub.loop), 0);
    sse_admission_init(&f->hub);
}

static void stop(fixture_t *f)
{
    assert_int_equal(f->hub.admission.tickets == NULL, true);
    assert_int_equal(atomic_load(&f->hub.streams), 0);
    sse_admission_clear(&f->hub);
    sse_polled_clear(&f->hub);
    sse_presence_clear(&f->hub.presence);
    sse_revocations_clear(&f->hub.revocations);
    uv_loop_close(&f->hub.loop);
    sse_buf_clear(&f->body);
}

static void on_reserved(void *baton, const sse_wire_reserved_t *reply)
{
    fixture_t *f = baton;
    f->answers++;
    f->verdict = reply->verdict;
    f->ticket = reply->ticket;
    f->body.n = 0;
    sse_buf_str(&f->body, reply->body);
    sse_buf_char(&f->body, '\0');
}

static void reserve(fixture_t *f, uint32_t flags, uint64_t looked_up)
{
    sse_wire_reserve_t req = {.flags = flags,
                              .realm = SSE_STR("r"),
                              .user = SSE_STR("u"),
                              .session = SESSION,
                              .looked_up = looked_up,
                              .address = SSE_STR("192.0.2.1")};
    sse_admission_reserve(&f->hub, &req, f, on_reserved, f);
}

static void answer_history(fixture_t *f)
{
    sse_channel_t channel = {SSE_CHANNEL_USER, SSE_STR("u")};
    sse_message_t *m = sse_message_create((sse_pos_t){EPOCH, 101}, SSE_STR("r"), SSE_STR("secret"),
                                          SSE_STR("1"), false, 0, 0, &channel, 1);
    sse_history_t h = {.messages = &m, .n_messages = 1, .pos = {EPOCH, 101}};
    asked.history(asked.baton, APR_SUCCESS, &h);
    sse_message_unref(m);
}

static bool has(const fixture_t *f, const char *what)
{
    return strstr(f->body.p, what) != NULL;
}

static void a_poll_is_answered(void **state)
{
    fixture_t f;
    start(&f);
    reserve(&f, SSE_RESERVE_POLLED, sse_revocations_clock());
    assert_int_equal(f.answers, 0);
    answer_history(&f);
    assert_int_equal(f.answers, 1);
    assert_int_equal(f.verdict, SSE_RESERVED_POLL);
    assert_true(has(&f, "event: secret") && has(&f, "stream-open") && !has(&f, "stream-end"));
    stop(&f);
}

/* Logged out, disconnected, deactivated while history was read: nothing is given any more. */
static void a_poll_sees_a_revocation(void **state)
{
    static const struct {
        char kind;
        sse_str_t name;
        sse_end_reason_t reason;
        const char *told;
    } cases[] = {{'s', {session, sizeof session}, SSE_END_LOGOUT, "\"logout\""},
                 {SSE_CHANNEL_USER, SSE_STR("u"), SSE_END_DISCONNECTED, "\"disconnected\""}};
    fixture_t f;
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        start(&f);
        reserve(&f, SSE_RESERVE_POLLED, sse_revocations_clock());
        sse_admission_revoked(&f.hub, cases[i].kind, SSE_STR("r"), cases[i].name, cases[i].reason);
        answer_history(&f);
        assert_int_equal(f.answers, 1);
        assert_int_equal(f.verdict, SSE_RESERVED_POLL);
        assert_true(has(&f, "stream-end") && has(&f, cases[i].told) && !has(&f, "secret"));
        assert_null(sse_presence_find(&f.hub.presence, SSE_STR("r"), SSE_STR("u")));
        stop(&f);
    }
}

/* A history of positions that the broker has lost since is no answer. */
static void a_poll_sees_a_reset(void **state)
{
    fixture_t f;
    start(&f);
    reserve(&f, SSE_RESERVE_POLLED, sse_revocations_clock());
    sse_admission_reset(&f.hub, SSE_STR("r"), (sse_pos_t){EPOCH + 1, 3});
    answer_history(&f);
    assert_int_equal(f.verdict, SSE_RESERVED_UNAVAILABLE);
    assert_true(has(&f, "\"unavailable\"") && !has(&f, "secret") && !has(&f, "id:"));
    stop(&f);
}

/* A worker that went away meanwhile, and time passing, leave a waiting one to the broker's answer;
 * others expire beside it. */
static void waiting_ones_are_left_to_the_broker(void **state)
{
    fixture_t f;
    start(&f);
    reserve(&f, SSE_RESERVE_RESUME_USER, sse_revocations_clock());
    void *waiting = asked.baton;
    reserve(&f, 0, sse_revocations_clock());
    assert_int_equal(f.verdict, SSE_RESERVED_OK);
    assert_int_equal(atomic_load(&f.hub.streams), 2);
    f.hub.loop.time += 3600 * 1000;
    sse_admission_expire(&f.hub);
    assert_int_equal(atomic_load(&f.hub.streams), 1);
    sse_admission_source_closed(&f.hub, &f);
    assert_int_equal(atomic_load(&f.hub.streams), 1);
    sse_tracking_t tracking = {.last = {EPOCH, 90}};
    asked.tracking(waiting, APR_SUCCESS, &tracking);
    assert_int_equal(f.answers, 2);
    assert_int_equal(f.verdict, SSE_RESERVED_OK);
    sse_admission_release(&f.hub, f.ticket);
    stop(&f);
}

/* A reserved stream sees a change of any of its user's groups, also where they are more than a
 * session may bring (PUT /groups makes as many as it likes). */
static void a_change_of_a_late_group_is_seen(void **state)
{
    fixture_t f;
    start(&f);
    memberships = MANY_GROUPS;
    reserve(&f, 0, sse_revocations_clock());
    memberships = 0;
    assert_int_equal(f.verdict, SSE_RESERVED_OK);
    sse_record_t *group =
        sse_record_create(SSE_CHANNEL_GROUP, SSE_STR("r"), SSE_STR("g1123"), 1, 0);
    group->subs[0].event = sse_strndup("new", 3);
    sse_admission_changed(&f.hub, group, NULL);
    sse_record_unref(group);
    const sse_attach_t *a = f.hub.admission.tickets->attach;
    assert_int_equal(a->groups[1123]->n_subs, 1);
    assert_int_equal(a->groups[1122]->n_subs, 0);
    assert_false(a->current);
    sse_admission_release(&f.hub, f.ticket);
    stop(&f);
}

/* ---- a broker that sends by interest ---- */

static struct {
    sse_connected_fn connected;
    void *baton;
    unsigned n;
    bool user_held;
} interested;

static void later_connect(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                          size_t n_groups, sse_str_t session_key, uint64_t session_expires,
                          sse_connected_fn cb, void *baton)
{
    assert_true(interested.user_held); /* or a change on its way would be missed */
    interested.connected = cb;
    interested.baton = baton;
    interested.n++;
}

static void note_interest(sse_broker_t *b, sse_str_t realm, sse_channel_t channel, bool on)
{
    if (channel.kind == SSE_CHANNEL_USER)
        interested.user_held = on;
}

static const sse_broker_driver_t interested_driver = {.connect = later_connect,
                                                      .interest = note_interest};

static void answer_connect(sse_record_t *user, sse_record_t *group)
{
    interested.connected(interested.baton, APR_SUCCESS, user, group ? &group : NULL,
                         (sse_pos_t){EPOCH, 100});
}

/* Asked again while the answer may be of before a change that was not sent here. */
static void records_are_asked_for_until_they_are_of_now(void **state)
{
    fixture_t f;
    start(&f);
    memset(&interested, 0, sizeof interested);
    f.broker.driver = &interested_driver;
    sse_record_t *plain = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("u"), 0, 0);
    sse_record_t *member = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("u"), 0, 1);
    member->memberships[0].group = sse_strndup("g", 1);
    sse_record_t *group = sse_record_create(SSE_CHANNEL_GROUP, SSE_STR("r"), SSE_STR("g"), 0, 0);

    reserve(&f, 0, sse_revocations_clock());
    assert_int_equal(interested.n, 1);
    sse_admission_changed(&f.hub, member, &group);
    answer_connect(plain, NULL); /* made before the change */
    assert_int_equal(f.answers, 0);
    assert_int_equal(interested.n, 2);
    answer_connect(member, group); /* whose changes were not sent here so far */
    assert_int_equal(f.answers, 0);
    assert_int_equal(interested.n, 3);
    answer_connect(member, group);
    assert_int_equal(f.verdict, SSE_RESERVED_OK);
    assert_int_equal(f.hub.admission.tickets->attach->record->n_memberships, 1);
    sse_admission_release(&f.hub, f.ticket);
    assert_null(f.hub.interest.entries);
    assert_false(interested.user_held);

    reserve(&f, 0, sse_revocations_clock());
    interested.connected(interested.baton, APR_EAGAIN, NULL, NULL, (sse_pos_t){0, 0});
    assert_int_equal(f.verdict, SSE_RESERVED_UNAVAILABLE);
    assert_null(f.hub.interest.entries);

    sse_record_unref(plain);
    sse_record_unref(member);
    sse_record_unref(group);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_poll_is_answered),
        cmocka_unit_test(a_poll_sees_a_revocation),
        cmocka_unit_test(a_poll_sees_a_reset),
        cmocka_unit_test(waiting_ones_are_left_to_the_broker),
        cmocka_unit_test(a_change_of_a_late_group_is_seen),
        cmocka_unit_test(records_are_asked_for_until_they_are_of_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
