/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: what we take json-c takes too, with the same values; each value's source is JSON of the
 * same value; compacting and quoting change no value. */
#include "fuzz.h"

#include "core/json.h"
#include "core/name.h"

#include <json-c/json.h>

const char sse_fuzz_name[] = "json";

#define SIZE_MAX_HERE (64 * 1024)

static sse_json_doc_t *parse(sse_str_t text)
{
    sse_json_doc_t *doc = NULL;
    sse_json_error_t error;

    CHECK(sse_json_parse(text, &doc, &error) == APR_SUCCESS);
    return doc;
}

/* Same value, the sources may differ in white space between tokens. */
static void check_same(const sse_json_t *a, const sse_json_t *b)
{
    size_t i;

    CHECK(sse_json_type(a) == sse_json_type(b));
    CHECK(sse_json_count(a) == sse_json_count(b));
    switch (sse_json_type(a)) {
    case SSE_JSON_ARRAY:
        for (i = 0; i < sse_json_count(a); i++)
            check_same(sse_json_at(a, i), sse_json_at(b, i));
        break;
    case SSE_JSON_OBJECT:
        for (i = 0; i < sse_json_count(a); i++) {
            sse_str_t name_a, name_b;
            const sse_json_t *member_a = sse_json_member(a, i, &name_a);
            const sse_json_t *member_b = sse_json_member(b, i, &name_b);

            CHECK(sse_str_eq(name_a, name_b));
            check_same(member_a, member_b);
        }
        break;
    case SSE_JSON_STRING:
        CHECK(sse_str_eq(sse_json_string(a), sse_json_string(b)));
        break;
    default:
        CHECK(sse_str_eq(sse_json_source(a), sse_json_source(b)));
    }
}

static void check_number(const sse_json_t *v, json_object *o)
{
    int64_t n;

    if (sse_json_int64(v, &n))
        CHECK(json_object_is_type(o, json_type_int) && json_object_get_int64(o) == n);
}

static void check_as_jsonc(const sse_json_t *v, json_object *o);

static void check_members(const sse_json_t *v, json_object *o)
{
    size_t i;

    for (i = 0; i < sse_json_count(v); i++) {
        sse_str_t name;
        char *text;
        json_object *member;

        sse_json_member(v, i, &name);
        if (name.n && memchr(name.p, '\0', name.n))
            continue; /* json-c ends names at NUL, so another member may have taken its place */
        text = sse_strndup(name.p, name.n);
        CHECK(json_object_object_get_ex(o, text, &member));
        CHECK(sse_json_get(v, text));
        free(text);
    }
    json_object_object_foreach(o, key, value)
    {
        const sse_json_t *member = sse_json_get(v, key);
        bool cut = false;

        for (i = 0; i < sse_json_count(v); i++) {
            sse_str_t name;

            sse_json_member(v, i, &name);
            cut = cut || (name.n && memchr(name.p, '\0', name.n));
        }
        if (!cut)
            check_as_jsonc(member, value);
    }
}

static void check_as_jsonc(const sse_json_t *v, json_object *o)
{
    sse_str_t s;
    size_t i;

    switch (sse_json_type(v)) {
    case SSE_JSON_NULL:
        CHECK(o == NULL);
        break;
    case SSE_JSON_BOOL:
        CHECK(json_object_is_type(o, json_type_boolean));
        CHECK(json_object_get_boolean(o) == sse_json_bool(v));
        break;
    case SSE_JSON_NUMBER:
        check_number(v, o);
        break;
    case SSE_JSON_STRING:
        s = sse_json_string(v);
        CHECK(json_object_is_type(o, json_type_string));
        CHECK(sse_str_eq(
            s, (sse_str_t){json_object_get_string(o), (size_t)json_object_get_string_len(o)}));
        CHECK(sse_name_utf8(s));
        break;
    case SSE_JSON_ARRAY:
        CHECK(json_object_is_type(o, json_type_array));
        CHECK(json_object_array_length(o) == sse_json_count(v));
        for (i = 0; i < sse_json_count(v); i++)
            check_as_jsonc(sse_json_at(v, i), json_object_array_get_idx(o, i));
        break;
    case SSE_JSON_OBJECT:
        CHECK(json_object_is_type(o, json_type_object));
        check_members(v, o);
        break;
    }
}

static json_object *parse_by_jsonc(sse_str_t text)
{
    json_tokener *tok = json_tokener_new_ex(SSE_JSON_DEPTH_MAX + 2);
    char *copy = sse_strndup(text.p, text.n);
    json_object *o;

    /* Not JSON_TOKENER_STRICT: since 0.17 that refuses numbers beyond 64 bits and DEL. */
    json_tokener_set_flags(tok, JSON_TOKENER_VALIDATE_UTF8);
    o = json_tokener_parse_ex(tok, copy, (int)text.n + 1);
    CHECK(json_tokener_get_error(tok) == json_tokener_success);
    json_tokener_free(tok);
    free(copy);
    return o;
}

/* Each value's source is a text of its own; strings survive being quoted again. */
static void check_source(const sse_json_t *v)
{
    sse_json_doc_t *again = parse(sse_json_source(v));
    size_t i;

    check_same(v, sse_json_root(again));
    sse_json_free(again);
    if (sse_json_type(v) == SSE_JSON_STRING) {
        sse_buf_t quoted = {0};

        sse_json_quote(&quoted, sse_json_string(v));
        again = parse(sse_buf_slice(&quoted));
        check_same(v, sse_json_root(again));
        sse_json_free(again);
        sse_buf_clear(&quoted);
    }
    for (i = 0; i < sse_json_count(v); i++) {
        sse_str_t name;

        check_source(sse_json_type(v) == SSE_JSON_ARRAY ? sse_json_at(v, i)
                                                        : sse_json_member(v, i, &name));
    }
}

static void check_compact(const sse_json_t *v)
{
    sse_buf_t once = {0}, twice = {0};
    sse_json_doc_t *doc;

    sse_json_compact(&once, v);
    CHECK(once.n <= sse_json_source(v).n);
    doc = parse(sse_buf_slice(&once));
    check_same(v, sse_json_root(doc));
    sse_json_compact(&twice, sse_json_root(doc));
    CHECK(sse_str_eq(sse_buf_slice(&once), sse_buf_slice(&twice)));
    sse_json_free(doc);
    sse_buf_clear(&once);
    sse_buf_clear(&twice);
}

/* Any bytes can be quoted; good UTF-8 comes back as it was. */
static void check_quote(sse_str_t bytes)
{
    sse_buf_t quoted = {0};
    sse_json_doc_t *doc;
    sse_str_t back;

    sse_json_quote(&quoted, bytes);
    doc = parse(sse_buf_slice(&quoted));
    back = sse_json_string(sse_json_root(doc));
    CHECK(sse_name_utf8(back));
    if (sse_name_utf8(bytes))
        CHECK(sse_str_eq(back, bytes));
    sse_json_free(doc);
    sse_buf_clear(&quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const sse_str_t text = {(const char *)data, size};
    sse_json_doc_t *doc;
    sse_json_error_t error = {0};
    json_object *o;

    if (size > SIZE_MAX_HERE)
        return 0;
    check_quote(text);
    if (sse_json_parse(text, &doc, &error) != APR_SUCCESS) {
        CHECK(error.offset <= size && error.message[0]);
        return 0;
    }
    o = parse_by_jsonc(text);
    check_as_jsonc(sse_json_root(doc), o);
    json_object_put(o);
    check_source(sse_json_root(doc));
    check_compact(sse_json_root(doc));
    sse_json_free(doc);
    return 0;
}
