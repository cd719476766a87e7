/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in a database with the tables that Django makes there, the same for SQLite, PostgreSQL
 * and MariaDB (SSE_TEST_DRIVER): sessions and their ends, users and groups, integer, UUID and text
 * keys, the rights that suffice, and a database that fails. */
#include "session_dbserver.h"
#include "session_fixture.h"

#include "cmocka_all.h"
#include "core/log.h"

#include <apr_strings.h>
#include <stdlib.h>

#define UUID "0f8fad5b-d9cb-469f-a165-70867728950e"
#define SALT "django.contrib.sessions.SessionStore"

static dbserver_t server;
static const char driver[] = SSE_TEST_DRIVER; /* one program for each */

static bool pg(void)
{
    return strcmp(driver, "pgsql") == 0;
}

static bool my(void)
{
    return strcmp(driver, "mysql") == 0;
}

static const char *session_of(const char *user)
{
    sse_str_t json = fixture_json(&world);
    char *text = apr_pstrmemdup(world.test_pool, json.p, json.n);

    /* {"_auth_user_id": "1", ... */
    text = apr_pstrcat(world.test_pool, "{\"_auth_user_id\": \"", user,
                       strstr(text, "\", \"_auth_user_backend"), NULL);
    return fixture_signed(&world, SALT, sse_str(text));
}

/* The row of FIXTURE_KEY, ending at so many microseconds of UNIX time. */
static void put_session(const char *user, apr_time_t end)
{
    apr_time_exp_t t;
    const char *when;

    apr_time_exp_gmt(&t, end);
    when = apr_psprintf(world.test_pool, "%04d-%02d-%02d %02d:%02d:%02d.%06d%s", t.tm_year + 1900,
                        t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, t.tm_usec,
                        pg() ? "+00" : "");
    world_sql(&world, "DELETE FROM django_session");
    world_sql(&world, "INSERT INTO django_session VALUES ('" FIXTURE_KEY "', '%s', '%s')",
              session_of(user), when);
}

static void sessions_and_their_ends(void **state)
{
    const apr_time_t end = 1750000000123456;
    sse_session_conf_t conf;
    sse_identity_t who;

    put_session("1", end);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_string_equal(who.user, "1");
    assert_int_equal(who.session_expires, 1750000000);
    assert_true(who.groups_known);
    assert_int_equal(who.n_groups, 2);
    assert_string_equal(who.groups[0], "gr\xc3\xb6\xc3\x9f"
                                       "e & <co>");
    assert_string_equal(who.groups[1], "staff");
    world_resolve(&world, &conf, FIXTURE_COOKIE, end, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    assert_false(who.has_session);

    world_sql(&world, "DELETE FROM django_session");
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);

    put_session("2", end); /* no groups */
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_int_equal(who.n_groups, 0);
    put_session("3", end); /* not active */
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    put_session("9223372036854775807", end); /* nobody, and beyond an integer column */
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    put_session("9223372036854775808", end);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
}

/* Local times of another zone in SQLite and MariaDB; instants in PostgreSQL whatever the setting.
 */
static void local_times(void **state)
{
    const apr_time_t end = 1750000000000000; /* 15:06:40 UTC, 10:06:40 in Chicago */
    const char *problem = NULL;
    sse_session_conf_t conf;
    sse_identity_t who;

    put_session("1", pg() ? end : end - apr_time_from_sec(5 * 3600));
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    assert_int_equal(
        sse_django_read(SSE_STR("{\"use_tz\": false}"), world.test_pool, &world.django, &problem),
        APR_SUCCESS);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_int_equal(who.session_expires, end / 1000000);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
}

static void uuid_keys(void **state)
{
    const apr_time_t end = 1750000000000000;
    sse_session_conf_t conf;
    sse_identity_t who;

    world.django.user_table = "people";
    world.django.user_pk_type = "uuid";
    world.django.membership_table = "people_groups";
    world.django.membership_user = "person_id";
    put_session(UUID, end);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_string_equal(who.user, UUID);
    assert_int_equal(who.n_groups, 1);
    assert_string_equal(who.groups[0], "staff");
    if (my()) { /* MariaDB's own type, which Django 5 uses for new columns; the session's key is
                   then the same */
        world_sql(&world, "ALTER TABLE people MODIFY id uuid NOT NULL");
        world_sql(&world, "ALTER TABLE people_groups MODIFY person_id uuid NOT NULL");
        world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
        assert_int_equal(who.who, SSE_WHO_USER);
        assert_string_equal(who.user, UUID);
        assert_int_equal(who.n_groups, 1);
    }
    put_session("0f8fad5b-d9cb-469f-a165-70867728950f", end);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    put_session("0f8fad5bd9cb469fa16570867728950e", end); /* never written so */
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    put_session("1", end);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
}

static void text_keys(void **state)
{
    const apr_time_t end = 1750000000000000;
    sse_session_conf_t conf;
    sse_identity_t who;

    world.django.user_table = "named";
    world.django.user_pk_type = "str";
    world.django.user_pk = "login";
    world.django.user_is_active = NULL; /* AbstractBaseUser alone */
    world.django.membership_table = NULL;
    put_session("O'Neil 50%%", end);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_string_equal(who.user, "O'Neil 50%%");
    assert_false(who.groups_known);
    /* MariaDB finds it in any case of letters: the name is then that of the row. */
    put_session("o'neil 50%%", end);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, my() ? SSE_WHO_USER : SSE_WHO_ANONYMOUS);
    if (my())
        assert_string_equal(who.user, "O'Neil 50%%");
    put_session("nobody' OR '1'='1", end);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
}

static unsigned complaints; /* about groups */

static void count_complaints(sse_log_level_t level, const char *message)
{
    if (strstr(message, "SSE0504") || strstr(message, "SSE0503"))
        complaints++;
}

static void many_groups(void **state)
{
    const apr_time_t end = 1750000000000000;
    sse_session_conf_t conf;
    sse_identity_t who;

    for (int i = 1; i <= SSE_USER_GROUPS_MAX + 1; i++) {
        world_sql(&world, "INSERT INTO auth_group VALUES (%d, 'many %04d')", 1000 + i, i);
        world_sql(&world, "INSERT INTO auth_user_groups VALUES (%d, 4, %d)", 1000 + i, 1000 + i);
    }
    put_session("4", end);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_int_equal(who.n_groups, SSE_USER_GROUPS_MAX);
    assert_string_equal(who.groups[0], "many 0001");
    assert_string_equal(who.groups[SSE_USER_GROUPS_MAX - 1], "many 1024");
    /* Whoever comes again and again does not fill the log. */
    sse_log_sink_set(count_complaints, SSE_LOG_WARNING);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_sql(&world, "UPDATE auth_group SET name = '\x07' WHERE id IN (1001, 1002)");
    for (int i = 0; i < 3; i++) {
        world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
        assert_int_equal(who.n_groups, SSE_USER_GROUPS_MAX - 2);
    }
    sse_log_sink_set(NULL, SSE_LOG_INFO);
    assert_int_equal(complaints, 2);
}

/* Sessions of some size, up to what is looked at, and beyond. */
static void large_sessions(void **state)
{
    static const size_t sizes[] = {1000, 100000, 700000};
    const apr_time_t end = 1750000000000000;
    sse_session_conf_t conf;
    sse_identity_t who;
    sse_str_t json = fixture_json(&world);

    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    for (size_t i = 0; i < SSE_ARRAY_LEN(sizes); i++) {
        char *pad = apr_palloc(world.test_pool, sizes[i] + 1);
        const char *text;
        memset(pad, 'x', sizes[i]);
        pad[sizes[i]] = '\0';
        text = apr_psprintf(world.test_pool, "{\"pad\": \"%s\", %.*s", pad, (int)json.n - 1,
                            json.p + 1);
        put_session("1", end);
        world_sql(&world, "UPDATE django_session SET session_data = '%s'",
                  fixture_signed(&world, SALT, sse_str(text)));
        world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
        if (who.who != SSE_WHO_USER)
            fail_msg("%zu bytes: %s", sizes[i], who.detail);
    }
    world_sql(&world, "UPDATE django_session SET session_data = '%s'",
              apr_pstrcat(world.test_pool, "x", NULL));
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
}

static void database_cache(void **state)
{
    /* base64 of the pickle of {} */
    sse_session_conf_t conf;
    sse_identity_t who;

    world_sql(&world,
              "INSERT INTO cache_table VALUES ('" FIXTURE_CACHE_KEY "', 'gAV9lC4=', "
              "'2025-06-15 15:06:40%s')",
              pg() ? "+00" : "");
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, "db:cache_table");
    world_resolve(&world, &conf, FIXTURE_COOKIE, 1749999999999999, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    assert_true(who.has_session);
    assert_int_equal(who.session_expires, 1750000000);
    world_resolve(&world, &conf, FIXTURE_COOKIE, 1750000000000000, &who);
    assert_false(who.has_session);
    /* the table is the same with another prefix and version */
    world_sql(&world, "UPDATE cache_table SET cache_key = "
                      "'site:2:django.contrib.sessions.cache" FIXTURE_KEY "'");
    world_resolve(&world, &conf, FIXTURE_COOKIE, 1749999999999999, &who);
    assert_false(who.has_session);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, "db:cache_table?prefix=site&version=2");
    world_resolve(&world, &conf, FIXTURE_COOKIE, 1749999999999999, &who);
    assert_true(who.has_session);
}

/* A table that is gone, or whose rights are: the store is away, the user is not logged out; and
 * well again afterwards. */
static void failures(void **state)
{
    const apr_time_t end = 1750000000000000;
    sse_session_conf_t conf;
    sse_identity_t who;
    const sse_statement_t *st;
    size_t n;

    put_session("1", end);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    assert_int_equal(sse_session_statements(&conf, driver, world.test_pool, &st, &n), APR_SUCCESS);
    assert_int_equal(n, 2);
    assert_int_equal(sse_session_statements(&conf, "oracle", world.test_pool, &st, &n),
                     APR_ENOTIMPL);

    world.before_resolve = "DROP TABLE auth_user_groups";
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
    assert_false(who.has_session);
    world_sql(&world, "CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id integer NOT "
                      "NULL, group_id integer NOT NULL)");
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);

    world.before_resolve = "DROP TABLE django_session";
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
    world.before_resolve = NULL;
    world.db_away = true;
    world_sql(&world, "CREATE TABLE django_session (session_key varchar(40), session_data text, "
                      "expire_date timestamp)");
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
    world.db_away = false;
}

/* Somebody else's transaction: waited for a little, then the store is away. */
static void locked(void **state)
{
    const apr_time_t end = 1750000000000000;
    const char *file = apr_pstrcat(world.test_pool, world.dir, "/django.sqlite3", NULL);
    sse_session_conf_t conf;
    sse_identity_t who;
    apr_dbd_t *other;
    apr_time_t began;
    int rows;

    if (pg() || my())
        return; /* readers are not locked out there */
    put_session("1", end);
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_int_equal(apr_dbd_open(world.driver, world.test_pool, file, &other), APR_SUCCESS);
    assert_int_equal(apr_dbd_query(world.driver, other, &rows, "BEGIN EXCLUSIVE"), 0);
    world.keep_statements = true;
    began = apr_time_now();
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_UNAVAILABLE);
    assert_true(apr_time_now() - began < apr_time_from_sec(5));
    assert_int_equal(apr_dbd_query(world.driver, other, &rows, "COMMIT"), 0);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    world.keep_statements = false;
    apr_dbd_close(world.driver, other);
}

/* The rights that docs/sessions.md names are enough. */
static void rights(void **state)
{
    const apr_time_t end = 1750000000000000;
    sse_session_conf_t conf;
    sse_identity_t who;

    if (!pg() && !my())
        return; /* SQLite knows no rights but the file's */
    put_session("1", end);
    if (pg())
        world_sql(&world, "CREATE ROLE sse_ro LOGIN");
    else
        world_sql(&world, "CREATE USER sse_ro@localhost");
#define TO (pg() ? "sse_ro" : "sse_ro@localhost")
    world_sql(&world,
              "GRANT SELECT (session_key, session_data, expire_date) ON django_session TO %s", TO);
    world_sql(&world, "GRANT SELECT (id, password, is_active) ON auth_user TO %s", TO);
    world_sql(&world, "GRANT SELECT (user_id, group_id) ON auth_user_groups TO %s", TO);
    world_sql(&world, "GRANT SELECT (id, name) ON auth_group TO %s", TO);
    dbserver_use(&world, &server,
                 pg() ? apr_pstrcat(world.pool, server.params, " user=sse_ro", NULL)
                      : apr_pstrcat(world.pool, "user=sse_ro dbname=mysql ",
                                    strstr(server.params, "sock="), NULL));
    fixture_site(&world, &conf, SSE_ENGINE_DB, NULL);
    world_resolve(&world, &conf, FIXTURE_COOKIE, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_int_equal(who.n_groups, 2);
    dbserver_use(&world, &server, NULL);
}

/* --- the tables, as `manage.py migrate` makes them
 * ------------------------------------------------ */

static void make_tables(void)
{
    const char *when = pg() ? "timestamp with time zone" : my() ? "datetime(6)" : "datetime";
    const char *uuid = pg() ? "uuid" : "char(32)", *text = my() ? "longtext" : "text";
    const char *id = pg() ? UUID : "0f8fad5bd9cb469fa16570867728950e";

    world_sql(&world,
              "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, "
              "session_data %s NOT NULL, expire_date %s NOT NULL)",
              text, when);
    world_sql(&world,
              "CREATE TABLE cache_table (cache_key varchar(255) NOT NULL PRIMARY KEY, value %s "
              "NOT NULL, expires %s NOT NULL)",
              text, when);
    world_sql(&world,
              "CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY, password varchar(128) NOT "
              "NULL, is_active %s NOT NULL, username varchar(150) NOT NULL)",
              my() ? "tinyint(1)" : "boolean");
    world_sql(&world, "CREATE TABLE auth_group (id integer NOT NULL PRIMARY KEY, name varchar(150) "
                      "NOT NULL)");
    world_sql(&world, "CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id integer NOT "
                      "NULL, group_id integer NOT NULL)");
    world_sql(&world,
              "CREATE TABLE people (id %s NOT NULL PRIMARY KEY, password varchar(128) NOT NULL, "
              "is_active %s NOT NULL)",
              uuid, my() ? "tinyint(1)" : "boolean");
    world_sql(&world,
              "CREATE TABLE people_groups (id integer PRIMARY KEY, person_id %s NOT NULL, "
              "group_id integer NOT NULL)",
              uuid);
    world_sql(&world, "CREATE TABLE named (login varchar(50) NOT NULL PRIMARY KEY, password "
                      "varchar(128) NOT NULL)");
    for (int i = 1; i <= 4; i++)
        world_sql(&world, "INSERT INTO auth_user VALUES (%d, '" FIXTURE_PASSWORD "', %s, 'u%d')", i,
                  my() ? (i == 3 ? "0" : "1") : (i == 3 ? "false" : "true"), i);
    world_sql(&world, "INSERT INTO auth_group VALUES (1, 'staff')");
    world_sql(&world, "INSERT INTO auth_group VALUES (2, 'gr\xc3\xb6\xc3\x9f"
                      "e & <co>')");
    world_sql(&world, "INSERT INTO auth_user_groups VALUES (1, 1, 1)");
    world_sql(&world, "INSERT INTO auth_user_groups VALUES (2, 1, 2)");
    world_sql(&world, "INSERT INTO people VALUES ('%s', '" FIXTURE_PASSWORD "', %s)", id,
              my() ? "1" : "true");
    world_sql(&world, "INSERT INTO people_groups VALUES (1, '%s', 1)", id);
    world_sql(&world, "INSERT INTO named VALUES ('O''Neil 50%%%%', '" FIXTURE_PASSWORD "')");
}

static int clear_test(void **state)
{
    fixture_clear(&world);
    world.django.membership_table = "auth_user_groups";
    return 0;
}

static int open_db(void **state)
{
    world_open(&world);
    if (pg())
        dbserver_start_postgres(&world, &server);
    else if (my()) {
        dbserver_start_mariadb(&world, &server);
        world_sql(&world, "SET NAMES utf8mb4");
    }
    make_tables();
    return clear_test(state);
}

static int close_db(void **state)
{
    if (pg() || my()) { /* the world closes its handle: leave it the file it began with */
        apr_dbd_close(world.driver, world.handle);
        assert_int_equal(apr_dbd_get_driver(world.pool, "sqlite3", &world.driver), APR_SUCCESS);
        assert_int_equal(apr_dbd_open(world.driver, world.pool, ":memory:", &world.handle),
                         APR_SUCCESS);
        dbserver_stop(&world, &server);
    }
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(sessions_and_their_ends, clear_test),
        cmocka_unit_test_teardown(local_times, clear_test),
        cmocka_unit_test_teardown(uuid_keys, clear_test),
        cmocka_unit_test_teardown(text_keys, clear_test),
        cmocka_unit_test_teardown(many_groups, clear_test),
        cmocka_unit_test_teardown(large_sessions, clear_test),
        cmocka_unit_test_teardown(database_cache, clear_test),
        cmocka_unit_test_teardown(locked, clear_test),
        cmocka_unit_test_teardown(rights, clear_test),
        cmocka_unit_test_teardown(failures, clear_test),
    };

    return cmocka_run_group_tests_name(driver, tests, open_db, close_db);
}
