/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the driver of a broker URL, among those built in and in the driver directory. */
#include "broker/broker.h"
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

static apr_status_t create(const char *url, const char *driver_dir, char problem[256])
{
    sse_broker_t *broker = NULL;
    sse_hubconf_t conf;
    sse_hubconf_init(&conf);
    free(conf.driver_dir);
    conf.driver_dir = driver_dir ? strdup(driver_dir) : NULL;
    sse_broker_env_t env = {.conf = &conf};
    apr_status_t status = sse_broker_create(&env, url, &broker, problem);
    sse_hubconf_clear(&conf);
    assert_null(broker);
    return status;
}

static void what_is_no_url_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "://",
                                      "Redis://x",
                                      "../x://y",
                                      "a b",
                                      "/tmp/x",
                                      "0123456789abcdef0123456789abcdef0://"};
    for (size_t i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        char problem[256] = "";
        assert_int_equal(create(bad[i], SAMPLE_DIR, problem), APR_EINVAL);
        assert_string_equal(problem, "the broker is neither \"local\" nor a URL");
    }
}

static void an_unknown_driver_is_named(void **state)
{
    char problem[256] = "";
    assert_int_equal(create("nosuch://host", NULL, problem), APR_EINVAL);
    assert_non_null(strstr(problem, "\"nosuch\""));
    problem[0] = '\0';
    assert_int_equal(create("nosuch://host", SAMPLE_DIR, problem), APR_EINVAL);
    assert_non_null(strstr(problem, "sse_broker_nosuch.so"));
}

static void a_shared_object_is_loaded_by_scheme(void **state)
{
    char problem[256] = "";
    assert_int_equal(create("sample://host/1", SAMPLE_DIR, problem), APR_EINVAL);
    assert_string_equal(problem, "sample was asked for sample://host/1");
    assert_int_equal(create("sample+cluster://host", SAMPLE_DIR, problem), APR_EINVAL);
    assert_string_equal(problem, "sample was asked for sample+cluster://host");
}

static void one_of_another_version_is_refused(void **state)
{
    char problem[256] = "", expected[64];
    assert_int_equal(create("otherabi://host", SAMPLE_DIR, problem), APR_EINVAL);
    snprintf(expected, sizeof expected, "version %d of the broker contract, this hub version %d",
             SSE_BROKER_ABI + 1, SSE_BROKER_ABI);
    assert_non_null(strstr(problem, "sse_broker_otherabi.so"));
    assert_non_null(strstr(problem, expected));
}

static void one_without_the_symbol_is_refused(void **state)
{
    char problem[256] = "";
    assert_int_equal(create("nosymbol://host", SAMPLE_DIR, problem), APR_EINVAL);
    assert_non_null(strstr(problem, "sse_broker_nosymbol.so defines no sse_broker_driver"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_url_is_refused),
        cmocka_unit_test(an_unknown_driver_is_named),
        cmocka_unit_test(a_shared_object_is_loaded_by_scheme),
        cmocka_unit_test(one_of_another_version_is_refused),
        cmocka_unit_test(one_without_the_symbol_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
