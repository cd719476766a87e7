/* SPDX-License-Identifier: Apache-2.0 */
/* The timing wheel against a plain list of due times. */
#include "cmocka_all.h"
#include "hub/wheel.h"
#include <stdlib.h>

#define NODES 400

typedef struct entry_t {
    sse_wheel_node_t node;
    uint32_t due; /* 0 = not set */
    unsigned fired;
} entry_t;

typedef struct world_t {
    sse_wheel_t wheel;
    entry_t entries[NODES];
} world_t;

/* Fires early at the rim only, and then is set again, as a stream does. */
static void on_due(void *baton, sse_wheel_node_t *node)
{
    world_t *w = baton;
    entry_t *e = (entry_t *)node;
    if (e->due > w->wheel.now) {
        assert_true(e->due - w->wheel.now >= 1);
        sse_wheel_set(&w->wheel, node, e->due);
        return;
    }
    assert_int_equal(e->due, w->wheel.now);
    e->fired++;
    e->due = 0;
}

static void test_against_list(void **state)
{
    world_t *w = calloc(1, sizeof *w);
    srand(7);
    sse_wheel_init(&w->wheel, 1000);
    for (uint32_t now = 1000; now < 3000; now++) {
        for (int i = 0; i < 20; i++) {
            entry_t *e = &w->entries[rand() % NODES];
            if (rand() % 4) {
                e->due = now + 1 + (uint32_t)(rand() % (rand() % 3 ? 20 : 700));
                sse_wheel_set(&w->wheel, &e->node, e->due);
            } else {
                e->due = 0;
                sse_wheel_remove(&e->node);
            }
        }
        sse_wheel_turn(&w->wheel, now + 1, on_due, w);
        for (int i = 0; i < NODES; i++)
            assert_true(!w->entries[i].due || w->entries[i].due > now + 1);
    }
    unsigned fired = 0;
    for (int i = 0; i < NODES; i++)
        fired += w->entries[i].fired;
    assert_true(fired > 1000);
    free(w);
}

static void count(void *baton, sse_wheel_node_t *node)
{
    ++*(unsigned *)baton;
}

static void test_long_sleep(void **state)
{
    sse_wheel_t wheel;
    sse_wheel_node_t a = {0}, b = {0};
    unsigned fired = 0;
    sse_wheel_init(&wheel, 5);
    sse_wheel_set(&wheel, &a, 6);
    sse_wheel_set(&wheel, &b, 200);
    sse_wheel_turn(&wheel, 1000000, count, &fired);
    assert_int_equal(fired, 2);
    assert_int_equal(wheel.now, 1000000);
}

static void test_past(void **state)
{
    sse_wheel_t wheel;
    sse_wheel_node_t a = {0};
    unsigned fired = 0;
    sse_wheel_init(&wheel, 5);
    sse_wheel_set(&wheel, &a, 1);
    sse_wheel_remove(&a);
    sse_wheel_remove(&a);
    sse_wheel_set(&wheel, &a, 5);
    sse_wheel_turn(&wheel, 6, count, &fired);
    assert_int_equal(fired, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_list),
        cmocka_unit_test(test_long_sleep),
        cmocka_unit_test(test_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
