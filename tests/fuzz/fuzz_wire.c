/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams between workers and hub: what decodes encodes to the same bytes again, and its strings
 * lie inside them. */
#include "fuzz.h"

#include "core/wire.h"

const char sse_fuzz_name[] = "wire";

static void check_inside(sse_str_t whole, sse_str_t s)
{
    if (s.n)
        CHECK(s.p >= whole.p && s.p + s.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sse_str_t datagram = {(const char *)data, size};
    sse_wire_msg_t msg;
    sse_buf_t out = {0};

    if (sse_wire_decode(datagram, &msg) != APR_SUCCESS)
        return 0;
    if (msg.type == SSE_WIRE_RESERVE) {
        const sse_wire_reserve_t *r = &msg.u.reserve;
        uint32_t i;

        CHECK(r->n_groups <= SSE_USER_GROUPS_MAX && r->n_events <= SSE_STREAM_EVENTS_MAX);
        CHECK(r->session.n == 0 || r->session.n == SSE_SESSION_HASH_LEN);
        check_inside(datagram, r->realm);
        check_inside(datagram, r->user);
        for (i = 0; i < r->n_groups; i++)
            check_inside(datagram, r->groups[i]);
        for (i = 0; i < r->n_events; i++)
            check_inside(datagram, r->events[i]);
    } else if (msg.type == SSE_WIRE_ADMIN) {
        check_inside(datagram, msg.u.admin.path);
        check_inside(datagram, msg.u.admin.body);
    } else if (msg.type == SSE_WIRE_ADMIN_REPLY) {
        check_inside(datagram, msg.u.admin_reply.headers);
        check_inside(datagram, msg.u.admin_reply.body);
    }
    sse_wire_encode(&out, &msg);
    CHECK(sse_str_eq(sse_buf_slice(&out), datagram));
    sse_buf_clear(&out);
    sse_wire_msg_clear(&msg);
    return 0;
}
