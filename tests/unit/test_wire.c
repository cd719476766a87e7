/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between workers and hub: round trips, every truncation, limits, memory files,
 * descriptors. */
#include "cmocka_all.h"

#include "core/fdpass.h"
#include "core/wire.h"

#include <stdlib.h>
#include <unistd.h>

/* What an ADMIN message of empty strings but the body takes besides it: its head and nine lengths.
 */
#define HEADROOM (8 + 9 * 4)

static const sse_str_t groups[] = {SSE_STR("admin"), SSE_STR(""), SSE_STR("site admins")};
static const sse_str_t events[] = {SSE_STR("event:name"), SSE_STR("x")};
static const char session[SSE_SESSION_HASH_LEN] = "0123456789abcdef0123456789abcde";

static sse_wire_msg_t reserve_message(void)
{
    return (sse_wire_msg_t){
        .type = SSE_WIRE_RESERVE,
        .id = 0xfffffffe,
        .u.reserve = {.flags = SSE_RESERVE_GROUPS_KNOWN | SSE_RESERVE_POLLED,
                      .realm = SSE_STR("default"),
                      .user = SSE_STR("42"),
                      .session = {session, sizeof(session)},
                      .session_expires = UINT64_MAX,
                      .looked_up = 0x0102030405060708,
                      .address = SSE_STR("2001:db8::1"),
                      .last_id = SSE_STR("ab-12"),
                      .n_groups = 3,
                      .groups = groups,
                      .n_events = 2,
                      .events = events},
    };
}

static void reserve_makes_the_round_trip(void **state)
{
    sse_wire_msg_t in = reserve_message(), out;
    const sse_wire_reserve_t *r = &out.u.reserve;
    sse_buf_t b = {0};
    size_t i;

    sse_wire_encode(&b, &in);
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_SUCCESS);
    assert_int_equal(out.type, SSE_WIRE_RESERVE);
    assert_int_equal(out.id, 0xfffffffe);
    assert_int_equal(r->flags, SSE_RESERVE_GROUPS_KNOWN | SSE_RESERVE_POLLED);
    assert_str(r->realm, "default");
    assert_str(r->user, "42");
    assert_int_equal(r->session.n, SSE_SESSION_HASH_LEN);
    assert_memory_equal(r->session.p, session, SSE_SESSION_HASH_LEN);
    assert_true(r->session_expires == UINT64_MAX);
    assert_true(r->looked_up == 0x0102030405060708);
    assert_str(r->address, "2001:db8::1");
    assert_str(r->last_id, "ab-12");
    assert_int_equal(r->n_groups, 3);
    assert_int_equal(r->n_events, 2);
    for (i = 0; i < 3; i++)
        assert_true(sse_str_eq(r->groups[i], groups[i]));
    for (i = 0; i < 2; i++)
        assert_true(sse_str_eq(r->events[i], events[i]));
    sse_wire_msg_clear(&out);
    sse_buf_clear(&b);
}

static void small_messages_make_the_round_trip(void **state)
{
    const sse_wire_msg_t all[] = {
        {.type = SSE_WIRE_HELLO, .id = 1, .u.hello = {4711}},
        {.type = SSE_WIRE_RESERVED,
         .id = 2,
         .u.reserved = {SSE_RESERVED_POLL, 99, 30, SSE_STR("retry: 1\n\n")}},
        {.type = SSE_WIRE_ATTACH,
         .id = 3,
         .u.attach = {0x8000000000000001, SSE_CARRIED_PARKED, SSE_STR_NONE, SSE_STR_NONE}},
        {.type = SSE_WIRE_ATTACH,
         .id = 3,
         .u.attach = {4, SSE_CARRIED_CLEAR, SSE_STR_NONE, SSE_STR("HTTP/1.1 200 OK\r\n\r\n")}},
        {.type = SSE_WIRE_RELEASE, .id = 4, .u.release = {2}},
        {.type = SSE_WIRE_ADMIN,
         .id = 5,
         .u.admin = {.path = SSE_STR("/publish"), .body = SSE_STR("{}")}},
        {.type = SSE_WIRE_ADMIN_REPLY,
         .id = 6,
         .u.admin_reply = {.status = 503, .ticket = 7, .headers = SSE_STR("A: b\n")}},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(all); i++) {
        sse_wire_msg_t out;
        sse_buf_t once = {0}, again = {0};

        sse_wire_encode(&once, &all[i]);
        assert_int_equal(sse_wire_decode(sse_buf_slice(&once), &out), APR_SUCCESS);
        assert_int_equal(out.type, all[i].type);
        assert_int_equal(out.id, all[i].id);
        sse_wire_encode(&again, &out);
        assert_true(sse_str_eq(sse_buf_slice(&once), sse_buf_slice(&again)));
        sse_wire_msg_clear(&out);
        sse_buf_clear(&once);
        sse_buf_clear(&again);
    }
}

static void bytes_are_as_documented(void **state)
{
    const sse_wire_msg_t msg = {.type = SSE_WIRE_HELLO, .id = 0x01020304, .u.hello = {0x0a0b0c0d}};
    sse_buf_t b = {0};

    sse_wire_encode(&b, &msg);
    assert_int_equal(b.n, 12);
    assert_memory_equal(b.p, "\x04\x00\x01\x00\x04\x03\x02\x01\x0d\x0c\x0b\x0a", 12);
    sse_buf_clear(&b);
}

static const sse_tlsstate_t tls_state = {.version = SSE_TLS_1_2,
                                         .cipher = SSE_TLS_AES_128_GCM,
                                         .max_fragment = 512,
                                         .seq = 0x0102030405060708,
                                         .key = "0123456789abcdef",
                                         .iv = "abcdefghijkl"};

static void a_tls_state_travels_with_the_stream_it_seals(void **state)
{
    unsigned char packed[SSE_TLSSTATE_LEN];
    sse_wire_msg_t in = {.type = SSE_WIRE_ATTACH,
                         .u.attach = {.ticket = 5, .carriage = SSE_CARRIED_TLS}};
    sse_wire_msg_t out;
    sse_tlsstate_t read;
    sse_buf_t b = {0};

    sse_tlsstate_pack(&tls_state, packed);
    in.u.attach.tls = (sse_str_t){(const char *)packed, sizeof(packed)};
    sse_wire_encode(&b, &in);
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_SUCCESS);
    assert_int_equal(out.u.attach.carriage, SSE_CARRIED_TLS);
    assert_int_equal(sse_tlsstate_unpack(out.u.attach.tls, &read), APR_SUCCESS);
    assert_int_equal(read.version, SSE_TLS_1_2);
    assert_int_equal(read.cipher, SSE_TLS_AES_128_GCM);
    assert_int_equal(read.max_fragment, 512);
    assert_true(read.seq == 0x0102030405060708);
    assert_memory_equal(read.key, tls_state.key, sizeof(read.key));
    assert_memory_equal(read.iv, tls_state.iv, sizeof(read.iv));
    sse_wire_msg_clear(&out);
    sse_buf_clear(&b);
}

static bool attaches_with(uint32_t carriage, sse_str_t tls, sse_str_t head)
{
    const sse_wire_msg_t in = {.type = SSE_WIRE_ATTACH, .u.attach = {5, carriage, tls, head}};
    sse_wire_msg_t out;
    sse_buf_t b = {0};

    sse_wire_encode(&b, &in);
    apr_status_t rv = sse_wire_decode(sse_buf_slice(&b), &out);
    if (rv == APR_SUCCESS)
        sse_wire_msg_clear(&out);
    sse_buf_clear(&b);
    return rv == APR_SUCCESS;
}

static bool attaches(uint32_t carriage, sse_str_t tls)
{
    return attaches_with(carriage, tls, SSE_STR_NONE);
}

static void a_stream_is_sealed_only_with_a_state(void **state)
{
    static const char whole[SSE_TLSSTATE_LEN];

    assert_true(attaches(SSE_CARRIED_CLEAR, SSE_STR_NONE));
    assert_true(attaches(SSE_CARRIED_PARKED, SSE_STR_NONE));
    assert_true(attaches(SSE_CARRIED_TLS, (sse_str_t){whole, sizeof(whole)}));
    assert_false(attaches(SSE_CARRIED_TLS, SSE_STR_NONE));
    assert_false(attaches(SSE_CARRIED_TLS, (sse_str_t){whole, sizeof(whole) - 1}));
    assert_false(attaches(SSE_CARRIED_RELAY, (sse_str_t){whole, sizeof(whole)}));
    assert_false(attaches(SSE_CARRIAGES, SSE_STR_NONE));
    /* Only on the client's own socket the hub writes the head. */
    assert_true(attaches_with(SSE_CARRIED_CLEAR, SSE_STR_NONE, SSE_STR("HTTP/1.1 200 OK")));
    assert_false(attaches_with(SSE_CARRIED_RELAY, SSE_STR_NONE, SSE_STR("HTTP/1.1 200 OK")));
    assert_false(attaches_with(SSE_CARRIED_TLS, (sse_str_t){whole, sizeof(whole)},
                               SSE_STR("HTTP/1.1 200 OK")));
}

static bool unpacks(sse_tlsstate_t state)
{
    unsigned char packed[SSE_TLSSTATE_LEN];
    sse_tlsstate_t read;

    sse_tlsstate_pack(&state, packed);
    return sse_tlsstate_unpack((sse_str_t){(const char *)packed, sizeof(packed)}, &read) ==
           APR_SUCCESS;
}

static void what_is_no_tls_state_is_refused(void **state)
{
    sse_tlsstate_t s = tls_state;

    assert_true(unpacks(s));
    s.version = 0x0302;
    assert_false(unpacks(s));
    s = tls_state;
    s.cipher = 0;
    assert_false(unpacks(s));
    s.cipher = SSE_TLS_CHACHA20_POLY1305 + 1;
    assert_false(unpacks(s));
    s = tls_state;
    s.max_fragment = SSE_TLS_FRAGMENT_MIN - 1;
    assert_false(unpacks(s));
    s.max_fragment = SSE_TLS_FRAGMENT_MAX + 1;
    assert_false(unpacks(s));
    assert_int_equal(sse_tlsstate_unpack(SSE_STR("short"), &s), APR_EINVAL);
}

static void no_truncated_message_decodes(void **state)
{
    sse_wire_msg_t msg = reserve_message(), out;
    sse_buf_t b = {0};
    size_t n;

    sse_wire_encode(&b, &msg);
    for (n = 0; n < b.n; n++) {
        /* A copy of its own, so that the sanitizer sees a read behind the end. */
        char *copy = sse_strndup(b.p, n);

        copy = sse_realloc(copy, n);
        assert_int_equal(sse_wire_decode((sse_str_t){copy, n}, &out), APR_EINVAL);
        free(copy);
    }
    sse_buf_char(&b, '\0');
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_EINVAL);
    sse_buf_clear(&b);
}

static void versions_and_types_are_checked(void **state)
{
    const sse_wire_msg_t msg = {.type = SSE_WIRE_HELLO, .u.hello = {1}};
    sse_wire_msg_t out;
    sse_buf_t b = {0};

    sse_wire_encode(&b, &msg);
    b.p[0] = SSE_WIRE_VERSION + 1;
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_EINVAL);
    b.p[0] = SSE_WIRE_VERSION;
    b.p[2] = 0;
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_EINVAL);
    b.p[2] = SSE_WIRE_ADMIN_REPLY + 1;
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_EINVAL);
    b.p[2] = SSE_WIRE_HELLO;
    assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_SUCCESS);
    sse_buf_clear(&b);
}

static void limits_are_checked(void **state)
{
    static char text[SSE_FDPASS_MAX];
    static sse_str_t many[SSE_USER_GROUPS_MAX + 1];
    sse_wire_msg_t cases[8], out;
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++)
        cases[i] = reserve_message();
    cases[0].u.reserve.realm = (sse_str_t){text, SSE_REALM_MAX + 1};
    cases[1].u.reserve.user = (sse_str_t){text, SSE_USER_MAX + 1};
    cases[2].u.reserve.session = (sse_str_t){text, SSE_SESSION_HASH_LEN - 1};
    cases[3].u.reserve.session = (sse_str_t){text, SSE_SESSION_HASH_LEN + 1};
    cases[4].u.reserve.last_id = (sse_str_t){text, 256};
    cases[5].u.reserve.n_groups = SSE_USER_GROUPS_MAX + 1;
    cases[5].u.reserve.groups = many;
    cases[6].u.reserve.n_events = SSE_STREAM_EVENTS_MAX + 1;
    cases[6].u.reserve.events = many;
    many[0] = (sse_str_t){text, SSE_GROUP_MAX + 1};
    cases[7].u.reserve.n_groups = 1;
    cases[7].u.reserve.groups = many;
    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_buf_t b = {0};

        sse_wire_encode(&b, &cases[i]);
        assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_EINVAL);
        sse_buf_clear(&b);
    }
    many[0].n = SSE_GROUP_MAX;
    cases[5].u.reserve.n_groups = SSE_USER_GROUPS_MAX;
    cases[5].u.reserve.session = SSE_STR_NONE;
    {
        sse_buf_t b = {0};

        sse_wire_encode(&b, &cases[5]);
        assert_int_equal(sse_wire_decode(sse_buf_slice(&b), &out), APR_SUCCESS);
        sse_wire_msg_clear(&out);
        sse_buf_clear(&b);
    }
}

static void large_messages_travel_in_memory_files(void **state)
{
    const size_t n = 1024 * 1024;
    char *text = sse_malloc(n);
    sse_wire_msg_t msg = {.type = SSE_WIRE_ADMIN, .id = 9};
    const sse_wire_msg_t attach = {.type = SSE_WIRE_ATTACH, .u.attach.tls = {text, n}};
    sse_wire_in_t in;
    size_t before, i;
    int s[2];

    memset(text, 'b', n);
    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    before = count_open_fds();
    for (i = 0; i < 4; i++) {
        /* around the size at which the whole datagram is full */
        const size_t sizes[] = {10, SSE_FDPASS_MAX - HEADROOM, SSE_FDPASS_MAX - HEADROOM + 1, n};

        msg.u.admin.body = (sse_str_t){text, sizes[i]};
        assert_int_equal(sse_wire_send(s[0], &msg, -1, 1000), APR_SUCCESS);
        assert_int_equal(sse_wire_recv(s[1], i < 2 ? 0 : n + HEADROOM, 1000, &in), APR_SUCCESS);
        assert_int_equal(in.msg.u.admin.body.n, sizes[i]);
        assert_memory_equal(in.msg.u.admin.body.p, text, sizes[i]);
        assert_int_equal(in.fd, -1);
        assert_int_equal(in.peer_uid, getuid());
        sse_wire_in_clear(&in);
    }
    assert_int_equal(count_open_fds(), before);
    assert_int_equal(sse_wire_send(s[0], &msg, -1, 1000), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], n + HEADROOM - 1, 1000, &in), APR_EINVAL);
    assert_int_equal(sse_wire_send(s[0], &attach, s[0], 1000), APR_ENOSPC);
    assert_int_equal(count_open_fds(), before);
    free(text);
    close(s[0]);
    close(s[1]);
}

/* The most groups with the longest names, the most events: any field may be what is large. */
static void the_largest_reservation_arrives(void **state)
{
    static char text[SSE_GROUP_MAX];
    static sse_str_t names[SSE_USER_GROUPS_MAX], wanted[SSE_STREAM_EVENTS_MAX];
    sse_wire_msg_t msg = reserve_message();
    sse_wire_in_t in;
    size_t i;
    int s[2];

    memset(text, 'g', sizeof(text));
    for (i = 0; i < SSE_USER_GROUPS_MAX; i++)
        names[i] = (sse_str_t){text, SSE_GROUP_MAX - i % 7};
    for (i = 0; i < SSE_STREAM_EVENTS_MAX; i++)
        wanted[i] = (sse_str_t){text, SSE_EVENT_MAX};
    msg.u.reserve.groups = names;
    msg.u.reserve.n_groups = SSE_USER_GROUPS_MAX;
    msg.u.reserve.events = wanted;
    msg.u.reserve.n_events = SSE_STREAM_EVENTS_MAX;
    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    assert_int_equal(sse_wire_send(s[0], &msg, -1, 1000), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], SSE_WIRE_REQUEST_MAX, 1000, &in), APR_SUCCESS);
    assert_int_equal(in.msg.id, 0xfffffffe);
    assert_int_equal(in.msg.u.reserve.n_groups, SSE_USER_GROUPS_MAX);
    for (i = 0; i < SSE_USER_GROUPS_MAX; i++)
        assert_true(sse_str_eq(in.msg.u.reserve.groups[i], names[i]));
    assert_int_equal(in.msg.u.reserve.n_events, SSE_STREAM_EVENTS_MAX);
    assert_int_equal(in.msg.u.reserve.events[63].n, SSE_EVENT_MAX);
    assert_str(in.msg.u.reserve.user, "42");
    sse_wire_in_clear(&in);
    close(s[0]);
    close(s[1]);
}

static apr_status_t recv_with_file(int s[2], const sse_wire_msg_t *told,
                                   const sse_wire_msg_t *filed, size_t cut)
{
    sse_buf_t head = {0}, whole = {0};
    sse_wire_in_t in;
    apr_status_t rv;
    int fd;

    sse_wire_encode(&head, told);
    sse_wire_encode(&whole, filed);
    assert_int_equal(sse_fdpass_memfd("t", (sse_str_t){whole.p, whole.n - cut}, &fd), APR_SUCCESS);
    assert_int_equal(sse_fdpass_send(s[0], (sse_str_t){head.p, 8}, &fd, 1, 1000), APR_SUCCESS);
    close(fd);
    rv = sse_wire_recv(s[1], 1000, 1000, &in);
    if (rv == APR_SUCCESS)
        sse_wire_in_clear(&in);
    sse_buf_clear(&head);
    sse_buf_clear(&whole);
    return rv;
}

static void a_memory_file_must_hold_what_its_head_says(void **state)
{
    const sse_wire_msg_t release = {.type = SSE_WIRE_RELEASE, .id = 1, .u.release = {5}};
    const sse_wire_msg_t other = {.type = SSE_WIRE_RELEASE, .id = 2, .u.release = {5}};
    const sse_wire_msg_t attach = {.type = SSE_WIRE_ATTACH, .id = 1, .u.attach = {.ticket = 5}};
    size_t before;
    int s[2];

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    before = count_open_fds();
    assert_int_equal(recv_with_file(s, &release, &release, 0), APR_SUCCESS);
    assert_int_equal(recv_with_file(s, &release, &release, 1), APR_EINVAL);
    assert_int_equal(recv_with_file(s, &release, &release, 9), APR_EINVAL);
    assert_int_equal(recv_with_file(s, &release, &release, 16), APR_EINVAL);
    assert_int_equal(recv_with_file(s, &release, &other, 0), APR_EINVAL);
    assert_int_equal(recv_with_file(s, &release, &attach, 0), APR_EINVAL);
    assert_int_equal(recv_with_file(s, &attach, &attach, 0), APR_EINVAL);
    assert_int_equal(count_open_fds(), before);
    close(s[0]);
    close(s[1]);
}

static void descriptors_come_with_their_messages_only(void **state)
{
    const sse_wire_msg_t attach = {.type = SSE_WIRE_ATTACH, .u.attach = {.ticket = 5}};
    const sse_wire_msg_t admin = {.type = SSE_WIRE_ADMIN, .u.admin = {.body = SSE_STR("{}")}};
    const sse_wire_msg_t release = {.type = SSE_WIRE_RELEASE, .u.release = {5}};
    sse_wire_in_t in;
    size_t before;
    int s[2];

    assert_int_equal(sse_fdpass_pair(s), APR_SUCCESS);
    before = count_open_fds();
    assert_int_equal(sse_wire_send(s[0], &attach, s[0], 0), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], 0, 1000, &in), APR_SUCCESS);
    assert_true(in.fd >= 0);
    assert_int_equal(count_open_fds(), before + 1);
    sse_wire_in_clear(&in);
    assert_int_equal(count_open_fds(), before);

    assert_int_equal(sse_wire_send(s[0], &attach, -1, 0), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], 0, 1000, &in), APR_EINVAL);
    assert_int_equal(sse_wire_send(s[0], &release, s[0], 0), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], 0, 1000, &in), APR_EINVAL);
    assert_int_equal(sse_wire_send(s[0], &admin, s[0], 0), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], 100, 1000, &in), APR_EINVAL);
    assert_int_equal(sse_fdpass_send(s[0], SSE_STR("junk"), &s[0], 1, 0), APR_SUCCESS);
    assert_int_equal(sse_wire_recv(s[1], 100, 1000, &in), APR_EINVAL);
    assert_int_equal(count_open_fds(), before);
    assert_int_equal(sse_wire_recv(s[1], 100, 0, &in), APR_TIMEUP);
    close(s[0]);
    assert_int_equal(sse_wire_recv(s[1], 100, 1000, &in), APR_EOF);
    close(s[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserve_makes_the_round_trip),
        cmocka_unit_test(small_messages_make_the_round_trip),
        cmocka_unit_test(bytes_are_as_documented),
        cmocka_unit_test(a_tls_state_travels_with_the_stream_it_seals),
        cmocka_unit_test(a_stream_is_sealed_only_with_a_state),
        cmocka_unit_test(what_is_no_tls_state_is_refused),
        cmocka_unit_test(no_truncated_message_decodes),
        cmocka_unit_test(versions_and_types_are_checked),
        cmocka_unit_test(limits_are_checked),
        cmocka_unit_test(large_messages_travel_in_memory_files),
        cmocka_unit_test(the_largest_reservation_arrives),
        cmocka_unit_test(a_memory_file_must_hold_what_its_head_says),
        cmocka_unit_test(descriptors_come_with_their_messages_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
