/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a stream: events, position, resume; what is refused and with which sentence. */
#include "cmocka_all.h"

#include "httpd/streamquery.h"

#include <apr_strings.h>

static apr_pool_t *pool;

static int set_up(void **state)
{
    apr_initialize();
    return apr_pool_create(&pool, NULL);
}

static int tear_down(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

static sse_streamquery_t parse(const char *args)
{
    sse_streamquery_t query;
    const char *problem = NULL;
    assert_int_equal(sse_streamquery_parse(args, pool, &query, &problem), APR_SUCCESS);
    assert_null(problem);
    return query;
}

static const char *refused(const char *args)
{
    sse_streamquery_t query;
    const char *problem = NULL;
    assert_int_equal(sse_streamquery_parse(args, pool, &query, &problem), APR_EINVAL);
    assert_non_null(problem);
    return problem;
}

static void no_query_asks_for_nothing(void **state)
{
    const char *const cases[] = {NULL,           "",        "&&&",     "=", "x=1&y",
                                 "_=1700000000", "Event=a", "event2=a"};
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_streamquery_t query = parse(cases[i]);
        assert_int_equal(query.n_events, 0);
        assert_int_equal(query.last_id.n, 0);
        assert_false(query.resume_user);
    }
}

static void events_are_unescaped_and_kept_once(void **state)
{
    sse_streamquery_t query =
        parse("event=news%3Aa&event=news:b&x=%zz&event=news:a&%65vent=caf%C3%A9");
    assert_int_equal(query.n_events, 3);
    assert_str(query.events[0], "news:a");
    assert_str(query.events[1], "news:b");
    assert_str(query.events[2], "caf\xC3\xA9");
}

static void bad_events_are_refused(void **state)
{
    const char *const cases[] = {
        "event=",
        "event",
        "event=a+b",
        "event=a%20b",
        "event=a%00b",
        "event=a%0Ab",
        "event=%ff",
        "event=open",
        "event=error",
        "event=stream-end",
        "event=a*",
        "event=%C2%85",
        "event=ok&event=stream-x",
    };
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++)
        refused(cases[i]);
}

static void broken_escapes_are_refused(void **state)
{
    const char *const cases[] = {"event=%", "event=%4", "event=%4g", "event=%g4",
                                 "lastEventId=%x1"};
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++)
        assert_string_equal(refused(cases[i]), "The query has a broken percent escape.");
}

static void the_number_of_events_is_bounded(void **state)
{
    char *args = apr_pstrdup(pool, "x=1");
    for (int i = 0; i < SSE_STREAM_EVENTS_MAX; i++)
        args = apr_psprintf(pool, "%s&event=e%d", args, i);
    assert_int_equal(parse(args).n_events, SSE_STREAM_EVENTS_MAX);
    assert_int_equal(parse(apr_pstrcat(pool, args, "&event=e0", NULL)).n_events,
                     SSE_STREAM_EVENTS_MAX);
    assert_string_equal(refused(apr_pstrcat(pool, args, "&event=more", NULL)),
                        "A stream may name at most 64 events.");
}

static void both_names_of_the_position_are_taken(void **state)
{
    assert_str(parse("lastEventId=abc-1").last_id, "abc-1");
    assert_str(parse("last_event_id=abc-2.end").last_id, "abc-2.end");
    assert_str(parse("lastEventId=abc-1&last_event_id=").last_id, "abc-1");
    assert_str(parse("lastEventId=abc-1&last_event_id=abc-2").last_id, "abc-2");
    assert_int_equal(parse("lastEventId=a%00b").last_id.n, 3);
}

static void a_long_position_is_cut(void **state)
{
    char text[400] = "lastEventId=";
    memset(text + 12, 'a', 300);
    assert_int_equal(parse(text).last_id.n, SSE_LAST_ID_MAX);
}

static void resume_is_user_or_nothing(void **state)
{
    assert_true(parse("resume=user").resume_user);
    assert_true(parse("resume=u%73er").resume_user);
    refused("resume=me");
    refused("resume=");
    refused("resume");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_query_asks_for_nothing),
        cmocka_unit_test(events_are_unescaped_and_kept_once),
        cmocka_unit_test(bad_events_are_refused),
        cmocka_unit_test(broken_escapes_are_refused),
        cmocka_unit_test(the_number_of_events_is_bounded),
        cmocka_unit_test(both_names_of_the_position_are_taken),
        cmocka_unit_test(a_long_position_is_cut),
        cmocka_unit_test(resume_is_user_or_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
