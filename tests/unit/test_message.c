/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and records: one allocation each, shared by count. */
#include "broker/broker.h"
#include "cmocka_all.h"
#include "core/buf.h"

#include <stdlib.h>

static const sse_pos_t pos = {0xabc, 7};

static bool within(const char *p, sse_str_t s)
{
    return s.p >= p && s.p + s.n <= p + 65536;
}

static void one_line_of_data_stands_in_the_frame_only(void **state)
{
    sse_channel_t to = {SSE_CHANNEL_EVENT, SSE_STR("price")};
    sse_message_t *m = sse_message_create(pos, SSE_STR("r"), SSE_STR("price"),
                                          SSE_STR("{\"p\":1.50}"), false, 5, 6, &to, 1);
    assert_str(m->frame, "id: abc-7\nevent: price\ndata: {\"p\":1.50}\n\n");
    assert_str(m->data, "{\"p\":1.50}");
    assert_true(m->data.p >= m->frame.p && m->data.p < m->frame.p + m->frame.n);
    assert_str(m->realm, "r");
    assert_str(m->event, "price");
    assert_int_equal(m->published, 5);
    assert_int_equal(m->expires, 6);
    assert_true(within((const char *)m, m->realm) && within((const char *)m, m->frame));
    sse_message_unref(m);
}

static void several_lines_are_kept_as_given(void **state)
{
    static const struct {
        const char *data, *lines;
    } cases[] = {{"a\nb", "data: a\ndata: b\n"},
                 {"a\r\nb\r", "data: a\ndata: b\ndata: \n"},
                 {"\n", "data: \ndata: \n"},
                 {"", "data: \n"}};
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_message_t *m = sse_message_create(pos, SSE_STR("r"), SSE_STR("e"),
                                              sse_str(cases[i].data), true, 0, 0, NULL, 0);
        char frame[128];
        snprintf(frame, sizeof(frame), "id: abc-7\nevent: e\n%s\n", cases[i].lines);
        assert_str(m->frame, frame);
        assert_str(m->data, cases[i].data);
        assert_true(m->raw);
        assert_int_equal(m->n_targets, 0);
        sse_message_unref(m);
    }
}

static void targets_are_copied_in_order(void **state)
{
    char name[] = "alice";
    sse_channel_t to[] = {{SSE_CHANNEL_USER, sse_str(name)},
                          {SSE_CHANNEL_BROADCAST, SSE_STR_NONE},
                          {SSE_CHANNEL_GROUP, SSE_STR("g")}};
    sse_message_t *m =
        sse_message_create(pos, SSE_STR("r"), SSE_STR("e"), SSE_STR("1"), false, 0, 0, to, 3);
    name[0] = 'X';
    assert_int_equal(m->n_targets, 3);
    assert_int_equal(m->targets[0].kind, SSE_CHANNEL_USER);
    assert_int_equal(m->targets[0].n, 5);
    assert_memory_equal(m->targets[0].name, "alice", 5);
    assert_int_equal(m->targets[1].n, 0);
    assert_memory_equal(m->targets[2].name, "g", 1);
    sse_message_t *other = sse_message_ref(m);
    sse_message_unref(m);
    assert_memory_equal(other->targets[0].name, "alice", 5);
    sse_message_unref(other);
    sse_message_unref(NULL);
}

static void records_are_shared_by_count(void **state)
{
    sse_record_t *r = sse_record_create(SSE_CHANNEL_USER, SSE_STR("r"), SSE_STR("1"), 2, 1);
    r->subs[0].event = sse_strndup("a", 1);
    r->subs[1].event = sse_strndup("b", 1);
    r->memberships[0].group = sse_strndup("g", 1);
    assert_string_equal(r->realm, "r");
    assert_string_equal(r->name, "1");
    sse_record_t *other = sse_record_ref(r);
    sse_record_unref(r);
    assert_string_equal(other->memberships[0].group, "g");
    sse_record_unref(other);
    sse_record_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_of_data_stands_in_the_frame_only),
        cmocka_unit_test(several_lines_are_kept_as_given),
        cmocka_unit_test(targets_are_copied_in_order),
        cmocka_unit_test(records_are_shared_by_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
