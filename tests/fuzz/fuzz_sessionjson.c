/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of sessions: every object that the strict reader takes is taken, with the same members;
 * strings come out as UTF-8 that may hold lone surrogates, and are bounded.
 *
 * fuzz-sources: src/session/pickle.c src/session/sessionjson.c */
#include "fuzzpool.h"

#include "core/json.h"
#include "session/sessiondata.h"

const char sse_fuzz_name[] = "sessionjson";

static bool ascii(sse_str_t s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

static void check_member(const sse_json_t *v, const sse_field_t *f)
{
    int64_t n;

    if (!v) {
        CHECK(f->type == SSE_FIELD_ABSENT);
        return;
    }
    switch (sse_json_type(v)) {
    case SSE_JSON_STRING:
        CHECK(f->type == SSE_FIELD_STRING || f->type == SSE_FIELD_OTHER);
        if (f->type == SSE_FIELD_STRING && ascii(sse_json_source(v)) &&
            !memmem(sse_json_source(v).p, sse_json_source(v).n, "\\u", 2))
            CHECK(sse_str_eq(f->s, sse_json_string(v)));
        break;
    case SSE_JSON_NUMBER:
        CHECK(f->type == SSE_FIELD_INT || f->type == SSE_FIELD_OTHER);
        if (f->type == SSE_FIELD_INT)
            CHECK(sse_json_int64(v, &n) && n == f->i);
        break;
    case SSE_JSON_NULL:
        CHECK(f->type == SSE_FIELD_NULL);
        break;
    default:
        CHECK(f->type == SSE_FIELD_OTHER);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"_auth_user_id", "_auth_user_backend", "_auth_user_hash",
                                        "_session_expiry"};
    const sse_str_t in = {(const char *)data, size};
    apr_pool_t *pool = fuzzpool();
    sse_session_data_t out = {0};
    sse_json_doc_t *doc;
    sse_json_error_t error;
    bool taken = sse_session_json_read(in, pool, &out) == APR_SUCCESS;

    for (int k = 0; taken && k < SSE_KEY_COUNT; k++)
        CHECK(out.field[k].type != SSE_FIELD_STRING || out.field[k].s.n <= 1024);
    if (sse_json_parse(in, &doc, &error) == APR_SUCCESS) {
        const sse_json_t *root = sse_json_root(doc);
        CHECK(taken == (sse_json_type(root) == SSE_JSON_OBJECT));
        for (int k = 0; taken && k < SSE_KEY_COUNT; k++)
            check_member(sse_json_get(root, names[k]), &out.field[k]);
        sse_json_free(doc);
    }
    apr_pool_clear(pool);
    return 0;
}
