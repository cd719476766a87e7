/* SPDX-License-Identifier: Apache-2.0 */
/* The table of names: finds what is in it and nothing else, while it grows and shrinks. */
#include "cmocka_all.h"

#include "core/buf.h"
#include "hub/nametable.h"
#include <stdio.h>
#include <stdlib.h>

enum { MANY = 5000 };

typedef struct thing_t {
    int number;
    sse_namelink_t link;
    char name[16];
} thing_t;

static thing_t things[MANY];

static thing_t *find(const sse_nametable_t *t, const char *name)
{
    sse_namelink_t *link = sse_nametable_find(t, sse_str(name));
    return link ? (thing_t *)((char *)link - offsetof(thing_t, link)) : NULL;
}

static size_t visited(const sse_nametable_t *t)
{
    size_t n = 0;
    for (const sse_namelink_t *l = NULL; (l = sse_nametable_next(t, l));)
        n++;
    return n;
}

static void init(sse_nametable_t *t)
{
    sse_nametable_init(t, offsetof(thing_t, name) - offsetof(thing_t, link));
}

static void finds_all_and_nothing_else(void **state)
{
    sse_nametable_t t;
    init(&t);
    assert_null(find(&t, "n1"));
    assert_null(sse_nametable_next(&t, NULL));
    for (int i = 0; i < MANY; i++) {
        things[i].number = i;
        snprintf(things[i].name, sizeof things[i].name, "n%d", i);
        sse_nametable_add(&t, &things[i].link, strlen(things[i].name));
    }
    assert_int_equal(visited(&t), MANY);
    for (int i = 0; i < MANY; i += 2)
        sse_nametable_remove(&t, &things[i].link);
    assert_int_equal(visited(&t), MANY / 2);
    for (int i = 0; i < MANY; i++) {
        thing_t *found = find(&t, things[i].name);
        if (i % 2)
            assert_ptr_equal(found, &things[i]);
        else
            assert_null(found);
    }
    assert_null(find(&t, "n"));
    for (int i = 1; i < MANY; i += 2)
        sse_nametable_remove(&t, &things[i].link);
    assert_null(t.buckets);
    assert_int_equal(visited(&t), 0);
}

static void names_are_bytes(void **state)
{
    sse_nametable_t t;
    thing_t empty = {.number = 1}, zero = {.number = 2, .name = "a\0b"};
    init(&t);
    sse_nametable_add(&t, &empty.link, 0);
    sse_nametable_add(&t, &zero.link, 3);
    assert_ptr_equal(sse_nametable_find(&t, SSE_STR_NONE), &empty.link);
    assert_ptr_equal(sse_nametable_find(&t, (sse_str_t){"a\0b", 3}), &zero.link);
    assert_null(sse_nametable_find(&t, (sse_str_t){"a", 1}));
    assert_null(sse_nametable_find(&t, (sse_str_t){"a\0c", 3}));
    sse_nametable_remove(&t, &empty.link);
    sse_nametable_remove(&t, &zero.link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_all_and_nothing_else),
        cmocka_unit_test(names_are_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
