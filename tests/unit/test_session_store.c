/* SPDX-License-Identifier: Apache-2.0 */
/* Cache stores: the URLs that name them, real servers in every state, the formats they hold, and
 * Django's own caches in files. */

#include "session_fixture.h"

#include "cmocka_all.h"
#include "session/store.h"

#include <apr_strings.h>
#include <pthread.h>

/* More at once than idle connections are kept. */
#define THREADS 24
#define LOOKUPS 50

/* --- URLs ---------------------------------------------------------------------------------------
 */

static void good_urls(void **state)
{
    sse_store_t s;

    assert_null(sse_store_parse("redis://localhost", world.test_pool, &s));
    assert_string_equal(s.endpoint.host, "localhost");
    assert_string_equal(s.endpoint.port, "6379");
    assert_null(s.database);
    assert_false(s.keyed);
    assert_int_equal(s.timeout_ms, 1000);

    assert_null(sse_store_parse("redis://:p%40s%3As@10.0.0.1:7000/3?prefix=mysite&version=2&"
                                "timeout=250",
                                world.test_pool, &s));
    assert_string_equal(s.endpoint.host, "10.0.0.1");
    assert_string_equal(s.endpoint.port, "7000");
    assert_string_equal(s.user, "");
    assert_string_equal(s.password, "p@s:s");
    assert_string_equal(s.database, "3");
    assert_true(s.keyed);
    assert_string_equal(s.prefix, "mysite");
    assert_string_equal(s.version, "2");
    assert_int_equal(s.timeout_ms, 250);
    assert_null(strstr(s.shown, "p%40"));

    assert_null(sse_store_parse("redis://app:pw@[::1]:6380", world.test_pool, &s));
    assert_string_equal(s.endpoint.host, "::1");
    assert_string_equal(s.endpoint.port, "6380");
    assert_string_equal(s.user, "app");

    assert_null(sse_store_parse("unix:///run/redis.sock?db=5", world.test_pool, &s));
    assert_string_equal(s.endpoint.path, "/run/redis.sock");
    assert_string_equal(s.database, "5");

    assert_null(sse_store_parse("memcached://cache", world.test_pool, &s));
    assert_string_equal(s.endpoint.port, "11211");
    assert_null(sse_store_parse("memcached:///run/memcached.sock?version=7", world.test_pool, &s));
    assert_string_equal(s.endpoint.path, "/run/memcached.sock");
    assert_string_equal(s.prefix, "");
    assert_string_equal(s.version, "7");

    assert_null(sse_store_parse("file:///var/cache/django", world.test_pool, &s));
    assert_string_equal(s.directory, "/var/cache/django");
    assert_null(sse_store_parse("db:my_cache_table", world.test_pool, &s));
}

static void bad_urls(void **state)
{
    static const char *const bad[] = {
        "",
        "localhost:6379",
        "http://localhost",
        "rediss://localhost",
        "redis://",
        "redis://:6379",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:port",
        "redis://user@host",
        "redis://user:@host",
        "redis://host/one",
        "redis://host/-1",
        "redis://host/1/2",
        "redis://[::1",
        "redis://[::1]6379",
        "redis://:a%zz@host",
        "redis://:a%0@host",
        "redis://:a%00b@host",
        "redis://host?prefix",
        "redis://host?color=red",
        "redis://host?version=-1",
        "redis://host?version=x",
        "redis://host?timeout=0",
        "redis://host?timeout=100000",
        "redis://host?prefix=a%20b",
        "redis://host?prefix=a%0d%0ab",
        "unix://run/redis.sock",
        "memcached://host/1",
        "memcached://:pw@host",
        "memcached://host?db=1",
        "file://relative",
        "db:",
        "db:my table",
        "db:1table",
        "db:t\"able",
    };
    sse_store_t s;

    for (size_t i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        const char *problem = sse_store_parse(bad[i], world.test_pool, &s);
        if (!problem)
            fail_msg("%s was taken", bad[i]);
        assert_non_null(strstr(problem, "allowed is redis://"));
    }
    /* A password does not come back in the message. */
    assert_null(strstr(sse_store_parse("redis://:hush@host:0", world.test_pool, &s), "hush"));
    assert_non_null(sse_engine_argument_problem(SSE_ENGINE_CACHE, NULL, world.test_pool));
    assert_non_null(sse_engine_argument_problem(SSE_ENGINE_FILE, NULL, world.test_pool));
    assert_non_null(sse_engine_argument_problem(SSE_ENGINE_FILE, "tmp", world.test_pool));
    assert_non_null(
        strstr(sse_engine_argument_problem(SSE_ENGINE_FILE, "/nonexistent/x", world.test_pool),
               "\"/nonexistent/x\" is not a directory"));
    assert_non_null(sse_engine_argument_problem(SSE_ENGINE_FILE, "/dev/null", world.test_pool));
    assert_null(sse_engine_argument_problem(SSE_ENGINE_FILE, world.dir, world.test_pool));
    assert_non_null(sse_engine_argument_problem(SSE_ENGINE_DB, "x", world.test_pool));
    assert_null(sse_engine_argument_problem(SSE_ENGINE_DB, NULL, world.test_pool));
}

static const char *redis_url(const char *rest)
{
    return apr_psprintf(world.test_pool, "redis://127.0.0.1:%d%s", world.redis_port, rest);
}

static void formats(void **state)
{
    sse_session_conf_t conf;
    sse_identity_t who;

    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url(""));
    world_redis_flush(&world);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);

    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 60000);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_string_equal(who.user, "1");
    assert_in_range(who.session_expires, apr_time_sec(apr_time_now()) + 57,
                    apr_time_sec(apr_time_now()) + 61);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_packed(&world, fixture_pickle(&world)), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, 0); /* a key without end */
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_json(&world), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_packed(&world, fixture_json(&world)), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);

    world_redis_set(&world, FIXTURE_CACHE_KEY, SSE_STR("\x1f\x8b\x08 gzip"), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_non_null(strstr(who.detail, "format"));
    world_redis_set(&world, FIXTURE_CACHE_KEY, SSE_STR("\x83\xa1 msgpack"), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_ANONYMOUS);
    assert_non_null(strstr(who.detail, "format"));
    world_redis_set(&world, FIXTURE_CACHE_KEY, SSE_STR("12345"), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    world_redis_set(&world, FIXTURE_CACHE_KEY, SSE_STR(""), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
}

static void prefix_and_version(void **state)
{
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, "mysite:2:django.contrib.sessions.cache" FIXTURE_KEY,
                    fixture_pickle(&world), 0);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url("?prefix=mysite&version=2"));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url("?prefix=mysite"));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);

    /* The whole prefix by SSEDjangoConfig, for a KEY_FUNCTION of the site's own. */
    world.django.cache_prefix = "mysite:2:django.contrib.sessions.cache";
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    world.django.cache_prefix = ":1:django.contrib.sessions.cache";

    world_redis_set(&world, ":3:django.contrib.sessions.cached_db" FIXTURE_KEY,
                    fixture_pickle(&world), 0);
    fixture_site(&world, &conf, SSE_ENGINE_CACHED_DB, redis_url("?version=3"));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
}

static void database_and_socket(void **state)
{
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url("/1"));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url("/0"));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    /* A database that the server does not have is a fault, not an absent session. */
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url("/4096"));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);

    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_pstrcat(world.test_pool, "unix://", world.dir, "/redis.sock", NULL));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_pstrcat(world.test_pool, "unix://", world.dir, "/redis.sock?db=1", NULL));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_pstrcat(world.test_pool, "unix://", world.dir, "/none.sock", NULL));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
}

static void passwords(void **state)
{
    sse_session_conf_t conf, open, user;

    world_redis_flush(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    fixture_site(&world, &open, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(fixture_look_up(&world, &open, NULL), SSE_WHO_USER);

    world_redis_command(&world, "ACL SETUSER app on >app-pw ~* +get +pttl");
    fixture_site(
        &world, &user, SSE_ENGINE_CACHE,
        apr_psprintf(world.test_pool, "redis://app:app-pw@127.0.0.1:%d", world.redis_port));
    assert_int_equal(fixture_look_up(&world, &user, NULL), SSE_WHO_USER);
    /* A role that may not ask for the time to live still finds sessions. */
    world_redis_command(&world, "ACL SETUSER app -pttl");
    assert_int_equal(fixture_look_up(&world, &user, NULL), SSE_WHO_USER);
    world_redis_command(&world, "ACL SETUSER app -get");
    assert_int_equal(fixture_look_up(&world, &user, NULL), SSE_WHO_UNAVAILABLE);

    world_redis_command(&world, "CONFIG SET requirepass s3:cret");
    fixture_site(&world, &open, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(fixture_look_up(&world, &open, NULL), SSE_WHO_UNAVAILABLE); /* NOAUTH */
    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_psprintf(world.test_pool, "redis://:wrong@127.0.0.1:%d", world.redis_port));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
    fixture_site(
        &world, &conf, SSE_ENGINE_CACHE,
        apr_psprintf(world.test_pool, "redis://:s3%%3acret@127.0.0.1:%d", world.redis_port));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    world_stop(&world.redis); /* the next start has no password */
    world_start_redis(&world);
}

static void restart(void **state)
{
    sse_session_conf_t conf;

    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url(""));
    world_redis_flush(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    world_stop(&world.redis);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
    world_start_redis(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    /* A server that was replaced between two look-ups costs nothing either. */
    world_stop(&world.redis);
    world_start_redis(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
}

typedef struct worker_t {
    pthread_t thread;
    const sse_session_conf_t *conf;
    int good;
} worker_t;

/* Look-ups as a worker of httpd makes them: a pool of its own for each. */
static void *work(void *arg)
{
    worker_t *w = arg;

    for (int i = 0; i < LOOKUPS; i++) {
        const sse_session_request_t req = {.now = apr_time_now()};
        sse_lookup_t l = {.conf = w->conf, .req = &req};
        sse_loaded_t loaded;

        if (apr_pool_create(&l.pool, NULL) != APR_SUCCESS)
            break;
        if (sse_engine_cache_load(&l, SSE_STR(FIXTURE_KEY), &loaded) == APR_SUCCESS &&
            loaded.data.field[SSE_KEY_USER].type == SSE_FIELD_STRING &&
            sse_str_eq(loaded.data.field[SSE_KEY_USER].s, SSE_STR("1")))
            w->good++;
        apr_pool_destroy(l.pool);
    }
    return NULL;
}

static void threads(void **state)
{
    worker_t workers[THREADS];
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_psprintf(world.test_pool, "redis://localhost:%d", world.redis_port));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker_t){.conf = &conf};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].good, LOOKUPS);
    }
}

/* Names go through the system's resolver; one that is none is a fault that passes. */
static void names(void **state)
{
    sse_session_conf_t conf;
    sse_address_t address[SSE_STORENAMES_MAX];
    sse_storenames_t *n;
    size_t count = 0;

    world_redis_flush(&world);
    world_redis_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_psprintf(world.test_pool, "redis://localhost:%d", world.redis_port));
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_USER);
    fixture_site(&world, &conf, SSE_ENGINE_CACHE, "redis://no-such-host.invalid?timeout=200");
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);

    /* known without asking, even when there is no time left */
    n = sse_storenames_create("::1", "6379", world.test_pool);
    assert_int_equal(sse_storenames_get(n, 0, address, &count), APR_SUCCESS);
    assert_int_equal(count, 1);
    assert_int_equal(address[0].addr.ss_family, AF_INET6);
    sse_storenames_doubt(n);
    assert_int_equal(sse_storenames_get(n, 0, address, &count), APR_SUCCESS);
}

static void wrong_type(void **state)
{
    sse_session_conf_t conf;

    fixture_site(&world, &conf, SSE_ENGINE_CACHE, redis_url(""));
    world_redis_flush(&world);
    world_redis_command(&world, "LPUSH " FIXTURE_CACHE_KEY " a");
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
    world_redis_flush(&world);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
}

/* cached_db asks the database whenever the cache has nothing to say. */
static void cached_db_without_cache(void **state)
{
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, ":1:django.contrib.sessions.cached_db" FIXTURE_KEY,
                    SSE_STR("no pickle"), 0);
    fixture_site(&world, &conf, SSE_ENGINE_CACHED_DB, redis_url(""));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    fixture_site(&world, &conf, SSE_ENGINE_CACHED_DB,
                 apr_psprintf(world.test_pool, "redis://127.0.0.1:%d", world_free_port()));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    world.db_away = true;
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
    world.db_away = false;
}

static void memcached(void **state)
{
    sse_session_conf_t conf;
    sse_identity_t who;

    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_psprintf(world.test_pool, "memcached://127.0.0.1:%d", world.memcached_port));
    world_memcached_flush(&world);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    world_memcached_set(&world, FIXTURE_CACHE_KEY, fixture_pickle(&world), 0);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, 0);
    world_memcached_set(&world, FIXTURE_CACHE_KEY, fixture_packed(&world, fixture_pickle(&world)),
                        100);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_in_range(who.session_expires, apr_time_sec(apr_time_now()) + 97,
                    apr_time_sec(apr_time_now()) + 101);
    world_stop(&world.memcached);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
    world_start_memcached(&world);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
}

/* --- Django's own caches -------------------------------------------------------------------------
 */

static void file_cache(void **state)
{

    const char *dir = world_subdir(&world, "cache"), *name;
    static const unsigned char head[] =
        "\x80\x05\x95\x0a\0\0\0\0\0\0\0G\x41\xda\x18\x55\xa0\0\0\0.";
    sse_session_conf_t conf;
    sse_identity_t who;
    sse_str_t body = fixture_packed(&world, fixture_pickle(&world));
    char *file = apr_palloc(world.test_pool, 22 + body.n);

    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_pstrcat(world.test_pool, "file://", dir, NULL));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    name = world_md5_name(&world, FIXTURE_CACHE_KEY);
    memcpy(file, head, 21);
    memcpy(file + 21, body.p, body.n);
    world_file(&world, dir, name, (sse_str_t){file, 21 + body.n}, 1750000000);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    /* 2^33 s = year 2242: 0x4200000000000000 */
    memcpy(file + 12, "\x42\0\0\0\0\0\0\0", 8);
    world_file(&world, dir, name, (sse_str_t){file, 21 + body.n}, 1750000000);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, INT64_C(1) << 33);
    /* None: never */
    memcpy(file, "\x80\x05N.", 4);
    memcpy(file + 4, body.p, body.n);
    world_file(&world, dir, name, (sse_str_t){file, 4 + body.n}, 1750000000);
    assert_int_equal(fixture_look_up(&world, &conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, 0);
    /* cut off */
    world_file(&world, dir, name, (sse_str_t){file, body.n / 2}, 1750000000);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    world_file(&world, dir, name, SSE_STR(""), 1750000000);
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_ANONYMOUS);
    /* the directory is gone: the store is away */
    fixture_site(&world, &conf, SSE_ENGINE_CACHE,
                 apr_pstrcat(world.test_pool, "file://", dir, "/none", NULL));
    assert_int_equal(fixture_look_up(&world, &conf, NULL), SSE_WHO_UNAVAILABLE);
}

static int open_world(void **state)
{
    fixture_group_begins(state);
    world_start_redis(&world);
    world_start_memcached(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(good_urls),
        fixture_test(bad_urls),
        fixture_test(formats),
        fixture_test(prefix_and_version),
        fixture_test(database_and_socket),
        fixture_test(passwords),
        fixture_test(restart),
        fixture_test(threads),
        fixture_test(names),
        fixture_test(wrong_type),
        fixture_test(cached_db_without_cache),
        fixture_test(memcached),
        fixture_test(file_cache),
    };

    return cmocka_run_group_tests(tests, open_world, fixture_group_ends);
}
