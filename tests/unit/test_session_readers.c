/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of a session's bytes where the vectors do not reach: bounds of pickle and JSON,
 * inflating at its cap, base64 and base62, cookies, and what a session key may be. */
#include "cmocka_all.h"

#include "core/buf.h"
#include "session/cookie.h"
#include "session/inflate.h"
#include "session/lookup.h"
#include "session/pickle.h"
#include "session/signing.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <zlib.h>

static apr_pool_t *pool;

/* --- pickle --------------------------------------------------------------------------------------
 */

static apr_status_t pickle(sse_str_t bytes, sse_session_data_t *out)
{
    /* A copy of exactly that size: a sanitizer sees a read behind it. */
    char *copy = malloc(bytes.n ? bytes.n : 1);
    sse_session_data_t own;
    apr_status_t rv;

    memcpy(copy, bytes.p, bytes.n);
    rv = sse_pickle_read((sse_str_t){copy, bytes.n}, pool, out ? out : &own);
    free(copy);
    return rv;
}

static void pickle_refuses(void **state)
{
#define P(text)                                                                                    \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
    static const sse_str_t bad[] = {
        P("\x80\x05}Q."),                 /* BINPERSID */
        P("\x80\x05Pid\n."),              /* PERSID */
        P("\x80\x05(ios\nsystem\n."),     /* INST */
        P("\x80\x05(o."),                 /* OBJ */
        P("\x80\x05\x82\x01."),           /* EXT1 */
        P("\x80\x05\x83\x01\x00."),       /* EXT2 */
        P("\x80\x05\x84\x01\0\0\0."),     /* EXT4 */
        P("\x80\x05\x97."),               /* NEXT_BUFFER */
        P("\x80\x05}\x98."),              /* READONLY_BUFFER */
        P("\x80\x05}}b."),                /* BUILD on a dict */
        P("\x80\x05}(."),                 /* a mark on top */
        P("\x80\x05(}s."),                /* SETITEM over a mark */
        P("\x80\x05}N(s."),               /* the same */
        P("\x80\x05}(Nu."),               /* an odd number of items */
        P("\x80\x05(Nu."),                /* no container */
        P("\x80\x05(2."),                 /* DUP of a mark */
        P("\x80\x05(\x94."),              /* MEMOIZE of a mark */
        P("\x80\x05\x85."),               /* TUPLE1 of nothing */
        P("\x80\x05N\x86."),              /* TUPLE2 of one */
        P("\x80\x05N\x93."),              /* STACK_GLOBAL of one */
        P("\x80\x05}q\x05."),             /* a memo with a gap */
        P("\x80\x05}h\x00."),             /* nothing in the memo */
        P("\x80\x05}r\x00\x00\x00\x80."), /* index 2^31 */
        P("\x80\x05}p-1\n."),
        P("\x80\x05}p99999999999999999999\n."),
        P("\x80\x05}."
          "."), /* something behind */
        P("\x80\x05."),
        P("\x80\x05]."),
        P("\x80\x05N."),
        P("\x80\x05\x8c\x05"
          "abcd."), /* a string beyond the end */
        P("\x80\x05Xabcd."),
        P("\x80\x05\x95\x02\0\0\0\0\0\0\0}."
          "x"),
        P("\x80\x05\x95\x03\0\0\0\0\0\0\0}."), /* FRAME beyond the end */
        P("\x80\x05\x8b\xff\xff\xff\xff."),
        P("\x80\x05V no end"),
        P("\x80\x05S'no quote\n."),
        P("\x80\x05"
          "0."), /* POP of nothing */
        P("\x80\x05"
          "1."), /* POP_MARK of nothing */
        P("}\x80"),
        P("\x80"),
        P(""),
    };

    for (size_t i = 0; i < SSE_ARRAY_LEN(bad); i++)
        if (pickle(bad[i], NULL) != APR_EINVAL)
            fail_msg("case %zu was taken", i);
}

static void pickle_takes(void **state)
{
    static const struct {
        sse_str_t bytes;
        sse_field_type_t type; /* of _auth_user_id */
        int64_t i;
    } good[] = {
        {P("}."), SSE_FIELD_ABSENT, 0},
        {P("\x80\x05}}."), SSE_FIELD_ABSENT, 0}, /* what lies below the top is nobody's */
        {P("}(U\x0d_auth_user_idK\x07u."), SSE_FIELD_INT, 7},
        {P("}U\x0d_auth_user_idM\x01\x02s."), SSE_FIELD_INT, 513},
        {P("}U\x0d_auth_user_idJ\xff\xff\xff\xffs."), SSE_FIELD_INT, -1},
        {P("}U\x0d_auth_user_id\x8a\x00s."), SSE_FIELD_INT, 0},
        {P("}U\x0d_auth_user_id\x8a\x01\xffs."), SSE_FIELD_INT, -1},
        {P("}U\x0d_auth_user_id\x8a\x03\x00\x00\x01s."), SSE_FIELD_INT, 65536},
        {P("}U\x0d_auth_user_id\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fs."), SSE_FIELD_INT,
         INT64_MAX},
        {P("}U\x0d_auth_user_id\x8a\x09\0\0\0\0\0\0\0\0\x01s."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_idI12\ns."), SSE_FIELD_INT, 12},
        {P("}U\x0d_auth_user_idI01\ns."), SSE_FIELD_OTHER, 0}, /* True */
        {P("}U\x0d_auth_user_idL12L\ns."), SSE_FIELD_INT, 12},
        {P("}U\x0d_auth_user_idG\0\0\0\0\0\0\0\0s."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_idF1.5\ns."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_idNs."), SSE_FIELD_NULL, 0},
        {P("}U\x0d_auth_user_id\x88s."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_id]s."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_id}s."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_idC\x01xs."), SSE_FIELD_OTHER, 0},
        {P("}U\x0d_auth_user_idK\x01sU\x0d_auth_user_idK\x02s."), SSE_FIELD_INT, 2},
        {P("(U\x0d_auth_user_idK\x05"
           "d."),
         SSE_FIELD_INT, 5},
        {P("}(K\x01K\x02u."), SSE_FIELD_ABSENT, 0},
        {P("}U\x01xcos\nsystem\n(U\x02idtRs."), SSE_FIELD_ABSENT, 0},
        {P("}U\x01xcos\nsystem\n)\x81}bs."), SSE_FIELD_ABSENT, 0},
    };

    for (size_t i = 0; i < SSE_ARRAY_LEN(good); i++) {
        sse_session_data_t d;
        if (pickle(good[i].bytes, &d) != APR_SUCCESS)
            fail_msg("case %zu was refused", i);
        if (d.field[SSE_KEY_USER].type != good[i].type || d.field[SSE_KEY_USER].i != good[i].i)
            fail_msg("case %zu: type %d, %lld", i, d.field[SSE_KEY_USER].type,
                     (long long)d.field[SSE_KEY_USER].i);
    }
}

/* head, `unit` n times, tail */
static sse_str_t repeated(sse_str_t head, sse_str_t unit, size_t n, sse_str_t tail)
{
    sse_buf_t b = {0};
    sse_str_t out;

    sse_buf_str(&b, head);
    for (size_t i = 0; i < n; i++)
        sse_buf_str(&b, unit);
    sse_buf_str(&b, tail);
    out = (sse_str_t){apr_pmemdup(pool, b.p, b.n), b.n};
    sse_buf_clear(&b);
    return out;
}

static void pickle_bounds(void **state)
{
    /* the dict, and n more on the stack */
    assert_int_equal(
        pickle(repeated(SSE_STR("}"), SSE_STR("}"), SSE_PICKLE_STACK_MAX - 1, SSE_STR(".")), NULL),
        APR_SUCCESS);
    assert_int_equal(
        pickle(repeated(SSE_STR("}"), SSE_STR("}"), SSE_PICKLE_STACK_MAX, SSE_STR(".")), NULL),
        APR_EINVAL);
    assert_int_equal(
        pickle(repeated(SSE_STR("}"), SSE_STR("\x94"), SSE_PICKLE_MEMO_MAX, SSE_STR(".")), NULL),
        APR_SUCCESS);
    assert_int_equal(
        pickle(repeated(SSE_STR("}"), SSE_STR("\x94"), SSE_PICKLE_MEMO_MAX + 1, SSE_STR(".")),
               NULL),
        APR_EINVAL);
    /* dicts that hold one of the keys */
    assert_int_equal(
        pickle(repeated((sse_str_t){"U\x0d_auth_user_idq\0"
                                    "0",
                                    18},
                        (sse_str_t){"}h\0Ns0", 6}, SSE_PICKLE_DICTS_MAX, SSE_STR("}.")),
               NULL),
        APR_SUCCESS);
    assert_int_equal(
        pickle(repeated((sse_str_t){"U\x0d_auth_user_idq\0"
                                    "0",
                                    18},
                        (sse_str_t){"}h\0Ns0", 6}, SSE_PICKLE_DICTS_MAX + 1, SSE_STR("}.")),
               NULL),
        APR_EINVAL);
    /* steps: N and POP in turn */
    assert_int_equal(
        pickle(repeated(SSE_STR("}"), SSE_STR("N0"), (SSE_PICKLE_STEPS_MAX - 2) / 2, SSE_STR(".")),
               NULL),
        APR_SUCCESS);
    /* bytes */
    assert_int_equal(
        pickle(repeated(SSE_STR("}"), SSE_STR("N0"), SSE_SESSION_DATA_MAX / 2, SSE_STR(".")), NULL),
        APR_EINVAL);
}

/* --- JSON ----------------------------------------------------------------------------------------
 */

static void json_takes_and_refuses(void **state)
{
    static const char *const good[] = {
        "{}",
        " { } ",
        "{\"a\":[1,-0,0.5,1e9,1E-9,NaN,Infinity,-Infinity,true,false,null,\"\",[],{}]}",
        "{\"a\":{\"b\":[{\"c\":[]}]},\"d\":\"\\\"\\\\\\/"
        "\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\\ud800\"}",
        "{\"\":1,\"a\":\"\\ud800\\u0041\"}",
    };
    static const char *const bad[] = {
        "",
        "[]",
        "1",
        "\"a\"",
        "{",
        "}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 2}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":nan}",
        "{\"a\":[1,]}",
        "{\"a\":[}",
        "{\"a\":]}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\ud800\\u12\"}",
        "{} x",
        "{}{}",
        "{\"a\":tru}",
        "\xef\xbb\xbf{}",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\" 1}",
    };
    sse_session_data_t d;

    for (size_t i = 0; i < SSE_ARRAY_LEN(good); i++)
        if (sse_session_json_read(sse_str(good[i]), pool, &d) != APR_SUCCESS)
            fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < SSE_ARRAY_LEN(bad); i++)
        if (sse_session_json_read(sse_str(bad[i]), pool, &d) != APR_EINVAL)
            fail_msg("%s was taken", bad[i]);
}

static void json_fields(void **state)
{
    sse_session_data_t d;

    assert_int_equal(
        sse_session_json_read(
            SSE_STR("{\"_auth_user_id\": \"\xe9\\u00e9\\ud83d\\ude00\", \"_session_expiry\": "
                    "-300, \"_auth_user_backend\": {\"_auth_user_id\": 1}, \"_auth_user_hash\": "
                    "null}"),
            pool, &d),
        APR_SUCCESS);
    assert_int_equal(d.field[SSE_KEY_USER].type, SSE_FIELD_STRING);
    assert_str(d.field[SSE_KEY_USER].s, "\xc3\xa9\xc3\xa9\xf0\x9f\x98\x80");
    assert_int_equal(d.field[SSE_KEY_EXPIRY].i, -300);
    assert_int_equal(d.field[SSE_KEY_BACKEND].type, SSE_FIELD_OTHER);
    assert_int_equal(d.field[SSE_KEY_HASH].type, SSE_FIELD_NULL);

    assert_int_equal(
        sse_session_json_read(SSE_STR("{\"_session_expiry\": 9223372036854775808}"), pool, &d),
        APR_SUCCESS);
    assert_int_equal(d.field[SSE_KEY_EXPIRY].type, SSE_FIELD_OTHER);
    assert_int_equal(sse_session_json_read(SSE_STR("{\"_session_expiry\": 1.0}"), pool, &d),
                     APR_SUCCESS);
    assert_int_equal(d.field[SSE_KEY_EXPIRY].type, SSE_FIELD_OTHER);
    /* a later container takes an earlier string's place */
    assert_int_equal(
        sse_session_json_read(SSE_STR("{\"_auth_user_id\":\"1\",\"_auth_user_id\":[]}"), pool, &d),
        APR_SUCCESS);
    assert_int_equal(d.field[SSE_KEY_USER].type, SSE_FIELD_OTHER);
}

static void json_bounds(void **state)
{
    sse_session_data_t d;
    sse_str_t long_id;

    assert_int_equal(
        sse_session_json_read(repeated(SSE_STR("{\"a\":"), SSE_STR("["), 999,
                                       repeated(SSE_STR(""), SSE_STR("]"), 999, SSE_STR("}"))),
                              pool, &d),
        APR_SUCCESS);
    assert_int_equal(
        sse_session_json_read(repeated(SSE_STR("{\"a\":"), SSE_STR("["), 1000,
                                       repeated(SSE_STR(""), SSE_STR("]"), 1000, SSE_STR("}"))),
                              pool, &d),
        APR_EINVAL);
    long_id = repeated(SSE_STR("{\"_auth_user_id\":\""), SSE_STR("x"), 2000, SSE_STR("\"}"));
    assert_int_equal(sse_session_json_read(long_id, pool, &d), APR_SUCCESS);
    assert_int_equal(d.field[SSE_KEY_USER].type, SSE_FIELD_OTHER);
    assert_int_equal(sse_session_json_read(repeated(SSE_STR("{\"a\":\""), SSE_STR("x"),
                                                    SSE_SESSION_DATA_MAX, SSE_STR("\"}")),
                                           pool, &d),
                     APR_EINVAL);
}

/* --- the rest
 * ------------------------------------------------------------------------------------- */

static void inflating(void **state)
{
    sse_str_t plain = repeated(SSE_STR(""), SSE_STR("x"), SSE_INFLATE_MAX, SSE_STR("")), out;
    uLongf n = compressBound(plain.n + 1);
    char *packed = apr_palloc(pool, n + 1);

    assert_int_equal(compress((Bytef *)packed, &n, (const Bytef *)plain.p, plain.n), Z_OK);
    assert_int_equal(sse_inflate((sse_str_t){packed, n}, SSE_INFLATE_MAX, pool, &out), APR_SUCCESS);
    assert_true(sse_str_eq(out, plain));
    assert_int_equal(sse_inflate((sse_str_t){packed, n}, SSE_INFLATE_MAX - 1, pool, &out),
                     APR_EINVAL);
    packed[n] = 'x';
    assert_int_equal(sse_inflate((sse_str_t){packed, n + 1}, SSE_INFLATE_MAX, pool, &out),
                     APR_EINVAL);
    packed[n - 1] ^= 1; /* Adler-32 */
    assert_int_equal(sse_inflate((sse_str_t){packed, n}, SSE_INFLATE_MAX, pool, &out), APR_EINVAL);
    assert_int_equal(sse_inflate(SSE_STR(""), 10, pool, &out), APR_EINVAL);
    /* the empty stream */
    n = 64;
    assert_int_equal(compress((Bytef *)packed, &n, (const Bytef *)"", 0), Z_OK);
    assert_int_equal(sse_inflate((sse_str_t){packed, n}, 0, pool, &out), APR_SUCCESS);
    assert_int_equal(out.n, 0);
}

static void numbers_and_base64(void **state)
{
    static const char *const bad62[] = {"", "-", "a b", "+1", "1_0", "AzL8n0Y58m8", "zzzzzzzzzzzz"};
    static const char *const bad64[] = {"A", "AB=", "AB==", "A-+A", "AB/A", "Zh", "Zm9", "AA A"};
    sse_str_t out;
    int64_t v;

    assert_int_equal(sse_base62_parse(SSE_STR("AzL8n0Y58m7"), &v), APR_SUCCESS);
    assert_true(v == INT64_MAX);
    assert_int_equal(sse_base62_parse(SSE_STR("-1"), &v), APR_SUCCESS);
    assert_int_equal(v, -1);
    for (size_t i = 0; i < SSE_ARRAY_LEN(bad62); i++)
        assert_int_equal(sse_base62_parse(sse_str(bad62[i]), &v), APR_EINVAL);
    for (size_t i = 0; i < SSE_ARRAY_LEN(bad64); i++)
        if (sse_base64_url_decode(sse_str(bad64[i]), pool, &out) != APR_EINVAL)
            fail_msg("%s was taken", bad64[i]);
    assert_int_equal(sse_base64_std_decode(SSE_STR("Zg=="), pool, &out), APR_SUCCESS);
    assert_str(out, "f");
    assert_int_equal(sse_base64_std_decode(SSE_STR("Zg"), pool, &out), APR_EINVAL);
    assert_int_equal(sse_base64_std_decode(SSE_STR("Z==="), pool, &out), APR_EINVAL);
    assert_int_equal(sse_base64_std_decode(SSE_STR("Zm-v"), pool, &out), APR_EINVAL);
}

static void session_keys(void **state)
{
    assert_true(sse_session_key_good(SSE_STR("abcdefgh")));
    assert_true(sse_session_key_good(SSE_STR("0123456789abcdefghijklmnopqrstuvwxyz0123")));
    assert_false(sse_session_key_good(SSE_STR("abcdefg")));
    assert_false(sse_session_key_good(SSE_STR("0123456789abcdefghijklmnopqrstuvwxyz01234")));
    assert_false(sse_session_key_good(SSE_STR("abcdefgH")));
    assert_false(sse_session_key_good(SSE_STR("abcdefg/")));
    assert_false(sse_session_key_good(SSE_STR("abcdefg\0")));
    assert_false(sse_session_key_good(SSE_STR("")));
}

static void cookies(void **state)
{
    sse_str_t v = SSE_STR_NONE;

    assert_false(sse_cookie_find(NULL, "s", pool, &v));
    assert_true(sse_cookie_find("s=\"a\\351b\\\"", "s", pool, &v)); /* \351 is U+00E9 */
    assert_str(v, "a\xc3\xa9"
                  "b\\");
    assert_true(sse_cookie_find("s=\xe3\x80\x80\xe2\x80\x83x\xc2\x85\xe2\x80\xa8", "s", pool, &v));
    assert_str(v, "x");
    assert_true(sse_cookie_find("s=x\xe3\x80", "s", pool, &v)); /* half a character stays */
    assert_str(v, "x\xe3\x80");
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
        cmocka_unit_test(pickle_refuses), cmocka_unit_test(pickle_takes),
        cmocka_unit_test(pickle_bounds),  cmocka_unit_test(json_takes_and_refuses),
        cmocka_unit_test(json_fields),    cmocka_unit_test(json_bounds),
        cmocka_unit_test(inflating),      cmocka_unit_test(numbers_and_base64),
        cmocka_unit_test(session_keys),   cmocka_unit_test(cookies),
    };

    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
