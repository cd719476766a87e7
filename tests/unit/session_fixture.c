/* SPDX-License-Identifier: Apache-2.0 */
/* One user and that user's session; see the header. Runs in the test program's only thread. */
#include "session_fixture.h"

#include "cmocka_all.h"
#include "core/crypto.h"
#include "session/signing.h"

#include <apr_strings.h>
#include <zlib.h>

world_t world;

static const sse_str_t secret = SSE_STR("secret of these tests");

static const char *auth_hash(world_t *w)
{
    unsigned char mac[SSE_DIGEST_MAX];
    char text[2 * SSE_DIGEST_MAX + 1];

    sse_crypto_hex(mac,
                   sse_salted_hmac(
                       SSE_SHA256,
                       SSE_STR("django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"),
                       secret, SSE_STR(FIXTURE_PASSWORD), mac),
                   text);
    return apr_pstrdup(w->pool, text);
}

sse_str_t fixture_json(world_t *w)
{
    return sse_str(
        apr_psprintf(w->pool,
                     "{\"_auth_user_id\": \"1\", \"_auth_user_backend\": \"" FIXTURE_BACKEND
                     "\", \"_auth_user_hash\": \"%s\"}",
                     auth_hash(w)));
}

/* Protocol 2 in its plainest form. */
sse_str_t fixture_pickle(world_t *w)
{
    static const char head[] = "\x80\x02}(X\x0d\0\0\0_auth_user_idX\x01\0\0\0"
                               "1"
                               "X\x12\0\0\0_auth_user_backendX\x29\0\0\0" FIXTURE_BACKEND
                               "X\x0f\0\0\0_auth_user_hashX\x40\0\0\0";
    size_t n = sizeof head - 1;
    char *p = apr_palloc(w->pool, n + 66);

    memcpy(p, head, n);
    memcpy(p + n, auth_hash(w), 64);
    memcpy(p + n + 64, "u.", 2);
    return (sse_str_t){p, n + 66};
}

sse_str_t fixture_packed(world_t *w, sse_str_t plain)
{
    uLongf n = compressBound(plain.n);
    char *p = apr_palloc(w->pool, n);

    assert_int_equal(compress((Bytef *)p, &n, (const Bytef *)plain.p, plain.n), Z_OK);
    return (sse_str_t){p, n};
}

static const char *base64url(world_t *w, sse_str_t s)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *out = apr_palloc(w->test_pool, s.n * 2 + 4);
    size_t k = 0;
    unsigned acc = 0;
    int bits = 0;

    for (size_t i = 0; i < s.n; i++) {
        acc = (acc << 8) | (unsigned char)s.p[i];
        for (bits += 8; bits >= 6;) {
            bits -= 6;
            out[k++] = alphabet[(acc >> bits) & 63];
        }
    }
    if (bits > 0)
        out[k++] = alphabet[(acc << (6 - bits)) & 63];
    out[k] = '\0';
    return out;
}

const char *fixture_signed(world_t *w, const char *salt, sse_str_t payload)
{
    unsigned char mac[SSE_DIGEST_MAX];
    const char *value =
        apr_pstrcat(w->test_pool, base64url(w, payload), ":1uQowS", NULL); /* at 1750000000 */
    size_t n = sse_salted_hmac(SSE_SHA256, sse_str(apr_pstrcat(w->test_pool, salt, "signer", NULL)),
                               secret, sse_str(value), mac);

    return apr_pstrcat(w->test_pool, value, ":", base64url(w, (sse_str_t){(char *)mac, n}), NULL);
}

void fixture_site(world_t *w, sse_session_conf_t *conf, sse_engine_t engine, const char *argument)
{
    *conf = (sse_session_conf_t){.engine = engine,
                                 .argument = argument,
                                 .cookie_name = "sessionid",
                                 .django = &w->django,
                                 .secrets = &secret,
                                 .n_secrets = 1};
    assert_null(sse_engine_argument_problem(engine, argument, w->test_pool));
    assert_int_equal(sse_session_open(conf, w->test_pool), APR_SUCCESS);
}

sse_who_t fixture_look_up(world_t *w, const sse_session_conf_t *conf, sse_identity_t *who)
{
    sse_identity_t own;

    if (!who)
        who = &own;
    world_resolve(w, conf, FIXTURE_COOKIE, apr_time_now(), who);
    return who->who;
}

void fixture_open(world_t *w)
{
    world_open(w);
    fixture_clear(w);
    world_sql(w, "CREATE TABLE auth_user (id integer PRIMARY KEY, password text, is_active bool)");
    world_sql(w, "CREATE TABLE django_session (session_key text PRIMARY KEY, session_data text, "
                 "expire_date text)");
    world_sql(w, "INSERT INTO auth_user VALUES (1, '" FIXTURE_PASSWORD "', 1)");
}

void fixture_clear(world_t *w)
{
    apr_pool_clear(w->test_pool);
    sse_django_defaults(&w->django, w->pool);
    w->django.membership_table = NULL;
}

int fixture_group_begins(void **state)
{
    fixture_open(&world);
    return 0;
}

int fixture_group_ends(void **state)
{
    world_close(&world);
    return 0;
}

int fixture_test_ends(void **state)
{
    fixture_clear(&world);
    return 0;
}
