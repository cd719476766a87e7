/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of a stream against the bytes that it should give. */
#include "broker/broker.h"
#include "cmocka_all.h"
#include "core/buf.h"
#include "hub/outq.h"
#include <stdlib.h>

#define EPOCH 0xabc

static sse_message_t *message(uint64_t seq, size_t n)
{
    char data[3000];
    sse_channel_t channel = {SSE_CHANNEL_EVENT, SSE_STR("e")};
    memset(data, 'a' + (int)(seq % 26), n);
    return sse_message_create((sse_pos_t){EPOCH, seq}, SSE_STR("r"), SSE_STR("e"),
                              (sse_str_t){data, n}, false, 0, 0, &channel, 1);
}

static void push(sse_outq_t **q, sse_buf_t *model, uint64_t seq, size_t n, sse_outq_kind_t kind)
{
    sse_message_t *m = message(seq, n);
    sse_outq_message(q, m, kind);
    sse_buf_str(model, m->frame);
    sse_message_unref(m);
}

static uint64_t last_seq(const sse_outq_t *q, uint64_t none)
{
    uint64_t seq;
    return sse_outq_last(q, EPOCH, &seq) ? seq : none;
}

/* Takes up to n bytes out of the queue and compares them. */
static void take(sse_outq_t **q, sse_buf_t *model, size_t *taken, size_t n, uint64_t *seq)
{
    struct iovec iov[3];
    size_t got = 0;
    size_t k = sse_outq_peek(*q, iov, 3);
    for (size_t i = 0; i < k && got < n; i++) {
        size_t part = iov[i].iov_len < n - got ? iov[i].iov_len : n - got;
        assert_memory_equal(iov[i].iov_base, model->p + *taken + got, part);
        got += part;
    }
    if (!*q)
        return;
    *taken += got;
    sse_outq_sent(q, got, EPOCH, seq);
}

static void test_bytes(void **state)
{
    sse_outq_t *q = NULL;
    sse_buf_t model = {0};
    size_t taken = 0;
    uint64_t seq = 0, last = 0;
    srand(11);
    for (uint64_t i = 1; i <= 3000; i++) {
        if (rand() % 5 == 0) {
            sse_outq_block(&q, sse_block_create(SSE_STR(":\n\n"), (sse_pos_t){0, 0}));
            sse_buf_cstr(&model, ":\n\n");
        }
        push(&q, &model, i, (size_t)(rand() % 3000), i % 2 ? SSE_OUTQ_LIVE : SSE_OUTQ_REPLAY);
        if (rand() % 3 == 0)
            take(&q, &model, &taken, (size_t)(rand() % 9000), &seq);
        assert_int_equal(sse_outq_bytes(q), model.n - taken);
        assert_true(sse_outq_live_bytes(q) <= sse_outq_bytes(q));
        assert_true(seq >= last);
        last = seq;
    }
    while (q)
        take(&q, &model, &taken, 100000, &seq);
    assert_int_equal(taken, model.n);
    assert_int_equal(seq, 3000);
    assert_int_equal(sse_outq_bytes(NULL), 0);
    sse_buf_clear(&model);
}

static void test_drop_unsent(void **state)
{
    sse_outq_t *q = NULL;
    sse_buf_t model = {0};
    size_t taken = 0;
    uint64_t seq = 0;
    for (uint64_t i = 1; i <= 5; i++)
        push(&q, &model, i, 100, SSE_OUTQ_LIVE);
    take(&q, &model, &taken, 10, &seq);
    assert_int_equal(last_seq(q, 77), 5);
    sse_outq_drop_unsent(&q, 0);
    assert_int_equal(last_seq(q, 77), 1);
    /* The rest of the first stays: its beginning is with the client. */
    take(&q, &model, &taken, 100000, &seq);
    assert_null(q);
    assert_int_equal(seq, 1);

    push(&q, &model, 6, 100, SSE_OUTQ_LIVE);
    sse_outq_drop_unsent(&q, 0);
    assert_null(q);
    assert_int_equal(last_seq(q, 77), 77);
    sse_buf_clear(&model);
}

/* What a record under way covers stays, whole messages of it, also behind a part that is out. */
static void test_drop_keeps_what_is_begun(void **state)
{
    for (size_t out = 0; out <= 10; out += 10) {
        sse_outq_t *q = NULL;
        sse_buf_t model = {0};
        size_t taken = 0;
        uint64_t seq = 0;
        for (uint64_t i = 1; i <= 5; i++)
            push(&q, &model, i, 100, SSE_OUTQ_LIVE);
        size_t each = model.n / 5;
        if (out)
            take(&q, &model, &taken, out, &seq);
        sse_outq_drop_unsent(&q, 2 * each - out + 1);
        assert_int_equal(last_seq(q, 0), 3);
        assert_int_equal(sse_outq_bytes(q), 3 * each - out);
        assert_int_equal(sse_outq_live_bytes(q), 3 * each - out);
        sse_outq_drop_unsent(&q, each - out);
        assert_int_equal(last_seq(q, 0), 1);
        take(&q, &model, &taken, 100000, &seq);
        assert_null(q);
        assert_int_equal(seq, 1);
        sse_buf_clear(&model);
    }
}

/* Positions of blocks count as told, not as moved; those of another epoch count as nothing. */
static void test_positions(void **state)
{
    sse_outq_t *q = NULL;
    sse_buf_t model = {0};
    uint64_t seq = 1;
    push(&q, &model, 5, 10, SSE_OUTQ_LIVE);
    size_t first = model.n;
    sse_outq_block(&q, sse_block_create(SSE_STR("told"), (sse_pos_t){EPOCH + 1, 3}));
    sse_outq_block(&q, sse_block_create(SSE_STR("none"), (sse_pos_t){0, 9}));
    push(&q, &model, 6, 10, SSE_OUTQ_REPLAY);
    assert_true(sse_outq_last(q, EPOCH + 1, &seq));
    assert_int_equal(seq, 3);
    assert_false(sse_outq_last(q, 0, &seq));
    assert_int_equal(last_seq(q, 0), 6);

    seq = 1;
    assert_int_equal(sse_outq_sent(&q, first, EPOCH + 1, &seq), 0);
    assert_int_equal(seq, 1);
    assert_int_equal(sse_outq_sent(&q, 3, EPOCH + 1, &seq), 0);
    assert_int_equal(sse_outq_sent(&q, 1, EPOCH + 1, &seq), SSE_OUTQ_TOLD);
    assert_int_equal(seq, 3);
    assert_int_equal(sse_outq_sent(&q, 4, 0, &seq), 0);
    assert_int_equal(seq, 3);
    assert_int_equal(sse_outq_sent(&q, model.n - first, EPOCH, &seq),
                     SSE_OUTQ_TOLD | SSE_OUTQ_MOVED);
    assert_int_equal(seq, 6);
    assert_null(q);
    sse_buf_clear(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_drop_unsent),
        cmocka_unit_test(test_drop_keeps_what_is_begun),
        cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
