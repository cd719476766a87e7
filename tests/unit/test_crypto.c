/* SPDX-License-Identifier: Apache-2.0 */
/* Digests and HMAC against published vectors (FIPS 180, RFC 2202, RFC 4231), hex, comparison,
 * threads. */
#include "cmocka_all.h"

#include "core/crypto.h"

#include <pthread.h>
#include <string.h>

static void assert_hex(const unsigned char *p, size_t n, const char *hex)
{
    char text[2 * SSE_DIGEST_MAX + 1];

    sse_crypto_hex(p, n, text);
    assert_string_equal(text, hex);
}

static void digests_published_vectors(void **state)
{
    unsigned char out[SSE_DIGEST_MAX];
    sse_str_t abc = SSE_STR("abc");

    assert_int_equal(sse_digest(SSE_SHA1, &abc, 1, out), 20);
    assert_hex(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_int_equal(sse_digest(SSE_SHA256, &abc, 1, out), 32);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(sse_digest(SSE_SHA256, NULL, 0, out), 32);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void digests_parts_as_one(void **state)
{
    const sse_str_t parts[] = {SSE_STR("a"), SSE_STR_NONE, SSE_STR("bc")};
    unsigned char out[SSE_DIGEST_MAX];

    sse_digest(SSE_SHA1, parts, 3, out);
    assert_hex(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void hmacs_published_vectors(void **state)
{
    unsigned char out[SSE_DIGEST_MAX];
    char long_key[131];

    assert_int_equal(
        sse_hmac(SSE_SHA1, SSE_STR("Jefe"), SSE_STR("what do ya want for nothing?"), out), 20);
    assert_hex(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_int_equal(
        sse_hmac(SSE_SHA256, SSE_STR("Jefe"), SSE_STR("what do ya want for nothing?"), out), 32);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, sizeof(long_key));
    sse_hmac(SSE_SHA256, (sse_str_t){long_key, sizeof(long_key)},
             SSE_STR("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmacs_with_an_empty_key_after_another(void **state)
{
    unsigned char out[SSE_DIGEST_MAX];

    sse_hmac(SSE_SHA256, SSE_STR("key"), SSE_STR("x"), out);
    sse_hmac(SSE_SHA256, SSE_STR_NONE, SSE_STR_NONE, out);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void *hmac_often(void *arg)
{
    size_t *bad = arg;
    int i;

    for (i = 0; i < 2000; i++) {
        unsigned char out[SSE_DIGEST_MAX];
        char hex[2 * SSE_DIGEST_MAX + 1];

        sse_hmac(SSE_SHA1, SSE_STR("Jefe"), SSE_STR("what do ya want for nothing?"), out);
        sse_crypto_hex(out, 20, hex);
        if (strcmp(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79") != 0)
            ++*bad;
    }
    return NULL;
}

static void threads_do_not_disturb_each_other(void **state)
{
    pthread_t threads[4];
    size_t bad[4] = {0}, i;

    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hmac_often, &bad[i]), 0);
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(bad[i], 0);
    }
}

static void compares(void **state)
{
    assert_true(sse_crypto_equal(SSE_STR("same"), SSE_STR("same")));
    assert_true(sse_crypto_equal(SSE_STR_NONE, SSE_STR("")));
    assert_false(sse_crypto_equal(SSE_STR("same"), SSE_STR("sane")));
    assert_false(sse_crypto_equal(SSE_STR("same"), SSE_STR("same ")));
}

static void random_bytes_differ(void **state)
{
    unsigned char a[5000], b[5000];

    sse_crypto_random(a, sizeof(a));
    sse_crypto_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 4096, b + 4096, sizeof(a) - 4096);
}

static void wipes(void **state)
{
    char secret[] = "secret";

    sse_crypto_wipe(secret, sizeof(secret));
    assert_memory_equal(secret, "\0\0\0\0\0\0", sizeof(secret));
}

static void unhex_takes_exactly_hex(void **state)
{
    static const struct {
        const char *hex;
        size_t n;
    } bad[] = {{"", 1}, {"0", 1}, {"0g", 1}, {"00", 2}, {"000", 1}, {"00 0", 2}, {"0x00", 2}};
    unsigned char out[3] = {1, 2, 3};
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(bad); i++)
        assert_int_equal(sse_crypto_unhex(sse_str(bad[i].hex), out, bad[i].n), APR_EINVAL);
    assert_memory_equal(out, "\1\2\3", 3);
    assert_int_equal(sse_crypto_unhex(SSE_STR("00fFaB"), out, 3), APR_SUCCESS);
    assert_memory_equal(out, "\x00\xff\xab", 3);
    assert_int_equal(sse_crypto_unhex(SSE_STR_NONE, out, 0), APR_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_published_vectors),
        cmocka_unit_test(digests_parts_as_one),
        cmocka_unit_test(hmacs_published_vectors),
        cmocka_unit_test(hmacs_with_an_empty_key_after_another),
        cmocka_unit_test(threads_do_not_disturb_each_other),
        cmocka_unit_test(compares),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(wipes),
        cmocka_unit_test(unhex_takes_exactly_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
