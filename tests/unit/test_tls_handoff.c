/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-off of a TLS connection against OpenSSL itself: a real client and server in memory; keys
 * and sequence number are taken from the server as httpd's worker does, records are sealed as the
 * hub does, and the client must read them all. */
#include "cmocka_all.h"

#include "httpd/tls_keys.h"
#include "hub/tlsrecord.h"

#include "core/buf.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
#define TAIL SSE_STR("\r\n\r\n")

typedef struct suite_t {
    int version;
    const char *cipher;
} suite_t;

static const suite_t suites[] = {
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
    {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
};

/* Client and server, each writing into the other's memory. */
typedef struct pair_t {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    sse_tls_secret_t secret;
} pair_t;

static pair_t *logging; /* whose handshake is under way */

static void keylog(const SSL *ssl, const char *line)
{
    sse_tls_keys_read_line(line, &logging->secret);
}

static void use_certificate(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    assert_non_null(key);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    assert_true(X509_sign(cert, key, EVP_sha256()));
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static SSL_CTX *make_ctx(const suite_t *suite, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_min_proto_version(ctx, suite->version);
    SSL_CTX_set_max_proto_version(ctx, suite->version);
    if (suite->version == TLS1_3_VERSION)
        assert_int_equal(SSL_CTX_set_ciphersuites(ctx, suite->cipher), 1);
    else
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, suite->cipher), 1);
    return ctx;
}

static void pair_open(pair_t *p, const suite_t *suite, uint8_t max_fragment)
{
    memset(p, 0, sizeof *p);
    logging = p;
    p->server_ctx = make_ctx(suite, true);
    p->client_ctx = make_ctx(suite, false);
    use_certificate(p->server_ctx);
    SSL_CTX_set_keylog_callback(p->server_ctx, keylog);
    if (max_fragment)
        assert_int_equal(SSL_CTX_set_tlsext_max_fragment_length(p->client_ctx, max_fragment), 1);
    p->server = SSL_new(p->server_ctx);
    p->client = SSL_new(p->client_ctx);
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
    BIO_up_ref(to_server);
    BIO_up_ref(to_client);
    SSL_set_bio(p->server, to_server, to_client);
    SSL_set_bio(p->client, to_client, to_server);
    SSL_set_accept_state(p->server);
    SSL_set_connect_state(p->client);
    for (int i = 0; i < 10 && !(SSL_is_init_finished(p->server) && SSL_is_init_finished(p->client));
         i++) {
        SSL_do_handshake(p->client);
        SSL_do_handshake(p->server);
    }
    assert_true(SSL_is_init_finished(p->server) && SSL_is_init_finished(p->client));
}

static void pair_close(pair_t *p)
{
    SSL_free(p->server);
    SSL_free(p->client);
    SSL_CTX_free(p->server_ctx);
    SSL_CTX_free(p->client_ctx);
}

/* All that the client can read now. */
static size_t client_reads(pair_t *p, char *buf, size_t cap)
{
    size_t total = 0;
    int n;
    while (total < cap && (n = SSL_read(p->client, buf + total, (int)(cap - total))) > 0)
        total += (size_t)n;
    return total;
}

static void say_to_client(pair_t *p, const char *text)
{
    char buf[1024];
    size_t n = strlen(text);
    assert_int_equal(SSL_write(p->server, text, (int)n), (int)n);
    assert_int_equal(client_reads(p, buf, sizeof buf), n);
    assert_memory_equal(buf, text, n);
}

static void ask_server(pair_t *p)
{
    char buf[64];
    assert_int_equal(SSL_write(p->client, "GET", 3), 3);
    assert_int_equal(SSL_read(p->server, buf, sizeof buf), 3);
}

/* The last record among those that wait for the client; they stay there. */
static sse_str_t last_record(pair_t *p)
{
    char *bytes;
    long n = BIO_get_mem_data(SSL_get_wbio(p->server), &bytes);
    sse_str_t last = SSE_STR_NONE;
    for (long at = 0; at + 5 <= n;) {
        size_t len = 5 + ((size_t)(unsigned char)bytes[at + 3] << 8 | (unsigned char)bytes[at + 4]);
        last = (sse_str_t){bytes + at, len};
        at += (long)len;
    }
    return last;
}

/* As a worker does it: key update first, then the head, then the search. */
static apr_status_t take_over(pair_t *p, sse_tlsstate_t *state)
{
    bool is_1_3 = SSL_version(p->server) == TLS1_3_VERSION;
    char buf[1024];
    if (is_1_3)
        assert_int_equal(SSL_key_update(p->server, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    assert_int_equal(SSL_write(p->server, HEAD, sizeof(HEAD) - 1), sizeof(HEAD) - 1);
    apr_status_t rv = sse_tls_keys_derive(p->server, &p->secret, is_1_3 ? 1 : 0, state);
    if (rv == APR_SUCCESS)
        rv = sse_tls_keys_find_seq(state, last_record(p), TAIL);
    assert_int_equal(client_reads(p, buf, sizeof buf), sizeof(HEAD) - 1);
    return rv;
}

/* A text that no two places of are alike. */
static char *make_text(size_t n)
{
    char *text = malloc(n + 16);
    for (size_t i = 0; i < n; i += 8)
        snprintf(text + i, 9, "%08zx", i);
    return text;
}

/* Seals and sends in pieces of at most `step` bytes of wire. Returns the number of records. */
static unsigned send_text(pair_t *p, sse_tlssealer_t *sealer, sse_tlsrecord_t *t, const char *text,
                          size_t n, size_t step)
{
    BIO *wire_to_client = SSL_get_rbio(p->client);
    unsigned records = 0;
    for (size_t at = 0; at < n;) {
        struct iovec plain[2] = {{(char *)text + at, (n - at) / 3},
                                 {(char *)text + at + (n - at) / 3, n - at - (n - at) / 3}};
        struct iovec wire;
        assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, plain, 2, &wire),
                         APR_SUCCESS);
        size_t sent = wire.iov_len < step ? wire.iov_len : step;
        assert_int_equal(BIO_write(wire_to_client, wire.iov_base, (int)sent), (int)sent);
        size_t done = sse_tlsrecord_sent(t, sent);
        assert_int_equal(done ? 0 : 1, sse_tlsrecord_begun(t) ? 1 : 0);
        at += done;
        records += done ? 1 : 0;
        sse_tlssealer_rest(sealer); /* the key must not be needed from the last time */
    }
    return records;
}

static void expect_text(pair_t *p, const char *text, size_t n)
{
    char *buf = malloc(n + 1);
    assert_int_equal(client_reads(p, buf, n + 1), n);
    assert_memory_equal(buf, text, n);
    free(buf);
}

static void expect_close_notify(pair_t *p, sse_tlssealer_t *sealer, sse_tlsrecord_t *t)
{
    struct iovec plain = {"\1", 2}, wire;
    char byte;
    assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_ALERT, &plain, 1, &wire), APR_SUCCESS);
    BIO_write(SSL_get_rbio(p->client), wire.iov_base, (int)wire.iov_len);
    assert_int_equal(sse_tlsrecord_sent(t, wire.iov_len), 2);
    int n = SSL_read(p->client, &byte, 1);
    assert_int_equal(SSL_get_error(p->client, n), SSL_ERROR_ZERO_RETURN);
}

static void the_client_reads_what_the_hub_seals(void **unused)
{
    char *text = make_text(100000);
    sse_tlssealer_t *sealer = sse_tlssealer_create();
    for (size_t i = 0; i < SSE_ARRAY_LEN(suites); i++) {
        pair_t p;
        sse_tlsstate_t state;
        pair_open(&p, &suites[i], 0);
        assert_null(sse_tls_keys_problem(p.server));
        for (int k = 0; k < 3; k++) { /* requests of a connection that was kept alive */
            ask_server(&p);
            say_to_client(&p, "an answer before");
        }
        assert_int_equal(take_over(&p, &state), APR_SUCCESS);
        assert_int_equal(state.version, suites[i].version);
        assert_int_equal(state.seq, suites[i].version == TLS1_3_VERSION ? 1 : 5);
        assert_int_equal(state.max_fragment, SSE_TLS_FRAGMENT_MAX);
        sse_tlsrecord_t *t = sse_tlsrecord_create(&state);
        static const size_t sizes[] = {1, 60, 16384, 16385, 50000};
        for (size_t k = 0; k < SSE_ARRAY_LEN(sizes); k++) {
            unsigned records = send_text(&p, sealer, t, text, sizes[k], SIZE_MAX);
            assert_int_equal(records, (sizes[k] + 16383) / 16384);
            expect_text(&p, text, sizes[k]);
        }
        /* A slow reader: every record is sealed again and again. */
        send_text(&p, sealer, t, text, 40000, 701);
        expect_text(&p, text, 40000);
        expect_close_notify(&p, sealer, t);
        sse_tlsrecord_destroy(t);
        pair_close(&p);
    }
    sse_tlssealer_destroy(sealer);
    free(text);
}

static void records_are_as_short_as_the_client_asked(void **unused)
{
    char *text = make_text(5000);
    sse_tlssealer_t *sealer = sse_tlssealer_create();
    for (size_t i = 0; i < SSE_ARRAY_LEN(suites); i++) {
        pair_t p;
        sse_tlsstate_t state;
        pair_open(&p, &suites[i], TLSEXT_max_fragment_length_512);
        assert_int_equal(take_over(&p, &state), APR_SUCCESS);
        assert_int_equal(state.max_fragment, 512);
        sse_tlsrecord_t *t = sse_tlsrecord_create(&state);
        assert_int_equal(send_text(&p, sealer, t, text, 5000, SIZE_MAX), 10);
        expect_text(&p, text, 5000);
        sse_tlsrecord_destroy(t);
        pair_close(&p);
    }
    sse_tlssealer_destroy(sealer);
    free(text);
}

static void a_record_under_way_is_sealed_to_the_same_bytes(void **unused)
{
    sse_tlssealer_t *sealer = sse_tlssealer_create();
    sse_tlsstate_t state = {SSE_TLS_1_3, SSE_TLS_AES_128_GCM, 512, 7, "key", "iv"};
    sse_tlsrecord_t *t = sse_tlsrecord_create(&state);
    char text[700], first[600];
    struct iovec plain = {text, 300}, wire;
    memset(text, 'x', sizeof text);
    assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, &plain, 1, &wire),
                     APR_SUCCESS);
    size_t whole = wire.iov_len;
    assert_int_equal(whole, 5 + 300 + 1 + 16);
    memcpy(first, wire.iov_base, whole);
    /* Nothing went out, and more waits by now: the boundaries stay. */
    assert_int_equal(sse_tlsrecord_sent(t, 0), 0);
    plain.iov_len = sizeof text;
    assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, &plain, 1, &wire),
                     APR_SUCCESS);
    assert_int_equal(wire.iov_len, whole);
    assert_memory_equal(wire.iov_base, first, whole);
    assert_int_equal(sse_tlsrecord_sent(t, 100), 0);
    assert_int_equal(sse_tlsrecord_begun(t), 300);
    assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, &plain, 1, &wire),
                     APR_SUCCESS);
    assert_int_equal(wire.iov_len, whole - 100);
    assert_memory_equal(wire.iov_base, first + 100, whole - 100);
    assert_int_equal(sse_tlsrecord_sent(t, whole - 100), 300);
    assert_int_equal(sse_tlsrecord_begun(t), 0);
    /* What was begun must still be there. */
    assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, &plain, 1, &wire),
                     APR_SUCCESS);
    plain.iov_len = 20;
    assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, &plain, 1, &wire),
                     APR_EGENERAL);
    sse_tlsrecord_destroy(t);
    sse_tlssealer_destroy(sealer);
}

static void a_key_seals_no_more_than_it_may(void **unused)
{
    static const struct {
        uint8_t cipher;
        uint64_t seq;
        bool spent;
        apr_status_t rv;
    } cases[] = {
        {SSE_TLS_AES_128_GCM, (1 << 24) - 1, false, APR_SUCCESS},
        {SSE_TLS_AES_128_GCM, 1 << 24, true, APR_SUCCESS},
        {SSE_TLS_AES_256_GCM, (1 << 24) + (1 << 20) - 1, true, APR_SUCCESS},
        {SSE_TLS_AES_256_GCM, (1 << 24) + (1 << 20), true, APR_ENOSPC},
        {SSE_TLS_CHACHA20_POLY1305, UINT64_C(1) << 40, false, APR_SUCCESS},
    };
    sse_tlssealer_t *sealer = sse_tlssealer_create();
    for (size_t i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_tlsstate_t state = {SSE_TLS_1_2, cases[i].cipher, 512, cases[i].seq, "key", "iv"};
        sse_tlsrecord_t *t = sse_tlsrecord_create(&state);
        struct iovec plain = {"x", 1}, wire;
        assert_int_equal(sse_tlsrecord_spent(t), cases[i].spent);
        assert_int_equal(sse_tlsrecord_seal(sealer, t, SSE_TLS_APPLICATION_DATA, &plain, 1, &wire),
                         cases[i].rv);
        sse_tlsrecord_destroy(t);
    }
    sse_tlssealer_destroy(sealer);
}

static void a_key_update_of_the_client_is_survived(void **unused)
{
    static const int kinds[] = {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED};
    sse_tlssealer_t *sealer = sse_tlssealer_create();
    for (size_t i = 0; i < SSE_ARRAY_LEN(kinds); i++) {
        pair_t p;
        sse_tlsstate_t state;
        pair_open(&p, &suites[0], 0);
        assert_int_equal(SSL_key_update(p.client, kinds[i]), 1);
        ask_server(&p);
        /* Either the two updates are one, or the search finds nothing and httpd goes on: never
         * something wrong. */
        if (take_over(&p, &state) == APR_SUCCESS) {
            sse_tlsrecord_t *t = sse_tlsrecord_create(&state);
            send_text(&p, sealer, t, "event", 5, SIZE_MAX);
            expect_text(&p, "event", 5);
            sse_tlsrecord_destroy(t);
        } else {
            assert_int_equal(kinds[i], SSL_KEY_UPDATE_REQUESTED);
            say_to_client(&p, "httpd goes on");
        }
        pair_close(&p);
    }
    sse_tlssealer_destroy(sealer);
}

static void the_search_ends(void **unused)
{
    for (size_t i = 0; i < SSE_ARRAY_LEN(suites); i++) {
        pair_t p;
        sse_tlsstate_t state, kept;
        pair_open(&p, &suites[i], 0);
        assert_int_equal(sse_tls_keys_derive(p.server, &p.secret, 0, &state), APR_SUCCESS);
        kept = state;
        for (int k = 0; k < SSE_TLS_SEQ_TRIALS + 8; k++)
            say_to_client(&p, "one more record");
        SSL_write(p.server, HEAD, sizeof(HEAD) - 1);
        assert_int_equal(sse_tls_keys_find_seq(&state, last_record(&p), TAIL), APR_NOTFOUND);
        assert_memory_equal(&state, &kept, sizeof kept);
        pair_close(&p);
    }
}

static void what_is_no_such_record_is_not_found(void **unused)
{
    pair_t p;
    sse_tlsstate_t state;
    pair_open(&p, &suites[0], 0);
    assert_int_equal(sse_tls_keys_derive(p.server, &p.secret, 0, &state), APR_SUCCESS);
    BIO_reset(SSL_get_wbio(p.server));
    SSL_write(p.server, HEAD, sizeof(HEAD) - 1);
    sse_str_t record = last_record(&p);
    sse_tlsstate_t found = state;
    assert_int_equal(sse_tls_keys_find_seq(&found, record, SSE_STR("other")), APR_NOTFOUND);
    assert_int_equal(sse_tls_keys_find_seq(&found, (sse_str_t){record.p, record.n - 1}, TAIL),
                     APR_NOTFOUND);
    assert_int_equal(sse_tls_keys_find_seq(&found, SSE_STR_NONE, TAIL), APR_NOTFOUND);
    for (size_t n = 0; n < 30; n++) {
        char *shortened = malloc(n ? n : 1);
        memcpy(shortened, record.p, n);
        if (n >= 5) {
            shortened[3] = 0;
            shortened[4] = (char)(n - 5);
        }
        assert_int_equal(sse_tls_keys_find_seq(&found, (sse_str_t){shortened, n}, TAIL),
                         APR_NOTFOUND);
        free(shortened);
    }
    char *broken = sse_strndup(record.p, record.n);
    broken[record.n - 1] ^= 1;
    assert_int_equal(sse_tls_keys_find_seq(&found, (sse_str_t){broken, record.n}, TAIL),
                     APR_NOTFOUND);
    free(broken);
    found.key[0] ^= 1;
    assert_int_equal(sse_tls_keys_find_seq(&found, record, TAIL), APR_NOTFOUND);
    assert_int_equal(sse_tls_keys_find_seq(&state, record, TAIL), APR_SUCCESS);
    pair_close(&p);
}

static void other_ciphers_are_refused(void **unused)
{
    static const suite_t others[] = {{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256"},
                                     {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-CCM"}};
    for (size_t i = 0; i < SSE_ARRAY_LEN(others); i++) {
        pair_t p;
        sse_tlsstate_t state;
        pair_open(&p, &others[i], 0);
        assert_non_null(sse_tls_keys_problem(p.server));
        assert_int_equal(sse_tls_keys_derive(p.server, &p.secret, 0, &state), APR_EGENERAL);
        pair_close(&p);
    }
}

/* What is asked for by default then is a FIPS provider's. */
static void nothing_is_handed_over_in_fips_mode(void **unused)
{
    pair_t p;
    pair_open(&p, &suites[0], 0);
    assert_null(sse_tls_keys_problem(p.server));
    assert_int_equal(EVP_default_properties_enable_fips(NULL, 1), 1);
    const char *problem = sse_tls_keys_problem(p.server);
    assert_int_equal(EVP_default_properties_enable_fips(NULL, 0), 1);
    assert_string_equal(problem, "OpenSSL is in FIPS mode");
    pair_close(&p);
}

static void a_secret_is_needed(void **unused)
{
    pair_t p;
    sse_tlsstate_t state;
    pair_open(&p, &suites[0], 0);
    sse_tls_secret_t none = {.n = 0}, other = {.n = 0};
    assert_int_equal(sse_tls_keys_derive(p.server, &none, 1, &state), APR_EGENERAL);
    sse_tls_keys_read_line("CLIENT_TRAFFIC_SECRET_0 00 0011", &other);
    sse_tls_keys_read_line("SERVER_TRAFFIC_SECRET_0 00", &other);
    sse_tls_keys_read_line("SERVER_TRAFFIC_SECRET_0 00 ", &other);
    sse_tls_keys_read_line("SERVER_TRAFFIC_SECRET_0 00 0g", &other);
    assert_int_equal(other.n, 0);
    sse_tls_keys_read_line("SERVER_TRAFFIC_SECRET_0 00 00ff", &other);
    assert_int_equal(other.n, 2);
    assert_memory_equal(other.bytes, "\x00\xff", 2);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_reads_what_the_hub_seals),
        cmocka_unit_test(records_are_as_short_as_the_client_asked),
        cmocka_unit_test(a_record_under_way_is_sealed_to_the_same_bytes),
        cmocka_unit_test(a_key_seals_no_more_than_it_may),
        cmocka_unit_test(a_key_update_of_the_client_is_survived),
        cmocka_unit_test(the_search_ends),
        cmocka_unit_test(what_is_no_such_record_is_not_found),
        cmocka_unit_test(other_ciphers_are_refused),
        cmocka_unit_test(nothing_is_handed_over_in_fips_mode),
        cmocka_unit_test(a_secret_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
