/* SPDX-License-Identifier: Apache-2.0 */
/* The contract: several hubs on one broker. Presence as a whole, leases, what one hub does to the
 * streams of the others. Each hub has a loop of its own here; one whose loop does not turn stands
 * still, which for the others is as if it were dead. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HUBS 2
#define SOON_MS 2000 /* changes are known everywhere within half of it; the machine may be busy */

static unsigned lease_ms;

/* Two hubs, and the realm that a test is in. */
typedef struct hubs_t {
    rig_t *hub[HUBS];
    char name[64];
} hubs_t;

static hubs_t start(void)
{
    hubs_t h = {0};
    sse_str_t name = rig_realm();
    memcpy(h.name, name.p, name.n);
    for (size_t i = 0; i < HUBS; i++) {
        h.hub[i] = rig_start();
        h.hub[i]->others = true;
    }
    return h;
}

static void stop(hubs_t *h)
{
    for (size_t i = 0; i < HUBS; i++)
        if (h->hub[i])
            rig_stop(h->hub[i]);
}

static sse_str_t realm_of(const hubs_t *h)
{
    return sse_str(h->name);
}

static void turn(hubs_t *h, unsigned ms)
{
    for (size_t i = 0; i < HUBS; i++)
        if (h->hub[i])
            rig_run_ms(h->hub[i], ms);
}

static unsigned ms_since(uint64_t begun)
{
    return (unsigned)((uv_hrtime() - begun) / 1000000);
}

/* ---- calls ---- */

static void set(const hubs_t *h, size_t hub, const char *user, uint32_t streams, bool online)
{
    sse_broker_t *b = h->hub[hub]->broker;
    b->driver->presence_user_set(b, realm_of(h), sse_str(user), streams, online);
}

static void on_user(void *baton, apr_status_t status, bool online, uint64_t streams, int64_t since)
{
    rig_t *r = baton;
    assert_int_equal(status, APR_SUCCESS);
    r->answered = true;
    r->presence.online = online;
    r->presence.streams = streams;
    r->presence.since = since;
}

static void ask_user(const hubs_t *h, size_t hub, const char *user)
{
    rig_t *r = h->hub[hub];
    r->answered = false;
    r->broker->driver->presence_user(r->broker, realm_of(h), sse_str(user), on_user, r);
    assert_false(r->answered);
    rig_wait(r, &r->answered);
}

static void on_counts(void *baton, apr_status_t status, uint64_t streams, uint64_t users,
                      uint64_t hubs)
{
    rig_t *r = baton;
    assert_int_equal(status, APR_SUCCESS);
    r->answered = true;
    r->presence.streams = streams;
    r->presence.users = users;
    r->presence.hubs = hubs;
}

static void ask_counts(const hubs_t *h, size_t hub)
{
    rig_t *r = h->hub[hub];
    r->answered = false;
    r->broker->driver->presence_counts(r->broker, realm_of(h), on_counts, r);
    rig_wait(r, &r->answered);
}

static void on_page(void *baton, apr_status_t status, const sse_str_t *users, size_t n, bool more)
{
    rig_t *r = baton;
    assert_int_equal(status, APR_SUCCESS);
    r->answered = true;
    r->more = more;
    r->presence.page[0] = '\0';
    for (size_t i = 0; i < n; i++)
        snprintf(r->presence.page + strlen(r->presence.page),
                 sizeof r->presence.page - strlen(r->presence.page), "%.*s ", (int)users[i].n,
                 users[i].p);
}

static const char *ask_page(const hubs_t *h, size_t hub, const char *group, const char *after,
                            size_t limit)
{
    rig_t *r = h->hub[hub];
    r->answered = false;
    r->broker->driver->presence_page(r->broker, realm_of(h), sse_str(group), sse_str(after), limit,
                                     on_page, r);
    rig_wait(r, &r->answered);
    return r->presence.page;
}

/* Every hub that turns says so, within the time; how long it took. */
static unsigned wait_user(hubs_t *h, const char *user, bool online, uint64_t streams,
                          unsigned within_ms)
{
    uint64_t begun = uv_hrtime();
    size_t agree;
    do {
        agree = 0;
        turn(h, 5);
        for (size_t i = 0; i < HUBS; i++) {
            if (h->hub[i])
                ask_user(h, i, user);
            agree += !h->hub[i] || (h->hub[i]->presence.online == online &&
                                    h->hub[i]->presence.streams == streams);
        }
        if (ms_since(begun) > within_ms)
            fail_msg("%s is not %s with %d streams everywhere within %u ms", user,
                     online ? "online" : "offline", (int)streams, within_ms);
    } while (agree < HUBS);
    return ms_since(begun);
}

static size_t told(const rig_t *r, const char *user, bool online)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_presences; i++)
        n += r->presences[i].online == online && strcmp(r->presences[i].user, user) == 0;
    return n;
}

static void wait_told(hubs_t *h, const char *user, bool online, size_t n, unsigned within_ms)
{
    uint64_t begun = uv_hrtime();
    for (size_t i = 0; i < HUBS; i++)
        while (h->hub[i] && told(h->hub[i], user, online) < n) {
            turn(h, 5);
            if (ms_since(begun) > within_ms)
                fail_msg("hub %zu is not told within %u ms", i, within_ms);
        }
}

/* ---- presence ---- */

static void a_user_is_online_as_a_whole(void **state)
{
    hubs_t h = start();
    int64_t now = (int64_t)time(NULL);
    set(&h, 0, "1", 2, true);
    wait_user(&h, "1", true, 2, SOON_MS);
    assert_in_range(h.hub[1]->presence.since, now - 1, now + 2);
    set(&h, 1, "1", 1, true);
    wait_user(&h, "1", true, 3, SOON_MS);
    /* In its grace a user has no streams. */
    set(&h, 0, "1", 0, true);
    set(&h, 1, "1", 0, true);
    wait_user(&h, "1", true, 0, SOON_MS);
    set(&h, 0, "1", 0, false);
    turn(&h, 100);
    wait_user(&h, "1", true, 0, SOON_MS);
    set(&h, 1, "1", 0, false);
    wait_user(&h, "1", false, 0, SOON_MS);
    assert_int_equal(h.hub[0]->presence.since, 0);
    /* Told once for all hubs, to each. */
    wait_told(&h, "1", false, 1, SOON_MS);
    for (size_t i = 0; i < HUBS; i++) {
        assert_int_equal(told(h.hub[i], "1", true), 1);
        assert_int_equal(h.hub[i]->n_presences, 2);
    }
    stop(&h);
}

static void all_hubs_are_counted(void **state)
{
    hubs_t h = start();
    sse_broker_t *a = h.hub[0]->broker, *b = h.hub[1]->broker;
    a->driver->presence_streams_set(a, realm_of(&h), 5);
    b->driver->presence_streams_set(b, realm_of(&h), 3);
    set(&h, 0, "1", 1, true);
    set(&h, 1, "1", 1, true);
    set(&h, 1, "2", 1, true);
    uint64_t begun = uv_hrtime();
    do {
        assert_true(ms_since(begun) < SOON_MS);
        turn(&h, 5);
        ask_counts(&h, 0);
    } while (h.hub[0]->presence.streams != 8 || h.hub[0]->presence.users != 2);
    assert_int_equal(h.hub[0]->presence.hubs, 2);
    stop(&h);
}

static void online_users_come_in_pages(void **state)
{
    hubs_t h = start();
    const char *crew[] = {"cem", "dan", "eva"};
    assert_int_equal(rig_members_change(h.hub[0], realm_of(&h), "crew", true, crew, 3, NULL, 0),
                     APR_SUCCESS);
    static const char *const users[] = {"eva", "bob", "ann", "cem"};
    for (size_t i = 0; i < 4; i++)
        set(&h, i % HUBS, users[i], 1, true);
    for (size_t i = 0; i < 4; i++)
        wait_user(&h, users[i], true, 1, SOON_MS);
    for (size_t i = 0; i < HUBS; i++) {
        assert_string_equal(ask_page(&h, i, "", "", 10), "ann bob cem eva ");
        assert_false(h.hub[i]->more);
        assert_string_equal(ask_page(&h, i, "", "", 2), "ann bob ");
        assert_true(h.hub[i]->more);
        assert_string_equal(ask_page(&h, i, "", "bob", 2), "cem eva ");
        assert_false(h.hub[i]->more);
        assert_string_equal(ask_page(&h, i, "crew", "", 10), "cem eva ");
        assert_string_equal(ask_page(&h, i, "crew", "cem", 10), "eva ");
        assert_string_equal(ask_page(&h, i, "nobody", "", 10), "");
    }
    stop(&h);
}

static void a_hub_that_stops_takes_its_users_along(void **state)
{
    hubs_t h = start();
    set(&h, 0, "1", 1, true);
    set(&h, 1, "1", 1, true);
    set(&h, 1, "2", 1, true);
    wait_user(&h, "1", true, 2, SOON_MS);
    wait_user(&h, "2", true, 1, SOON_MS);
    rig_stop(h.hub[1]);
    h.hub[1] = NULL;
    wait_user(&h, "2", false, 0, SOON_MS);
    wait_user(&h, "1", true, 1, SOON_MS);
    wait_told(&h, "2", false, 1, SOON_MS);
    assert_int_equal(told(h.hub[0], "1", false), 0);
    stop(&h);
}

/* Also when nobody asks: the other hub renews its own share and notices. */
static void a_dead_hubs_share_runs_out(void **state)
{
    hubs_t h = start();
    set(&h, 0, "here", 1, true);
    set(&h, 1, "there", 1, true);
    wait_told(&h, "there", true, 1, SOON_MS);
    rig_t *dead = h.hub[1];
    h.hub[1] = NULL;
    uint64_t begun = uv_hrtime();
    wait_told(&h, "there", false, 1, 2 * lease_ms + SOON_MS);
    assert_true(ms_since(begun) > lease_ms / 2); /* not before its lease is over */
    wait_user(&h, "there", false, 0, SOON_MS);
    wait_user(&h, "here", true, 1, SOON_MS);
    ask_counts(&h, 0);
    assert_int_equal(h.hub[0]->presence.users, 1);
    assert_int_equal(h.hub[0]->presence.hubs, 1);
    /* It only stood still: its users are back with it. */
    h.hub[1] = dead;
    wait_user(&h, "there", true, 1, 2 * lease_ms + SOON_MS);
    stop(&h);
}

static void a_living_hubs_share_does_not_run_out(void **state)
{
    hubs_t h = start();
    set(&h, 0, "1", 1, true);
    set(&h, 1, "2", 1, true);
    wait_told(&h, "2", true, 1, SOON_MS);
    for (uint64_t begun = uv_hrtime(); ms_since(begun) < 2 * lease_ms;)
        turn(&h, 20);
    wait_user(&h, "1", true, 1, SOON_MS);
    wait_user(&h, "2", true, 1, SOON_MS);
    assert_int_equal(told(h.hub[0], "1", false) + told(h.hub[0], "2", false), 0);
    stop(&h);
}

/* ---- what one hub does to the others ---- */

static void wait_disconnect(hubs_t *h, unsigned n)
{
    uint64_t begun = uv_hrtime();
    while (h->hub[1]->disconnects < n) {
        turn(h, 5);
        if (ms_since(begun) > SOON_MS)
            fail_msg("not told within %d ms", SOON_MS);
    }
}

/* Also in a realm that the other hub has no stream of: one may be about to open. */
static void a_disconnect_is_told_to_the_other_hubs(void **state)
{
    static const char session[SSE_SESSION_HASH_LEN] = "32 bytes of which one is zero:\0!";
    const struct {
        char kind;
        sse_str_t name;
    } what[] = {{'u', SSE_STR("1")}, {'g', SSE_STR("crew")}, {'s', {session, sizeof session}}};
    hubs_t h = start();
    uint64_t now = (uint64_t)time(NULL);
    for (unsigned i = 0; i < 3; i++) {
        rig_t *b = h.hub[1];
        assert_int_equal(rig_disconnect(h.hub[0], realm_of(&h), what[i].kind, what[i].name, 0),
                         APR_SUCCESS);
        wait_disconnect(&h, i + 1);
        assert_int_equal(b->disconnect_kind, what[i].kind);
        assert_string_equal(b->disconnect_realm, h.name);
        assert_int_equal(b->disconnect_name_n, what[i].name.n);
        assert_memory_equal(b->disconnect_name, what[i].name.p, what[i].name.n);
        assert_int_equal(b->disconnect_reason, 0);
        assert_in_range(b->disconnect_at, now - 1, now + 5);
    }
    turn(&h, 50);
    assert_int_equal(h.hub[0]->disconnects, 0);
    assert_int_equal(h.hub[1]->disconnects, 3);
    stop(&h);
}

static void records_change_on_every_hub(void **state)
{
    hubs_t h = start();
    rig_t *a = h.hub[0], *b = h.hub[1];
    sse_channel_t user = USER("1"), group = GROUP("crew"), event = EVENT("e");
    const char *members[] = {"1"};
    uint64_t until = (uint64_t)time(NULL) + 600;
    rig_interest(b, realm_of(&h), user, true);
    rig_interest(b, realm_of(&h), group, true);
    rig_interest(b, realm_of(&h), event, true);
    assert_int_equal(rig_connect(b, realm_of(&h), "1", NULL, 0), APR_SUCCESS);
    for (size_t i = 1; i <= 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "e%zu", i);
        assert_int_equal(rig_subscribe(a, realm_of(&h), user, name, NO_SESSION), APR_SUCCESS);
        rig_send(a, realm_of(&h), event, "1");
    }
    rig_wait_messages(b, 20);
    assert_int_equal(b->n_changes, 20);
    for (size_t i = 0; i < 20; i++) /* each in its place among the messages */
        assert_int_equal(b->change_at[i], i);
    assert_int_equal(rig_members_change(a, realm_of(&h), "crew", true, members, 1, NULL, 0),
                     APR_SUCCESS);
    assert_int_equal(rig_subscribe(a, realm_of(&h), group, "rota", NO_SESSION), APR_SUCCESS);
    assert_int_equal(rig_disconnect(a, realm_of(&h), 'u', SSE_STR("1"), until), APR_SUCCESS);
    wait_disconnect(&h, 1);
    /* The answer reflects all that; its changes have been told before. */
    assert_int_equal(rig_connect(b, realm_of(&h), "1", NULL, 0), APR_SUCCESS);
    assert_true(rig_member(b->record, "crew", NULL));
    assert_true(rig_subscribed(b->groups[0], "rota", NO_SESSION, NULL));
    assert_true(rig_subscribed(rig_last_change(b, group), "rota", NO_SESSION, NULL));
    assert_true(rig_last_change(b, user)->blocked_until == until);
    stop(&h);
}

static void sessions_are_known_to_every_hub(void **state)
{
    static const char bytes[SSE_SESSION_HASH_LEN] = "a session of which all hubs know";
    sse_str_t session = {bytes, sizeof bytes};
    hubs_t h = start();
    uint64_t later = (uint64_t)time(NULL) + 1000;
    assert_int_equal(rig_session_put(h.hub[0], realm_of(&h), session, "1", later), APR_SUCCESS);
    assert_int_equal(rig_session_get(h.hub[1], realm_of(&h), session), APR_SUCCESS);
    assert_string_equal(h.hub[1]->session_user, "1");
    assert_int_equal(rig_disconnect(h.hub[1], realm_of(&h), 's', session, 0), APR_SUCCESS);
    assert_int_equal(rig_session_get(h.hub[0], realm_of(&h), session), APR_NOTFOUND);
    stop(&h);
}

int contract_hubs_tests(unsigned lease)
{
    const struct CMUnitTest tests[] = {
        contract_test(a_user_is_online_as_a_whole),
        contract_test(all_hubs_are_counted),
        contract_test(online_users_come_in_pages),
        contract_test(a_hub_that_stops_takes_its_users_along),
        contract_test(a_dead_hubs_share_runs_out),
        contract_test(a_living_hubs_share_does_not_run_out),
        contract_test(a_disconnect_is_told_to_the_other_hubs),
        contract_test(records_change_on_every_hub),
        contract_test(sessions_are_known_to_every_hub),
    };
    lease_ms = lease;
    return cmocka_run_group_tests_name("contract: hubs", tests, NULL, NULL);
}
