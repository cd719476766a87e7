/* SPDX-License-Identifier: Apache-2.0 */
/* Around the engines: sessions that the hub keeps, files that cannot be read, what is told of a
 * session and what is not, the JSON of SSEDjangoConfig, and what configtest says about DBDParams.
 */
#include "session_fixture.h"

#include "cmocka_all.h"
#include "core/crypto.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SALT "django.contrib.sessions.SessionStore"

/* --- the hub
 * -------------------------------------------------------------------------------------- */

typedef struct asked_t {
    unsigned char session[SSE_SESSION_HASH_LEN];
    int times;
    apr_status_t rv;
    const char *user;
    int64_t expires;
} asked_t;

static apr_status_t ask(void *baton, const unsigned char session[SSE_SESSION_HASH_LEN],
                        apr_pool_t *pool, const char **out_user, int64_t *out_expires)
{
    asked_t *a = baton;

    a->times++;
    memcpy(a->session, session, SSE_SESSION_HASH_LEN);
    if (a->rv == APR_SUCCESS) {
        *out_user = a->user;
        *out_expires = a->expires;
    }
    return a->rv;
}

static void mirrored_sessions(void **state)
{
    asked_t a = {.rv = APR_SUCCESS, .user = "7", .expires = 2000};
    sse_session_request_t req = {.cookie_header = FIXTURE_COOKIE,
                                 .now = apr_time_from_sec(1999),
                                 .hub = ask,
                                 .hub_baton = &a};
    unsigned char want[SSE_DIGEST_MAX];
    const sse_str_t key = SSE_STR(FIXTURE_KEY);
    sse_session_conf_t conf;
    sse_identity_t who;

    fixture_site(&world, &conf, SSE_ENGINE_HUB, NULL);
    assert_false(sse_engine_needs_db(SSE_ENGINE_HUB));
    assert_false(sse_engine_needs_secret(SSE_ENGINE_HUB));
    sse_digest(SSE_SHA256, &key, 1, want);
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_string_equal(who.user, "7");
    assert_false(who.groups_known);
    assert_true(who.has_session);
    assert_int_equal(who.session_expires, 2000);
    assert_memory_equal(a.session, want, sizeof want);
    assert_memory_equal(who.session, want, sizeof want);

    req.now = apr_time_from_sec(2000); /* over, should the hub not have noticed yet */
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    assert_false(who.has_session);
    req.now = apr_time_from_sec(1999);
    a.rv = APR_NOTFOUND;
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    a.rv = APR_TIMEUP;
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
    a.times = 0;
    req.cookie_header = "sessionid=";
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    assert_int_equal(a.times, 0);
    req.cookie_header = FIXTURE_COOKIE;
    a.rv = APR_SUCCESS;
    req.cookie_header = "sessionid=c$UPPER-case_key"; /* a custom engine's */
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    req.cookie_header = FIXTURE_COOKIE;
    req.hub = NULL;
    sse_session_resolve(&conf, &req, world.test_pool, &who);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
}

/* --- what is asked and what is told
 * --------------------------------------------------------------- */

static void no_cookie_asks_nobody(void **state)
{
    static const char *const headers[] = {
        NULL, "", "a=b", "sessionid=", "sessionid=short", "sessionid=" FIXTURE_KEY "; sessionid=x"};
    unsigned char name[SSE_SESSION_HASH_LEN];
    sse_session_conf_t conf;
    sse_identity_t who;

    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    for (size_t i = 0; i < SSE_ARRAY_LEN(headers); i++) {
        world.db_lent = 0;
        world_resolve(&world, &conf, headers[i], apr_time_now(), &who);
        assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
        assert_false(who.has_session);
        assert_non_null(who.detail);
        assert_int_equal(world.db_lent, 0);
        assert_false(sse_session_name(&conf, headers[i], world.test_pool, name));
    }
    /* another name of the cookie */
    conf.cookie_name = "__Host-sid";
    assert_false(sse_session_name(&conf, FIXTURE_COOKIE, world.test_pool, name));
    assert_true(sse_session_name(&conf, "__Host-sid=" FIXTURE_KEY, world.test_pool, name));
}

static void put_session(sse_str_t payload)
{
    world_sql(&world, "DELETE FROM django_session");
    world_sql(&world, "INSERT INTO django_session VALUES ('" FIXTURE_KEY "', '%s', '9999-01-01')",
              fixture_signed(&world, SALT, payload));
    world_sql(&world, "UPDATE django_session SET expire_date = '9999-01-01 00:00:00'");
}

/* A visitor's session has a name, so that its streams can be ended; one that Django would throw
 * away has none. */
static void anonymous_sessions(void **state)
{
    sse_session_conf_t conf;
    sse_identity_t who;

    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    put_session(SSE_STR("{\"cart\": [1, 2]}"));
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_true(who.has_session);
    assert_int_equal(who.session_expires, INT64_C(253370764800));
    put_session(fixture_json(&world));
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_null(who.detail);
    world_sql(&world, "UPDATE auth_user SET password = 'another'");
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_false(who.has_session);
    assert_int_equal(who.session_expires, 0);
    assert_null(who.user);
    world_sql(&world, "UPDATE auth_user SET password = '" FIXTURE_PASSWORD "', is_active = 0");
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    world_sql(&world, "UPDATE auth_user SET is_active = 1");
    world.django.backends = (const char *const[]){"elsewhere.Backend"};
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
}

/* A secret that is not the site's opens nothing, and no secret at all neither. */
static void secrets(void **state)
{
    const sse_str_t other = SSE_STR("another secret");
    sse_session_conf_t conf;
    sse_identity_t who;

    put_session(fixture_json(&world));
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    conf.n_secrets = 0;
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    conf.secrets = &other;
    conf.n_secrets = 1;
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
}

/* --- files
 * ----------------------------------------------------------------------------------------- */

static void session_files(void **state)
{
    const char *dir = world_subdir(&world, "sessions"), *path;
    int64_t now = apr_time_sec(apr_time_now());
    sse_session_conf_t conf;
    sse_identity_t who;
    sse_str_t text = sse_str(fixture_signed(&world, SALT, fixture_json(&world)));

    fixture_site(&world, &conf, SSE_ENGINE_FILE, dir);
    path = apr_pstrcat(world.test_pool, dir, "/sessionid" FIXTURE_KEY, NULL);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    world_file(&world, dir, "sessionid" FIXTURE_KEY, text, now);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, now + 1209600);

    /* an empty file is a placeholder */
    world_file(&world, dir, "sessionid" FIXTURE_KEY, SSE_STR(""), now);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    /* no link is followed, no pipe waited for, no directory read */
    world_file(&world, dir, "real", text, now);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("real", path), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_int_equal(rmdir(path), 0);
    world_file(&world, dir, "sessionid" FIXTURE_KEY, text, now);
    assert_int_equal(truncate(path, 3 * 1024 * 1024), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);

    /* A file that may not be read, and a directory that is gone: the store is away. */
    world_file(&world, dir, "sessionid" FIXTURE_KEY, text, now);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    who.who = fixture_look_up(&world, &conf, NULL);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
    conf.argument = apr_pstrcat(world.test_pool, dir, "/none", NULL);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_UNAVAILABLE);
}

/* Sessions that say themselves when they end. */
static void ends_in_files(void **state)
{
    const char *dir = world_subdir(&world, "sessions");
    const int64_t t = 1750000000; /* 2025-06-15T15:06:40Z */
    static const struct {
        const char *expiry;
        int64_t dies; /* seconds after t; 0: at once; -1: never */
        bool use_tz;
    } cases[] = {
        {"null", 1209600, true},
        {"0", 1209600, true},
        {"300", -1, true}, /* Django never ends these by the file's age */
        {"-1", 0, true},
        {"\"2025-06-15T15:06:50+00:00\"", 10, true},
        {"\"2025-06-15T17:06:50.500000+02:00\"", 10, true},
        {"\"2025-06-15T10:06:50\"", 10, false}, /* America/Chicago */
        {"\"2025-06-15T15:06:50\"", 0, true},   /* no offset where there must be one */
        {"\"2025-06-15T15:06:50+00:00\"", 0, false},
        {"\"soon\"", 0, true},
        {"1.5", 0, true},
        {"[]", 0, true},
    };
    const char *problem = NULL;

    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_str_t json = fixture_json(&world);
        sse_session_conf_t conf;
        sse_identity_t who;
        int64_t dies = cases[i].dies;
        const char *text = apr_psprintf(world.test_pool, "%.*s, \"_session_expiry\": %s}",
                                        (int)json.n - 1, json.p, cases[i].expiry);

        world_file(&world, dir, "sessionid" FIXTURE_KEY,
                   sse_str(fixture_signed(&world, SALT, sse_str(text))), t);
        fixture_site(&world, &conf, SSE_ENGINE_FILE, dir);
        assert_int_equal(sse_django_read(sse_str(cases[i].use_tz ? "{}" : "{\"use_tz\": false}"),
                                         world.pool, &world.django, &problem),
                         APR_SUCCESS);
        world.django.membership_table = NULL;
        world_resolve(&world, &conf, FIXTURE_COOKIE,
                      apr_time_from_sec(t + (dies > 0 ? dies - 1 : 0)), &who);
        if (who.who != (dies == 0 ? SSE_WHO_ANONYMOUS : SSE_WHO_USER))
            fail_msg("%s: %d %s", cases[i].expiry, who.who, who.detail ? who.detail : "");
        if (dies > 0) {
            assert_int_equal(who.session_expires, t + dies);
            /* less than a whole second left is none */
            world_resolve(&world, &conf, FIXTURE_COOKIE, apr_time_from_sec(t + dies) - 400000,
                          &who);
            assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
        }
    }
}

/* --- SSEDjangoConfig
 * ------------------------------------------------------------------------------- */

static void django_config(void **state)
{
    const char *problem = NULL;
    sse_django_t dj;

    assert_int_equal(
        sse_django_read(
            SSE_STR("{\"django\": \"5.2\", \"session_table\": \"s\", \"user_table\": \"u\", "
                    "\"user_pk\": \"pk\", \"user_pk_type\": \"str\", \"user_password\": \"pw\", "
                    "\"user_is_active\": null, \"membership_table\": null, "
                    "\"membership_user\": \"mu\", \"membership_group\": \"mg\", "
                    "\"group_table\": \"g\", \"group_pk\": \"gp\", \"group_name\": \"gn\", "
                    "\"backends\": [\"a.B\", \"c.D\"], \"session_salt\": \"x.Y\", "
                    "\"cookie_name\": \"sid\", \"cookie_age\": 60, \"use_tz\": false, "
                    "\"time_zone\": \"Europe/Berlin\", \"legacy_sha1\": true, "
                    "\"fallback_hash\": false, \"cache_prefix\": \"p:1:c\", "
                    "\"cached_db_prefix\": \"p:1:d\"}"),
            world.test_pool, &dj, &problem),
        APR_SUCCESS);
    assert_null(problem);
    assert_string_equal(dj.session_table, "s");
    assert_string_equal(dj.user_table, "u");
    assert_string_equal(dj.user_pk, "pk");
    assert_string_equal(dj.user_pk_type, "str");
    assert_string_equal(dj.user_password, "pw");
    assert_null(dj.user_is_active);
    assert_null(dj.membership_table);
    assert_string_equal(dj.membership_user, "mu");
    assert_string_equal(dj.membership_group, "mg");
    assert_string_equal(dj.group_table, "g");
    assert_string_equal(dj.group_pk, "gp");
    assert_string_equal(dj.group_name, "gn");
    assert_int_equal(dj.n_backends, 2);
    assert_string_equal(dj.backends[1], "c.D");
    assert_string_equal(dj.session_salt, "x.Y");
    assert_string_equal(dj.cookie_name, "sid");
    assert_int_equal(dj.cookie_age, 60);
    assert_false(dj.use_tz);
    assert_string_equal(dj.time_zone, "Europe/Berlin");
    assert_non_null(dj.zone);
    assert_true(dj.legacy_sha1);
    assert_false(dj.fallback_hash);
    assert_string_equal(dj.cache_prefix, "p:1:c");
    assert_string_equal(dj.cached_db_prefix, "p:1:d");

    assert_int_equal(sse_django_read(SSE_STR("{}"), world.test_pool, &dj, &problem), APR_SUCCESS);
    assert_string_equal(dj.session_table, "django_session");
    assert_null(dj.zone);
    assert_int_equal(dj.cookie_age, 1209600);
}

static void bad_django_config(void **state)
{
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"", "no JSON"},
        {"{", "no JSON"},
        {"[]", "not an object"},
        {"{\"sesion_table\": \"x\"}", "\"sesion_table\" is unknown"},
        {"{\"session_table\": \"a b\"}", "\"session_table\" is \"a b\", allowed is a name"},
        {"{\"session_table\": \"a\\\"; DROP\"}", "session_table"},
        {"{\"session_table\": \"1a\"}", "session_table"},
        {"{\"session_table\": \"\"}", "session_table"},
        {"{\"session_table\": \"a%s\"}", "session_table"},
        {"{\"session_table\": null}", "session_table"},
        {"{\"session_table\": 1}", "session_table"},
        {"{\"user_is_active\": true}", "or null"},
        {"{\"user_pk_type\": \"bigint\"}", "\"int\", \"uuid\" or \"str\""},
        {"{\"user_pk_type\": null}", "user_pk_type"},
        {"{\"backends\": []}", "backends"},
        {"{\"backends\": \"a.B\"}", "backends"},
        {"{\"backends\": [1]}", "backends"},
        {"{\"backends\": [\"\"]}", "backends"},
        {"{\"cookie_age\": 0}", "cookie_age"},
        {"{\"cookie_age\": 1.5}", "cookie_age"},
        {"{\"cookie_age\": \"60\"}", "cookie_age"},
        {"{\"cookie_age\": 99999999999999999999}", "cookie_age"},
        {"{\"use_tz\": 1}", "true or false"},
        {"{\"session_salt\": \"\"}", "session_salt"},
        {"{\"session_salt\": \"a\\u0000b\"}", "session_salt"},
        {"{\"use_tz\": false, \"time_zone\": \"Mars/Olympus\"}", "Mars/Olympus"},
        {"{\"use_tz\": false, \"time_zone\": \"../etc/passwd\"}", "time_zone"},
    };

    for (size_t i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        const char *problem = NULL;
        sse_django_t dj = {.session_table = "untouched"};

        if (sse_django_read(sse_str(bad[i].json), world.test_pool, &dj, &problem) != APR_EINVAL)
            fail_msg("%s was taken", bad[i].json);
        if (!problem || !strstr(problem, bad[i].says))
            fail_msg("%s: %s", bad[i].json, problem);
        assert_string_equal(dj.session_table, "untouched");
    }
}

/* --- the rest
 * ---------------------------------------------------------------------------------------- */

static void engine_names(void **state)
{
    char *names = apr_pstrdup(world.test_pool, sse_engine_names()), *last;
    int n = 0;

    for (char *p = apr_strtok(names, ", ", &last); p; p = apr_strtok(NULL, ", ", &last), n++) {
        sse_engine_t engine;
        assert_int_equal(sse_engine_parse(p, &engine), APR_SUCCESS);
        assert_int_equal(engine, n);
    }
    assert_int_equal(n, SSE_ENGINE_HUB + 1);
    {
        sse_engine_t engine;
        assert_int_equal(sse_engine_parse("database", &engine), APR_EINVAL);
        assert_int_equal(sse_engine_parse("DB", &engine), APR_EINVAL);
    }
}

static void db_params(void **state)
{
    const char *good = apr_pstrcat(world.test_pool, world.dir, "/django.sqlite3", NULL);
    const char *dir = world_subdir(&world, "files");
    const char *empty = apr_pstrcat(world.test_pool, dir, "/empty", NULL);
    bool fatal = true;

    assert_null(sse_session_dbparams_problem("sqlite3", good, world.test_pool, &fatal));
    assert_false(fatal);
    world_file(&world, dir, "empty", SSE_STR(""), 0);
    assert_non_null(strstr(sse_session_dbparams_problem("sqlite3", empty, world.test_pool, &fatal),
                           "not a SQLite database"));
    assert_true(fatal);
    assert_non_null(
        strstr(sse_session_dbparams_problem("sqlite3", "/nonexistent/db", world.test_pool, &fatal),
               "No such file"));
    assert_true(fatal);
    assert_non_null(sse_session_dbparams_problem("sqlite3", NULL, world.test_pool, &fatal));
    assert_true(fatal);
    assert_non_null(sse_session_dbparams_problem("sqlite3", dir, world.test_pool, &fatal));
    assert_true(fatal);
    assert_int_equal(access("/nonexistent", F_OK), -1);

    assert_non_null(sse_session_dbparams_problem("pgsql", "dbname=x", world.test_pool, &fatal));
    assert_false(fatal);
    assert_null(sse_session_dbparams_problem(
        "pgsql", "dbname=x connect_timeout=2 tcp_user_timeout=3000", world.test_pool, &fatal));
    assert_non_null(sse_session_dbparams_problem("mysql", "dbname=x", world.test_pool, &fatal));
    assert_false(fatal);
    assert_null(
        sse_session_dbparams_problem("mysql", "dbname=x group=sse", world.test_pool, &fatal));
    assert_non_null(sse_session_dbparams_problem("oracle", "x", world.test_pool, &fatal));
    assert_true(fatal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(mirrored_sessions),  fixture_test(no_cookie_asks_nobody),
        fixture_test(anonymous_sessions), fixture_test(secrets),
        fixture_test(session_files),      fixture_test(ends_in_files),
        fixture_test(django_config),      fixture_test(bad_django_config),
        fixture_test(engine_names),       fixture_test(db_params),
    };

    return cmocka_run_group_tests(tests, fixture_group_begins, fixture_group_ends);
}
