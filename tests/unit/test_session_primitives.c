/* SPDX-License-Identifier: Apache-2.0 */
/* What real Django says of Cookie headers, digests, signatures, numbers and pickles
 * (session_document.h), against our readers. No server, no file but the document. */
#include "session_document.h"

#include "cmocka_all.h"
#include "core/crypto.h"
#include "session/cookie.h"
#include "session/pickle.h"
#include "session/signing.h"

#include <apr_general.h>
#include <apr_strings.h>

static apr_pool_t *whole, *pool; /* of the program, of one test */
static const sse_json_t *root;

static void cookie_headers(void **state)
{
    const sse_json_t *all = doc_get(root, "cookie_headers");
    size_t n = sse_json_count(all);

    assert_int_equal(n, 30);
    for (size_t i = 0; i < n; i++) {
        const sse_json_t *v = sse_json_at(all, i);
        const char *header = doc_hex(v, "header_hex").p, *want = doc_str(v, "value");
        sse_str_t got = SSE_STR_NONE;
        bool found = sse_cookie_find(header, "sessionid", pool, &got);

        if (doc_str(v, "policy"))
            continue; /* bytes that are no UTF-8: refused by every engine, see the vector
                         sc-invalid-utf8 */
        if (found != (want != NULL) || (want && !sse_str_eq(got, sse_str(want))))
            fail_msg("%s: got %.*s", header, (int)got.n, got.p);
    }
}

static void primitives(void **state)
{
    const sse_json_t *p = doc_get(root, "primitives"), *list, *v;
    unsigned char mac[SSE_DIGEST_MAX];
    char text[2 * SSE_DIGEST_MAX + 1];
    sse_str_t s, bytes;
    int64_t n, want;

    list = doc_get(p, "salted_hmac");
    assert_true(sse_json_count(list) >= 8);
    for (size_t i = 0; i < sse_json_count(list); i++) {
        v = sse_json_at(list, i);
        sse_crypto_hex(
            mac,
            sse_salted_hmac(strcmp(doc_str(v, "algorithm"), "sha1") ? SSE_SHA256 : SSE_SHA1,
                            sse_str(doc_str(v, "key_salt")), sse_str(doc_str(v, "secret")),
                            sse_str(doc_str(v, "value")), mac),
            text);
        assert_string_equal(text, doc_str(v, "hexdigest"));
    }
    v = doc_get(p, "secret_key_bytes");
    sse_crypto_hex(mac,
                   sse_salted_hmac(SSE_SHA256, sse_str(doc_str(v, "key_salt")),
                                   doc_hex(v, "secret_hex"), sse_str(doc_str(v, "value")), mac),
                   text);
    assert_string_equal(text, doc_str(v, "hexdigest"));

    list = doc_get(p, "base62");
    assert_int_equal(sse_json_count(list), 15);
    for (size_t i = 0; i < sse_json_count(list); i++) {
        v = sse_json_at(list, i);
        assert_true(sse_json_int64(doc_get(v, "n"), &want));
        assert_int_equal(sse_base62_parse(sse_str(doc_str(v, "s")), &n), APR_SUCCESS);
        assert_int_equal(n, want);
    }
    list = doc_get(p, "base64url_nopad");
    assert_int_equal(sse_json_count(list), 8);
    for (size_t i = 0; i < sse_json_count(list); i++) {
        v = sse_json_at(list, i);
        bytes = doc_hex(v, "hex");
        assert_int_equal(sse_base64_url_decode(sse_str(doc_str(v, "s")), pool, &s), APR_SUCCESS);
        assert_true(sse_str_eq(s, bytes));
    }
    apr_pool_clear(pool);
}

static void signers(void **state)
{
    const sse_json_t *p = doc_get(root, "primitives"), *list, *v;
    sse_str_t secret = sse_json_string(doc_get(doc_get(root, "meta"), "secret_key"));
    sse_keys_t keys = {&secret, 1, false};
    sse_str_t s, stamp;
    int64_t t, want;

    list = doc_get(p, "signer");
    assert_int_equal(sse_json_count(list), 3);
    for (size_t i = 0; i < sse_json_count(list); i++) {
        v = sse_json_at(list, i);
        assert_string_equal(doc_str(v, "key"), apr_pstrmemdup(pool, secret.p, secret.n));
        assert_int_equal(sse_signing_unsign(&keys, sse_str(doc_str(v, "salt")),
                                            sse_str(doc_str(v, "signed")), &s),
                         APR_SUCCESS);
        assert_str(s, doc_str(v, "value"));
    }
    list = doc_get(p, "timestamp_signer");
    v = sse_json_at(list, 0);
    assert_int_equal(
        sse_signing_unsign(&keys, sse_str(doc_str(v, "salt")), sse_str(doc_str(v, "signed")), &s),
        APR_SUCCESS);
    stamp = sse_str(strchr(apr_pstrmemdup(pool, s.p, s.n), ':') + 1);
    assert_int_equal(sse_base62_parse(stamp, &t), APR_SUCCESS);
    assert_true(sse_json_int64(doc_get(v, "t"), &want));
    assert_int_equal(t, want);

    list = doc_get(p, "dumps");
    assert_int_equal(sse_json_count(list), 4);
    for (size_t i = 0; i < sse_json_count(list); i++) {
        const char *alg;
        sse_buf_t compact = {0};
        v = sse_json_at(list, i);
        alg = doc_str(v, "algorithm");
        keys.legacy_sha1 = alg && strcmp(alg, "sha1") == 0;
        assert_int_equal(sse_signing_loads(&keys, sse_str(doc_str(v, "salt")),
                                           sse_str(doc_str(v, "signed")), pool, &s, &t),
                         APR_SUCCESS);
        sse_json_compact(&compact, doc_get(v, "obj"));
        assert_true(sse_str_eq(s, sse_buf_slice(&compact)));
        sse_buf_clear(&compact);
        if (keys.legacy_sha1) { /* Django 4.0 and later */
            keys.legacy_sha1 = false;
            assert_int_equal(sse_signing_loads(&keys, sse_str(doc_str(v, "salt")),
                                               sse_str(doc_str(v, "signed")), pool, &s, &t),
                             APR_EINVAL);
        }
    }
    apr_pool_clear(pool);
}

static void pickle_layouts(void **state)
{
    const sse_json_t *layouts = doc_get(root, "pickle_layout");

    assert_int_equal(sse_json_count(layouts), 3);
    for (size_t i = 0; i < sse_json_count(layouts); i++) {
        sse_str_t name;
        const sse_json_t *v = sse_json_member(layouts, i, &name);
        sse_session_data_t data;
        assert_int_equal(sse_pickle_read(doc_hex(v, "hex"), pool, &data), APR_SUCCESS);
        assert_str(data.field[SSE_KEY_USER].s, "1");
        assert_str(data.field[SSE_KEY_BACKEND].s, "django.contrib.auth.backends.ModelBackend");
        assert_int_equal(data.field[SSE_KEY_HASH].s.n, 64);
        assert_int_equal(data.field[SSE_KEY_EXPIRY].type, SSE_FIELD_ABSENT);
    }
}

static int open_document(void **state)
{
    apr_initialize();
    assert_int_equal(apr_pool_create(&whole, NULL), APR_SUCCESS);
    assert_int_equal(apr_pool_create(&pool, whole), APR_SUCCESS);
    root = doc_open(whole, pool);
    return 0;
}

static int close_document(void **state)
{
    doc_close();
    apr_pool_destroy(whole);
    apr_terminate();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primitives),
        cmocka_unit_test(signers),
        cmocka_unit_test(cookie_headers),
        cmocka_unit_test(pickle_layouts),
    };

    return cmocka_run_group_tests(tests, open_document, close_document);
}
