/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones against the C library's own reading of the same database (in this single thread TZ may
 * be set), and texts of times. */
#include "cmocka_all.h"

#include "session/zone.h"

#include <apr_general.h>
#include <stdlib.h>
#include <time.h>

static apr_pool_t *pool;

static void offsets_as_the_system(void **state)
{
    static const char *const names[] = {
        "UTC",           "America/Chicago",   "Europe/London",       "Europe/Berlin",
        "Asia/Kolkata",  "Asia/Kathmandu",    "Australia/Lord_Howe", "America/St_Johns",
        "Africa/Cairo",  "Africa/Casablanca", "Pacific/Apia",        "America/Sao_Paulo",
        "Europe/Dublin", "America/Nuuk",      "Asia/Tehran",         "Etc/GMT+12",
        "Asia/Gaza",     "Pacific/Chatham",   "Antarctica/Troll",    "Europe/Moscow",
    };

    for (size_t i = 0; i < SSE_ARRAY_LEN(names); i++) {
        const sse_zone_t *zone;

        assert_int_equal(sse_zone_load(names[i], pool, &zone), APR_SUCCESS);
        setenv("TZ", names[i], 1);
        tzset();
        /* 1930 to 2200 in steps that meet every hour of the day and every time of the year */
        for (int64_t t = -1262304000; t < 7258118400; t += 40 * 3600 + 1799) {
            time_t tt = (time_t)t;
            struct tm tm;

            localtime_r(&tt, &tm);
            if (sse_zone_offset(zone, t) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, the system says %ld", names[i], (long long)t,
                         sse_zone_offset(zone, t), tm.tm_gmtoff);
        }
    }
    unsetenv("TZ");
    tzset();
}

static int64_t civil(int month, int day, int hour, int minute)
{
    return sse_civil_seconds(2025, month, day, hour, minute, 0);
}

static void local_to_unix(void **state)
{
    const sse_zone_t *zone;

    assert_int_equal(sse_zone_load("America/Chicago", pool, &zone), APR_SUCCESS);
    assert_int_equal(sse_zone_to_unix(zone, civil(6, 29, 10, 6)), civil(6, 29, 15, 6));
    assert_int_equal(sse_zone_to_unix(zone, civil(1, 1, 0, 0)), civil(1, 1, 6, 0));
    /* clocks go from 02:00 to 03:00 on 9 March: 02:30 is read with the offset before */
    assert_int_equal(sse_zone_to_unix(zone, civil(3, 9, 1, 59)), civil(3, 9, 7, 59));
    assert_int_equal(sse_zone_to_unix(zone, civil(3, 9, 2, 30)), civil(3, 9, 8, 30));
    assert_int_equal(sse_zone_to_unix(zone, civil(3, 9, 3, 0)), civil(3, 9, 8, 0));
    /* and from 02:00 back to 01:00 on 2 November: 01:30 is the first of two */
    assert_int_equal(sse_zone_to_unix(zone, civil(11, 2, 1, 30)), civil(11, 2, 6, 30));
    assert_int_equal(sse_zone_to_unix(zone, civil(11, 2, 2, 0)), civil(11, 2, 8, 0));
    assert_int_equal(sse_zone_to_unix(NULL, 12345), 12345);
}

static void bad_zones(void **state)
{
    static const char *const names[] = {"",    "/etc/passwd", "../../etc/passwd", "Europe/../UTC",
                                        "a b", "UTC\n"};
    const sse_zone_t *zone = NULL;

    for (size_t i = 0; i < SSE_ARRAY_LEN(names); i++)
        assert_int_equal(sse_zone_load(names[i], pool, &zone), APR_EINVAL);
    assert_int_equal(sse_zone_load("Europe/Atlantis", pool, &zone), APR_ENOENT);
    assert_int_equal(sse_zone_load("America", pool, &zone), APR_EGENERAL); /* a directory */
    assert_int_equal(sse_zone_read(SSE_STR(""), pool, &zone), APR_EGENERAL);
    assert_int_equal(sse_zone_read(SSE_STR("TZif2"), pool, &zone), APR_EGENERAL);
    assert_null(zone);
}

static void texts_of_times(void **state)
{
    static const struct {
        const char *text;
        int64_t micros; /* of UNIX time, INT64_MIN: refused */
        bool has_offset;
        int offset;
    } cases[] = {
        {"1970-01-01 00:00:00", 0, false, 0},
        {"2025-06-15 15:06:40", 1750000000000000, false, 0},
        {"2025-06-15T15:06:40", 1750000000000000, false, 0},
        {"2025-06-15 15:06:40.123456", 1750000000123456, false, 0},
        {"2025-06-15 15:06:40.5", 1750000000500000, false, 0},
        {"2025-06-15 15:06:40.1234567", 1750000000123456, false, 0},
        {"2025-06-15 15:06:40+00:00", 1750000000000000, true, 0},
        {"2025-06-15 15:06:40Z", 1750000000000000, true, 0},
        {"2025-06-15T15:06:40.25-05:30", 1750000000250000, true, -19800},
        {"2025-06-15T15:06:40+02", 1750000000000000, true, 7200},
        {"2025-06-15T15:06:40+0200", 1750000000000000, true, 7200},
        {"2025-06-15T15:06:40+00:00:30", 1750000000000000, true, 30},
        {"2024-02-29 00:00:00", 1709164800000000, false, 0},
        {"1969-12-31 23:59:59", -1000000, false, 0},
        {"9999-12-31 23:59:59", 253402300799000000, false, 0},
        {"2025-02-29 00:00:00", INT64_MIN, false, 0},
        {"2025-13-01 00:00:00", INT64_MIN, false, 0},
        {"2025-00-01 00:00:00", INT64_MIN, false, 0},
        {"2025-01-32 00:00:00", INT64_MIN, false, 0},
        {"2025-01-01 24:00:00", INT64_MIN, false, 0},
        {"2025-01-01 00:60:00", INT64_MIN, false, 0},
        {"2025-01-01 00:00:60", INT64_MIN, false, 0},
        {"2025-01-01 00:00", INT64_MIN, false, 0},
        {"2025-01-01", INT64_MIN, false, 0},
        {"2025-01-01x00:00:00", INT64_MIN, false, 0},
        {"2025-01-01 00:00:00.", INT64_MIN, false, 0},
        {"2025-01-01 00:00:00 ", INT64_MIN, false, 0},
        {"2025-01-01 00:00:00+1", INT64_MIN, false, 0},
        {"2025-01-01 00:00:00+24:00", INT64_MIN, false, 0},
        {"-025-01-01 00:00:00", INT64_MIN, false, 0},
        {"", INT64_MIN, false, 0},
    };

    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        int64_t micros = INT64_MIN;
        bool has = false;
        int offset = 0;
        apr_status_t rv = sse_civil_parse(sse_str(cases[i].text), &micros, &has, &offset);

        if (micros != cases[i].micros || has != cases[i].has_offset || offset != cases[i].offset ||
            (rv == APR_SUCCESS) != (micros != INT64_MIN))
            fail_msg("%s: %lld %d %d", cases[i].text, (long long)micros, has, offset);
    }
}

static int open_pool(void **state)
{
    apr_initialize();
    return apr_pool_create(&pool, NULL);
}

static int close_pool(void **state)
{
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_as_the_system),
        cmocka_unit_test(local_to_unix),
        cmocka_unit_test(bad_zones),
        cmocka_unit_test(texts_of_times),
    };

    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
