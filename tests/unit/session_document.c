/* SPDX-License-Identifier: Apache-2.0 */
/* See session_document.h. Runs in the test program's only thread. */
#include "session_document.h"

#include "cmocka_all.h"
#include "core/crypto.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <stdlib.h>

#ifndef SSE_SRCDIR
#error "SSE_SRCDIR must be the top of the source tree"
#endif

static sse_json_doc_t *doc;
static apr_pool_t *pool;

static sse_str_t read_file(const char *path, apr_pool_t *whole)
{
    apr_file_t *f;
    apr_finfo_t info;
    char *p;

    if (apr_file_open(&f, path, APR_FOPEN_READ, 0, whole) != APR_SUCCESS)
        fail_msg("%s cannot be opened", path);
    assert_int_equal(apr_file_info_get(&info, APR_FINFO_SIZE, f), APR_SUCCESS);
    p = apr_palloc(whole, (apr_size_t)info.size + 1);
    assert_int_equal(apr_file_read_full(f, p, (apr_size_t)info.size, NULL), APR_SUCCESS);
    apr_file_close(f);
    return (sse_str_t){p, (size_t)info.size};
}

const sse_json_t *doc_open(apr_pool_t *whole, apr_pool_t *test)
{
    const char *path = getenv("SSE_DJANGO_VECTORS");
    sse_json_error_t error;

    if (!path || !*path)
        path = SSE_SRCDIR "/tests/vectors/django.json";
    pool = test;
    if (sse_json_parse(read_file(path, whole), &doc, &error) != APR_SUCCESS)
        fail_msg("%s: %s", path, error.message);
    return sse_json_root(doc);
}

void doc_close(void)
{
    sse_json_free(doc);
    doc = NULL;
}

const sse_json_t *doc_get(const sse_json_t *v, const char *name)
{
    return v ? sse_json_get(v, name) : NULL;
}

const char *doc_str(const sse_json_t *v, const char *name)
{
    const sse_json_t *m = doc_get(v, name);
    sse_str_t s = m ? sse_json_string(m) : SSE_STR_NONE;

    return m && sse_json_type(m) == SSE_JSON_STRING ? apr_pstrmemdup(pool, s.p, s.n) : NULL;
}

sse_str_t doc_hex(const sse_json_t *v, const char *name)
{
    sse_str_t hex = sse_json_string(doc_get(v, name));
    char *p = apr_palloc(pool, hex.n / 2 + 1);

    assert_int_equal(sse_crypto_unhex(hex, p, hex.n / 2), APR_SUCCESS);
    p[hex.n / 2] = '\0';
    return (sse_str_t){p, hex.n / 2};
}

int64_t doc_micros(const sse_json_t *v, const char *name)
{
    sse_str_t source = sse_json_source(doc_get(v, name));
    char *text = sse_strndup(source.p, source.n), *end;
    double d = strtod(text, &end);

    assert_true(source.n && !*end);
    free(text);
    return (int64_t)(d * 1e6 + (d < 0 ? -0.5 : 0.5));
}
