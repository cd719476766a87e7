/* SPDX-License-Identifier: Apache-2.0 */
/* Every session that real Django made (session_document.h) against the real engines: SQLite through
 * apr_dbd, Redis and memcached servers of the test's own, files. */
#include "session_document.h"
#include "session_world.h"

#include "cmocka_all.h"
#include "session/signing.h"

#include <apr_strings.h>
#include <stdlib.h>

static world_t world;
static const sse_json_t *root;

/* --- one session vector ----------------------------------------------------------------------- */

typedef enum cache_kind_t { IN_REDIS, IN_MEMCACHED, IN_DB, IN_FILES } cache_kind_t;

typedef struct site_t {
    sse_django_t django;
    sse_session_conf_t conf;
    sse_str_t secrets[2];
} site_t;

/* Django 3.2 or a later one, with what the vector's settings say. */
static void make_site(site_t *s, const sse_json_t *vector, bool old)
{
    const sse_json_t *meta = doc_get(root, "meta"), *set = doc_get(vector, "settings");
    const sse_json_t *v;
    const char **backends;

    sse_django_defaults(&s->django, world.test_pool);
    s->django.legacy_sha1 = old;
    s->django.fallback_hash = !old;
    s->conf = (sse_session_conf_t){
        .cookie_name = "sessionid", .django = &s->django, .secrets = s->secrets, .n_secrets = 1};
    s->secrets[0] = sse_json_string(doc_get(meta, "secret_key"));
    if ((v = doc_get(set, "SECRET_KEY")))
        s->secrets[0] = sse_json_string(v);
    if (!old && (v = doc_get(set, "SECRET_KEY_FALLBACKS"))) {
        assert_int_equal(sse_json_count(v), 1);
        s->secrets[1] = sse_json_string(sse_json_at(v, 0));
        s->conf.n_secrets = 2;
    }
    if ((v = doc_get(set, "SESSION_COOKIE_AGE")))
        assert_true(sse_json_int64(v, &s->django.cookie_age));
    if ((v = doc_get(set, "AUTHENTICATION_BACKENDS"))) {
        s->django.n_backends = sse_json_count(v);
        backends = apr_palloc(world.test_pool, s->django.n_backends * sizeof *backends);
        for (size_t i = 0; i < s->django.n_backends; i++)
            backends[i] = apr_pstrmemdup(world.test_pool, sse_json_string(sse_json_at(v, i)).p,
                                         sse_json_string(sse_json_at(v, i)).n);
        s->django.backends = backends;
    }
}

static sse_str_t base64(const sse_json_t *v, const char *name)
{
    sse_str_t out;

    assert_int_equal(
        sse_base64_std_decode(sse_json_string(doc_get(v, name)), world.test_pool, &out),
        APR_SUCCESS);
    return out;
}

static void put(const sse_json_t *st, int64_t now, cache_kind_t kind, const char *dir)
{
    const char *type = doc_str(st, "type");

    if (strcmp(type, "db") == 0) {
        world_sql(&world, "INSERT INTO django_session VALUES (%s, %s, %s)",
                  world_quote(&world, doc_str(st, "session_key")),
                  world_quote(&world, doc_str(st, "session_data")),
                  world_quote(&world, doc_str(st, "expire_date_sqlite")));
    } else if (strcmp(type, "cache") == 0) {
        int64_t left = doc_micros(st, "expires_unix") - now;
        if (left <= 0)
            return; /* a server has forgotten it */
        if (kind == IN_REDIS)
            world_redis_set(&world, doc_str(st, "key"), doc_hex(st, "value_hex"), left / 1000);
        else
            world_memcached_set(&world, doc_str(st, "key"), doc_hex(st, "value_hex"),
                                left / 1000000 > 2592000 ? 2592000 : left / 1000000);
    } else if (strcmp(type, "file") == 0) {
        world_file(&world, dir, doc_str(st, "name"), base64(st, "content_b64"),
                   doc_micros(st, "mtime") / 1000000);
    } else if (strcmp(type, "dbcache") == 0) {
        world_sql(&world, "INSERT INTO my_cache_table VALUES (%s, %s, %s)",
                  world_quote(&world, doc_str(st, "cache_key")),
                  world_quote(&world, doc_str(st, "value")),
                  world_quote(&world, doc_str(st, "expires")));
    } else if (strcmp(type, "filecache") == 0) {
        world_file(&world, dir, doc_str(st, "name"), doc_hex(st, "content_hex"), now / 1000000);
    } else {
        fail_msg("unknown store %s", type);
    }
}

static const char *argument(sse_engine_t engine, const sse_json_t *vector, cache_kind_t *kind,
                            const char *dir)
{
    const char *alias = doc_str(doc_get(vector, "settings"), "SESSION_CACHE_ALIAS");

    if (engine == SSE_ENGINE_FILE)
        return dir;
    if (engine != SSE_ENGINE_CACHE && engine != SSE_ENGINE_CACHED_DB)
        return NULL;
    if (alias && strcmp(alias, "dbcache") == 0) {
        *kind = IN_DB;
        return "db:my_cache_table";
    }
    if (alias && strcmp(alias, "filecache") == 0) {
        *kind = IN_FILES;
        return apr_pstrcat(world.test_pool, "file://", dir, NULL);
    }
    if (*kind == IN_REDIS)
        return apr_psprintf(world.test_pool, "redis://127.0.0.1:%d", world.redis_port);
    return apr_psprintf(world.test_pool, "memcached://127.0.0.1:%d", world.memcached_port);
}

static void check_groups(const char *id, const sse_identity_t *who)
{
    const sse_json_t *users = doc_get(root, "users");

    for (size_t i = 0; i < sse_json_count(users); i++) {
        const sse_json_t *user = sse_json_at(users, i), *names;
        if (strcmp(doc_str(user, "id"), who->user) != 0)
            continue;
        names = doc_get(user, "group_names");
        assert_true(who->groups_known);
        if (who->n_groups != sse_json_count(names))
            fail_msg("%s: %zu groups", id, who->n_groups);
        for (size_t g = 0; g < who->n_groups; g++) {
            sse_str_t name = sse_json_string(sse_json_at(names, g));
            if (!sse_str_eq(name, sse_str(who->groups[g])))
                fail_msg("%s: group %s", id, who->groups[g]);
        }
        return;
    }
    fail_msg("%s: no such user: %s", id, who->user);
}

/* The end that is told: the row's, the signature's, the key's (to a second, the server's clock
 * being another). */
static void check_expiry(const char *id, const sse_json_t *vector, sse_engine_t engine,
                         const sse_identity_t *who)
{
    const sse_json_t *stores = doc_get(vector, "stores");
    const sse_json_t *first = sse_json_count(stores) > 0 ? sse_json_at(stores, 0) : NULL;
    int64_t want = 0;

    if (engine == SSE_ENGINE_DB)
        want = doc_micros(first, "expire_unix") / 1000000;
    else if (engine == SSE_ENGINE_CACHE && strcmp(doc_str(first, "type"), "cache") == 0)
        want = doc_micros(first, "expires_unix") / 1000000;
    else if (engine == SSE_ENGINE_SIGNED_COOKIES &&
             strstr(doc_str(vector, "cookie"), ":1uQowS:")) /* signed at 1750000000 */
        want = 1750000000 + 1209600;
    if (want != 0 && llabs(who->session_expires - want) > (engine == SSE_ENGINE_CACHE ? 2 : 0))
        fail_msg("%s: expires at %lld, not %lld", id, (long long)who->session_expires,
                 (long long)want);
}

static void run_vector(const sse_json_t *vector, const char *want, bool old, cache_kind_t kind)
{
    const char *id = doc_str(vector, "id"), *cookie = doc_str(vector, "cookie"), *dir;
    const sse_json_t *stores = doc_get(vector, "stores");
    int64_t now = doc_micros(vector, "now");
    unsigned char name[SSE_SESSION_HASH_LEN];
    site_t site;
    sse_identity_t who;
    sse_engine_t engine;

    assert_int_equal(sse_engine_parse(doc_str(vector, "engine"), &engine), APR_SUCCESS);
    make_site(&site, vector, old);
    site.conf.engine = engine;
    dir = world_subdir(&world, "files");
    site.conf.argument = argument(engine, vector, &kind, dir);
    assert_null(sse_engine_argument_problem(engine, site.conf.argument, world.test_pool));
    assert_int_equal(sse_session_open(&site.conf, world.test_pool), APR_SUCCESS);

    world_sql(&world, "DELETE FROM django_session");
    world_sql(&world, "DELETE FROM my_cache_table");
    if (engine == SSE_ENGINE_CACHE || engine == SSE_ENGINE_CACHED_DB) {
        world_redis_flush(&world);
        world_memcached_flush(&world);
    }
    for (size_t i = 0; i < sse_json_count(stores); i++)
        put(sse_json_at(stores, i), now, kind, dir);

    if (!cookie)
        cookie = doc_hex(vector, "cookie_hex").p;
    cookie = apr_pstrcat(world.test_pool, "csrftoken=x; sessionid=", cookie, NULL);
    world.db_lent = 0;
    world_resolve(&world, &site.conf, cookie, now, &who);

    if (want ? who.who != SSE_WHO_USER || strcmp(who.user, want) != 0
             : who.who != SSE_WHO_ANONYMOUS)
        fail_msg("%s (Django %s, store %d): got %d %s (%s), expected %s", id,
                 old ? "3.2" : "4.2 or later", kind, who.who, who.user ? who.user : "nobody",
                 who.detail ? who.detail : "", want ? want : "nobody");
    assert_true(world.db_lent <= 1);
    if (want) {
        check_groups(id, &who);
        check_expiry(id, vector, engine, &who);
        assert_true(who.has_session);
        assert_true(sse_session_name(&site.conf, cookie, world.test_pool, name));
        assert_memory_equal(name, who.session, sizeof name);
    }
    apr_pool_clear(world.test_pool);
}

/* What each kind of Django answers: expect_by_version where they differ, an exception there being
 * nobody's business but the page's. */
static const char *wanted(const sse_json_t *vector, const char *version)
{
    const sse_json_t *expect = doc_get(vector, "expect");
    const sse_json_t *by = doc_get(vector, "expect_by_version");
    const sse_json_t *v = doc_get(by, version);

    if (!v || (sse_json_type(v) == SSE_JSON_STRING &&
               strncmp(doc_str(by, version), "exception:", 10) == 0))
        return doc_str(expect, "user_id");
    return doc_str(by, version);
}

static void every_session(void **state)
{
    const sse_json_t *sessions = doc_get(root, "sessions");
    size_t n = sse_json_count(sessions), caches = 0;

    assert_int_equal(n, 198);
    for (size_t i = 0; i < n; i++) {
        const sse_json_t *v = sse_json_at(sessions, i);
        const char *engine = doc_str(v, "engine"), *alias;
        const char *later, *old = wanted(v, "3.2");

        old = old ? apr_pstrdup(world.pool, old) : NULL;
        run_vector(v, old, true, IN_REDIS);
        later = wanted(v, "6.1");
        later = later ? apr_pstrdup(world.pool, later) : NULL;
        run_vector(v, later, false, IN_REDIS);
        engine = doc_str(v, "engine");
        alias = doc_str(doc_get(v, "settings"), "SESSION_CACHE_ALIAS");
        if (strncmp(engine, "cache", 5) == 0 && !alias) {
            run_vector(v, later, false, IN_MEMCACHED);
            caches++;
        }
    }
    assert_int_equal(caches, 59);
}

/* USE_TZ=False: the row holds local time, alive to its last moment and dead at it. */
static void local_time(void **state)
{
    const sse_json_t *v = doc_get(root, "use_tz_false");
    const char *cookie = apr_pstrcat(world.pool, "sessionid=", doc_str(v, "session_key"), NULL);
    int64_t end = doc_micros(v, "true_expire_unix");
    const char *problem = NULL;
    site_t site;
    sse_identity_t who;

    make_site(&site, v, false);
    assert_int_equal(sse_django_read(SSE_STR("{\"use_tz\": false, \"time_zone\": "
                                             "\"America/Chicago\"}"),
                                     world.pool, &site.django, &problem),
                     APR_SUCCESS);
    site.conf.engine = SSE_ENGINE_DB;
    world_sql(&world, "DELETE FROM django_session");
    world_sql(&world, "INSERT INTO django_session VALUES (%s, %s, %s)",
              world_quote(&world, doc_str(v, "session_key")),
              world_quote(&world, doc_str(v, "session_data")),
              world_quote(&world, doc_str(v, "expire_date_sqlite")));
    world_resolve(&world, &site.conf, cookie, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_string_equal(who.user, "1");
    assert_int_equal(who.session_expires, end / 1000000);
    world_resolve(&world, &site.conf, cookie, end, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);

    /* The same row read as UTC is dead five hours earlier. */
    site.django.use_tz = true;
    world_resolve(&world, &site.conf, cookie, end - 1, &who);
    assert_int_equal(who.who, SSE_WHO_ANONYMOUS);
    apr_pool_clear(world.test_pool);
}

static void custom_user(void **state)
{
    const sse_json_t *v = doc_get(root, "custom_user_uuid"), *user = doc_get(v, "user");
    const sse_json_t *row = doc_get(v, "session_row"), *schema = doc_get(v, "schema");
    const sse_json_t *m2m = doc_get(v, "m2m_row");
    const char *cookie, *problem = NULL;
    site_t site;
    sse_identity_t who;
    sse_str_t s;

    make_site(&site, v, false);
    assert_int_equal(
        sse_django_read(SSE_STR("{\"user_table\": \"accounts_customuser\", \"user_pk_type\": "
                                "\"uuid\", \"membership_table\": \"accounts_customuser_groups\", "
                                "\"membership_user\": \"customuser_id\"}"),
                        world.pool, &site.django, &problem),
        APR_SUCCESS);
    site.conf.engine = SSE_ENGINE_DB;
    world_sql(&world, "%s", doc_str(schema, "accounts_customuser"));
    world_sql(&world, "%s", doc_str(schema, "accounts_customuser_groups"));
    world_sql(&world,
              "INSERT INTO accounts_customuser VALUES (%s, NULL, 0, 'uma', '', '', '', 0, 1, "
              "'2025-06-15 15:06:40', '0f8fad5bd9cb469fa16570867728950e')",
              world_quote(&world, doc_str(user, "password")));
    world_sql(&world, "INSERT INTO auth_group VALUES (7, 'uuid-group')");
    s = sse_json_string(sse_json_at(m2m, 1));
    world_sql(&world, "INSERT INTO accounts_customuser_groups VALUES (1, %s, 7)",
              world_quote(&world, apr_pstrmemdup(world.test_pool, s.p, s.n)));
    world_sql(&world, "DELETE FROM django_session");
    world_sql(&world, "INSERT INTO django_session VALUES (%s, %s, %s)",
              world_quote(&world, doc_str(row, "session_key")),
              world_quote(&world, doc_str(row, "session_data")),
              world_quote(&world, doc_str(row, "expire_date")));
    cookie = apr_pstrcat(world.pool, "sessionid=", doc_str(row, "session_key"), NULL);
    world_resolve(&world, &site.conf, cookie, apr_time_from_sec(1750000060), &who);
    assert_int_equal(who.who, SSE_WHO_USER);
    assert_string_equal(who.user, doc_str(v, "session_user_id"));
    assert_int_equal(who.n_groups, 1);
    assert_string_equal(who.groups[0], "uuid-group");
    apr_pool_clear(world.test_pool);
}

static int open_world(void **state)
{
    const sse_json_t *schema, *users, *groups;
    int64_t id;

    world_open(&world);
    root = doc_open(world.pool, world.test_pool);
    world_start_redis(&world);
    world_start_memcached(&world);

    schema = doc_get(root, "sqlite_schema");
    for (size_t i = 0; i < sse_json_count(schema); i++) {
        sse_str_t name, sql = sse_json_string(sse_json_member(schema, i, &name));
        world_sql(&world, "%.*s", (int)sql.n, sql.p);
    }
    groups = doc_get(root, "groups");
    for (size_t i = 0; i < sse_json_count(groups); i++) {
        const sse_json_t *g = sse_json_at(groups, i);
        assert_true(sse_json_int64(doc_get(g, "id"), &id));
        world_sql(&world, "INSERT INTO auth_group VALUES (%lld, %s)", (long long)id,
                  world_quote(&world, doc_str(g, "name")));
    }
    users = doc_get(root, "users");
    for (size_t i = 0; i < sse_json_count(users); i++) {
        const sse_json_t *u = sse_json_at(users, i), *ids = doc_get(u, "group_ids");
        world_sql(&world,
                  "INSERT INTO auth_user VALUES (%s, %s, NULL, 0, %s, '', '', 0, %d, "
                  "'2025-06-15 15:06:40', '')",
                  doc_str(u, "id"), world_quote(&world, doc_str(u, "password")),
                  world_quote(&world, doc_str(u, "username")),
                  sse_json_bool(doc_get(u, "is_active")));
        for (size_t k = 0; k < sse_json_count(ids); k++) {
            assert_true(sse_json_int64(sse_json_at(ids, k), &id));
            world_sql(&world, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (%s, %lld)",
                      doc_str(u, "id"), (long long)id);
        }
    }
    apr_pool_clear(world.test_pool);
    return 0;
}

static int close_world(void **state)
{
    doc_close();
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_session),
        cmocka_unit_test(local_time),
        cmocka_unit_test(custom_user),
    };

    return cmocka_run_group_tests(tests, open_world, close_world);
}
