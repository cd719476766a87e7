/* SPDX-License-Identifier: Apache-2.0 */
/* Cache stores: the URLs that name them, real servers in every state, and servers that answer
 * nonsense, too much, too slowly or not at all: the look-up is then unavailable within its
 * time-out, and well again without a restart. */
#include "session_world.h"

#include "cmocka_all.h"
#include "core/crypto.h"
#include "session/signing.h"
#include "session/store.h"

#include <apr_strings.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define KEY "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define COOKIE "sessionid=" KEY
#define CACHE_KEY ":1:django.contrib.sessions.cache" KEY
#define PASSWORD "pbkdf2_sha256$1$salt$hash"
#define BACKEND "django.contrib.auth.backends.ModelBackend"

static world_t world;
static const sse_str_t secret = SSE_STR("secret of these tests");

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
    assert_non_null(sse_engine_argument_problem(SSE_ENGINE_DB, "x", world.test_pool));
    assert_null(sse_engine_argument_problem(SSE_ENGINE_DB, NULL, world.test_pool));
}

/* --- look-ups ------------------------------------------------------------------------------------
 */

static const char *auth_hash(void)
{
    unsigned char mac[SSE_DIGEST_MAX];
    char text[2 * SSE_DIGEST_MAX + 1];

    sse_crypto_hex(mac,
                   sse_salted_hmac(
                       SSE_SHA256,
                       SSE_STR("django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"),
                       secret, SSE_STR(PASSWORD), mac),
                   text);
    return apr_pstrdup(world.pool, text);
}

static sse_str_t session_json(void)
{
    return sse_str(apr_psprintf(world.pool,
                                "{\"_auth_user_id\": \"1\", \"_auth_user_backend\": \"" BACKEND
                                "\", \"_auth_user_hash\": \"%s\"}",
                                auth_hash()));
}

/* Protocol 2 in its plainest form. */
static sse_str_t session_pickle(void)
{
    static const char head[] =
        "\x80\x02}(X\x0d\0\0\0_auth_user_idX\x01\0\0\0"
        "1"
        "X\x12\0\0\0_auth_user_backendX\x29\0\0\0" BACKEND "X\x0f\0\0\0_auth_user_hashX\x40\0\0\0";
    size_t n = sizeof head - 1;
    char *p = apr_palloc(world.pool, n + 66);

    memcpy(p, head, n);
    memcpy(p + n, auth_hash(), 64);
    memcpy(p + n + 64, "u.", 2);
    return (sse_str_t){p, n + 66};
}

static sse_str_t packed(sse_str_t plain)
{
    uLongf n = compressBound(plain.n);
    char *p = apr_palloc(world.pool, n);

    assert_int_equal(compress((Bytef *)p, &n, (const Bytef *)plain.p, plain.n), Z_OK);
    return (sse_str_t){p, n};
}

static sse_django_t django;

/* One look-up of COOKIE in the cache at the URL; `who` may be NULL. Fails if it takes longer than a
 * quarter more than its time-out. */
static sse_who_t look_up(sse_session_conf_t *conf, sse_identity_t *who)
{
    sse_identity_t own;

    world_resolve(&world, conf, COOKIE, apr_time_now(), who ? who : &own);
    return (who ? who : &own)->who;
}

static void site(sse_session_conf_t *conf, sse_engine_t engine, const char *url)
{
    *conf = (sse_session_conf_t){.engine = engine,
                                 .argument = url,
                                 .cookie_name = "sessionid",
                                 .django = &django,
                                 .secrets = &secret,
                                 .n_secrets = 1};
    assert_null(sse_engine_argument_problem(engine, url, world.test_pool));
    assert_int_equal(sse_session_open(conf, world.test_pool), APR_SUCCESS);
}

static const char *redis_url(const char *rest)
{
    return apr_psprintf(world.test_pool, "redis://127.0.0.1:%d%s", world.redis_port, rest);
}

static void formats(void **state)
{
    sse_session_conf_t conf;
    sse_identity_t who;

    site(&conf, SSE_ENGINE_CACHE, redis_url(""));
    world_redis_flush(&world);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);

    world_redis_set(&world, CACHE_KEY, session_pickle(), 60000);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_USER);
    assert_string_equal(who.user, "1");
    assert_in_range(who.session_expires, apr_time_sec(apr_time_now()) + 57,
                    apr_time_sec(apr_time_now()) + 61);
    world_redis_set(&world, CACHE_KEY, packed(session_pickle()), 0);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, 0); /* a key without end */
    world_redis_set(&world, CACHE_KEY, session_json(), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    world_redis_set(&world, CACHE_KEY, packed(session_json()), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);

    world_redis_set(&world, CACHE_KEY, SSE_STR("\x1f\x8b\x08 gzip"), 0);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_ANONYMOUS);
    assert_non_null(strstr(who.detail, "format"));
    world_redis_set(&world, CACHE_KEY, SSE_STR("\x83\xa1 msgpack"), 0);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_ANONYMOUS);
    assert_non_null(strstr(who.detail, "format"));
    world_redis_set(&world, CACHE_KEY, SSE_STR("12345"), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    world_redis_set(&world, CACHE_KEY, SSE_STR(""), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
}

static void prefix_and_version(void **state)
{
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, "mysite:2:django.contrib.sessions.cache" KEY, session_pickle(), 0);
    site(&conf, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    site(&conf, SSE_ENGINE_CACHE, redis_url("?prefix=mysite&version=2"));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    site(&conf, SSE_ENGINE_CACHE, redis_url("?prefix=mysite"));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);

    /* The whole prefix by SSEDjangoConfig, for a KEY_FUNCTION of the site's own. */
    django.cache_prefix = "mysite:2:django.contrib.sessions.cache";
    site(&conf, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    django.cache_prefix = ":1:django.contrib.sessions.cache";

    world_redis_set(&world, ":3:django.contrib.sessions.cached_db" KEY, session_pickle(), 0);
    site(&conf, SSE_ENGINE_CACHED_DB, redis_url("?version=3"));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
}

static void database_and_socket(void **state)
{
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, CACHE_KEY, session_pickle(), 0);
    site(&conf, SSE_ENGINE_CACHE, redis_url("/1"));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    site(&conf, SSE_ENGINE_CACHE, redis_url("/0"));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    /* A database that the server does not have is a fault, not an absent session. */
    site(&conf, SSE_ENGINE_CACHE, redis_url("/4096"));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);

    site(&conf, SSE_ENGINE_CACHE,
         apr_pstrcat(world.test_pool, "unix://", world.dir, "/redis.sock", NULL));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    site(&conf, SSE_ENGINE_CACHE,
         apr_pstrcat(world.test_pool, "unix://", world.dir, "/redis.sock?db=1", NULL));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    site(&conf, SSE_ENGINE_CACHE,
         apr_pstrcat(world.test_pool, "unix://", world.dir, "/none.sock", NULL));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
}

static void passwords(void **state)
{
    sse_session_conf_t conf, open, user;

    world_redis_flush(&world);
    world_redis_set(&world, CACHE_KEY, session_pickle(), 0);
    site(&open, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(look_up(&open, NULL), SSE_WHO_USER);

    world_redis_command(&world, "ACL SETUSER app on >app-pw ~* +get +pttl");
    site(&user, SSE_ENGINE_CACHE,
         apr_psprintf(world.test_pool, "redis://app:app-pw@127.0.0.1:%d", world.redis_port));
    assert_int_equal(look_up(&user, NULL), SSE_WHO_USER);
    /* A role that may not ask for the time to live still finds sessions. */
    world_redis_command(&world, "ACL SETUSER app -pttl");
    assert_int_equal(look_up(&user, NULL), SSE_WHO_USER);
    world_redis_command(&world, "ACL SETUSER app -get");
    assert_int_equal(look_up(&user, NULL), SSE_WHO_UNAVAILABLE);

    world_redis_command(&world, "CONFIG SET requirepass s3:cret");
    site(&open, SSE_ENGINE_CACHE, redis_url(""));
    assert_int_equal(look_up(&open, NULL), SSE_WHO_UNAVAILABLE); /* NOAUTH */
    site(&conf, SSE_ENGINE_CACHE,
         apr_psprintf(world.test_pool, "redis://:wrong@127.0.0.1:%d", world.redis_port));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
    site(&conf, SSE_ENGINE_CACHE,
         apr_psprintf(world.test_pool, "redis://:s3%%3acret@127.0.0.1:%d", world.redis_port));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    world_stop(&world.redis); /* the next start has no password */
    world_start_redis(&world);
}

static void restart(void **state)
{
    sse_session_conf_t conf;

    site(&conf, SSE_ENGINE_CACHE, redis_url(""));
    world_redis_flush(&world);
    world_redis_set(&world, CACHE_KEY, session_pickle(), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    world_stop(&world.redis);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
    world_start_redis(&world);
    world_redis_set(&world, CACHE_KEY, session_pickle(), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
    /* A server that was replaced between two look-ups costs nothing either. */
    world_stop(&world.redis);
    world_start_redis(&world);
    world_redis_set(&world, CACHE_KEY, session_pickle(), 0);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_USER);
}

static void wrong_type(void **state)
{
    sse_session_conf_t conf;

    site(&conf, SSE_ENGINE_CACHE, redis_url(""));
    world_redis_flush(&world);
    world_redis_command(&world, "LPUSH " CACHE_KEY " a");
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
    world_redis_flush(&world);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
}

/* cached_db asks the database whenever the cache has nothing to say. */
static void cached_db_without_cache(void **state)
{
    sse_session_conf_t conf;

    world_redis_flush(&world);
    world_redis_set(&world, ":1:django.contrib.sessions.cached_db" KEY, SSE_STR("no pickle"), 0);
    site(&conf, SSE_ENGINE_CACHED_DB, redis_url(""));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    site(&conf, SSE_ENGINE_CACHED_DB,
         apr_psprintf(world.test_pool, "redis://127.0.0.1:%d", world_free_port()));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    world.db_away = true;
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
    world.db_away = false;
}

static void memcached(void **state)
{
    sse_session_conf_t conf;
    sse_identity_t who;

    site(&conf, SSE_ENGINE_CACHE,
         apr_psprintf(world.test_pool, "memcached://127.0.0.1:%d", world.memcached_port));
    world_memcached_flush(&world);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    world_memcached_set(&world, CACHE_KEY, session_pickle(), 0);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, 0);
    world_memcached_set(&world, CACHE_KEY, packed(session_pickle()), 100);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_USER);
    assert_in_range(who.session_expires, apr_time_sec(apr_time_now()) + 97,
                    apr_time_sec(apr_time_now()) + 101);
    world_stop(&world.memcached);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
    world_start_memcached(&world);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
}

/* --- servers that misbehave ----------------------------------------------------------------------
 */

typedef struct rogue_t {
    int listener, port, stop[2];
    const char *answer;
    size_t n;
    size_t times; /* the answer is sent so often */
    bool drip;    /* a byte each 20 ms */
    bool hang;    /* keep the connection afterwards, else close */
    pthread_t thread;
} rogue_t;

/* True when the test is over, or after so many milliseconds. */
static bool stopped(const rogue_t *r, int ms)
{
    struct pollfd p = {.fd = r->stop[0], .events = POLLIN};
    return poll(&p, 1, ms) != 0;
}

static void answer(const rogue_t *r, int fd)
{
    char buf[4096];

    if (recv(fd, buf, sizeof buf, 0) <= 0)
        return;
    for (size_t t = 0; t < r->times; t++) {
        for (size_t done = 0; done < r->n;) {
            size_t step = r->drip ? 1 : r->n - done;
            ssize_t k = send(fd, r->answer + done, step, MSG_NOSIGNAL);
            if (k <= 0 || (r->drip && stopped(r, 20)))
                return;
            done += (size_t)k;
        }
    }
    if (r->hang)
        stopped(r, -1);
}

static void *rogue_main(void *arg)
{
    rogue_t *r = arg;

    for (;;) {
        struct pollfd p[2] = {{.fd = r->listener, .events = POLLIN},
                              {.fd = r->stop[0], .events = POLLIN}};
        int fd;

        poll(p, 2, -1);
        if (p[1].revents)
            return NULL;
        fd = accept(r->listener, NULL, NULL);
        if (fd < 0)
            continue;
        answer(r, fd);
        close(fd);
    }
}

static void rogue_start(rogue_t *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET};

    r->port = world_free_port();
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons((uint16_t)r->port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(r->listener, 16), 0);
    assert_int_equal(pipe(r->stop), 0);
    assert_int_equal(pthread_create(&r->thread, NULL, rogue_main, r), 0);
}

static void rogue_stop(rogue_t *r)
{
    close(r->stop[1]);
    pthread_join(r->thread, NULL);
    close(r->stop[0]);
    close(r->listener);
}

/* Unavailable (or, for a value that is merely too large, nobody), in time. */
static void expect_refusal(const char *scheme, rogue_t rogue, sse_who_t want)
{
    sse_session_conf_t conf;
    apr_time_t began;
    sse_who_t got;

    if (rogue.times == 0)
        rogue.times = 1;
    rogue_start(&rogue);
    site(&conf, SSE_ENGINE_CACHE,
         apr_psprintf(world.test_pool, "%s://127.0.0.1:%d?timeout=300", scheme, rogue.port));
    began = apr_time_now();
    got = look_up(&conf, NULL);
    if (got != want)
        fail_msg("%s, answer \"%.20s\": got %d", scheme, rogue.answer, got);
    assert_true(apr_time_now() - began < apr_time_from_sec(2));
    rogue_stop(&rogue);
}

#define CANNED(text) .answer = (text), .n = sizeof(text) - 1

static void rogue_redis(void **state)
{
    static const rogue_t garbage[] = {
        {CANNED("")},                            /* closes at once */
        {CANNED(""), .hang = true},              /* never answers */
        {CANNED("$10000\r\nabc"), .hang = true}, /* half an answer */
        {CANNED("$10000\r\nabc")},
        {CANNED("HTTP/1.1 400 Bad Request\r\n\r\n")},
        {CANNED("*1000000000\r\n"), .hang = true}, /* room for 10^9 elements */
        {CANNED("%1000000000\r\n"), .hang = true},
        {CANNED("$-1\r\n*1000000000\r\n"), .hang = true},
        {CANNED("-LOADING Redis is loading the dataset in memory\r\n:-2\r\n")},
        {CANNED("+OK\r\n:1\r\n")},
        {CANNED(":1\r\n:1\r\n")},
        {CANNED("$-1\r\n:-2\r\n"), .drip = true, .hang = true, .times = 1},
    };

    for (size_t i = 0; i + 1 < SSE_ARRAY_LEN(garbage); i++)
        expect_refusal("redis", garbage[i], SSE_WHO_UNAVAILABLE);
    /* Slow, but whole within the time. */
    expect_refusal("redis", garbage[SSE_ARRAY_LEN(garbage) - 1], SSE_WHO_ANONYMOUS);
    /* Slower than the whole time allows, though each byte comes soon. */
    expect_refusal(
        "redis",
        (rogue_t){CANNED("$1000\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), .drip = true},
        SSE_WHO_UNAVAILABLE);
    /* Endless: broken off at the limit. */
    {
        static char much[65536] = "$2000000000\r\n";
        memset(much + 13, 'x', sizeof much - 13);
        expect_refusal("redis", (rogue_t){.answer = much, .n = sizeof much, .times = 1000},
                       SSE_WHO_ANONYMOUS);
    }
}

static void rogue_memcached(void **state)
{
    static const rogue_t garbage[] = {
        {CANNED("")},
        {CANNED(""), .hang = true},
        {CANNED("VA 5 t-1\r\nhel"), .hang = true},
        {CANNED("VA 5 t-1\r\nhelloXX\r\n")},
        {CANNED("VA -5 t-1\r\n")},
        {CANNED("VA x\r\n")},
        {CANNED("VA 3 tx\r\nabc\r\n")},
        {CANNED("SERVER_ERROR out of memory\r\n")},
        {CANNED("\n")},
        {CANNED("no line end, "), .times = 1000},
        {CANNED("VA 5 t-1\r\nhello\r\n"), .drip = true, .times = 10},
    };

    for (size_t i = 0; i + 1 < SSE_ARRAY_LEN(garbage); i++)
        expect_refusal("memcached", garbage[i], SSE_WHO_UNAVAILABLE);
    expect_refusal("memcached", (rogue_t){CANNED("VA 2000000000 t-1\r\n"), .hang = true},
                   SSE_WHO_ANONYMOUS);
    expect_refusal("memcached", (rogue_t){CANNED("EN\r\n")}, SSE_WHO_ANONYMOUS);
    /* A server without meta commands says ERROR; what it then says to "get" is taken. */
    expect_refusal("memcached", (rogue_t){CANNED("ERROR\r\nEND\r\n"), .hang = true},
                   SSE_WHO_ANONYMOUS);
    expect_refusal("memcached", (rogue_t){CANNED("ERROR\r\nERROR\r\n"), .hang = true},
                   SSE_WHO_UNAVAILABLE);
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
    sse_str_t body = packed(session_pickle());
    char *file = apr_palloc(world.test_pool, 22 + body.n);

    site(&conf, SSE_ENGINE_CACHE, apr_pstrcat(world.test_pool, "file://", dir, NULL));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    name = world_md5_name(&world, CACHE_KEY);
    memcpy(file, head, 21);
    memcpy(file + 21, body.p, body.n);
    world_file(&world, dir, name, (sse_str_t){file, 21 + body.n}, 1750000000);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    /* 2^33 s = year 2242: 0x4200000000000000 */
    memcpy(file + 12, "\x42\0\0\0\0\0\0\0", 8);
    world_file(&world, dir, name, (sse_str_t){file, 21 + body.n}, 1750000000);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, INT64_C(1) << 33);
    /* None: never */
    memcpy(file, "\x80\x05N.", 4);
    memcpy(file + 4, body.p, body.n);
    world_file(&world, dir, name, (sse_str_t){file, 4 + body.n}, 1750000000);
    assert_int_equal(look_up(&conf, &who), SSE_WHO_USER);
    assert_int_equal(who.session_expires, 0);
    /* cut off */
    world_file(&world, dir, name, (sse_str_t){file, body.n / 2}, 1750000000);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    world_file(&world, dir, name, SSE_STR(""), 1750000000);
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_ANONYMOUS);
    /* the directory is gone: the store is away */
    site(&conf, SSE_ENGINE_CACHE, apr_pstrcat(world.test_pool, "file://", dir, "/none", NULL));
    assert_int_equal(look_up(&conf, NULL), SSE_WHO_UNAVAILABLE);
}

static int open_world(void **state)
{
    world_open(&world);
    world_start_redis(&world);
    world_start_memcached(&world);
    sse_django_defaults(&django, world.pool);
    django.membership_table = NULL;
    world_sql(&world, "CREATE TABLE auth_user (id integer PRIMARY KEY, password text, is_active "
                      "bool)");
    world_sql(&world, "CREATE TABLE django_session (session_key text PRIMARY KEY, session_data "
                      "text, expire_date text)");
    world_sql(&world, "INSERT INTO auth_user VALUES (1, '" PASSWORD "', 1)");
    return 0;
}

static int close_world(void **state)
{
    world_close(&world);
    return 0;
}

static int clear_test(void **state)
{
    apr_pool_clear(world.test_pool);
    sse_django_defaults(&django, world.pool);
    django.membership_table = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(good_urls, clear_test),
        cmocka_unit_test_teardown(bad_urls, clear_test),
        cmocka_unit_test_teardown(formats, clear_test),
        cmocka_unit_test_teardown(prefix_and_version, clear_test),
        cmocka_unit_test_teardown(database_and_socket, clear_test),
        cmocka_unit_test_teardown(passwords, clear_test),
        cmocka_unit_test_teardown(restart, clear_test),
        cmocka_unit_test_teardown(wrong_type, clear_test),
        cmocka_unit_test_teardown(cached_db_without_cache, clear_test),
        cmocka_unit_test_teardown(memcached, clear_test),
        cmocka_unit_test_teardown(rogue_redis, clear_test),
        cmocka_unit_test_teardown(rogue_memcached, clear_test),
        cmocka_unit_test_teardown(file_cache, clear_test),
    };

    return cmocka_run_group_tests(tests, open_world, close_world);
}
