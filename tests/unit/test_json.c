/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: what is taken and refused, values, source slices, quoting. */
#include "cmocka_all.h"

#include "core/json.h"

#include <stdlib.h>

static sse_json_doc_t *parse(const char *text)
{
    sse_json_doc_t *doc = NULL;
    sse_json_error_t error;

    if (sse_json_parse(sse_str(text), &doc, &error) != APR_SUCCESS)
        fail_msg("%s: %s", text, error.message);
    return doc;
}

static void takes_json(void **state)
{
    static const char *const good[] = {
        "null",
        "true",
        "false",
        " 1 ",
        "\t\r\n[ ]\n",
        "{}",
        "{ }",
        "[[],{}]",
        "0",
        "-0",
        "-0.0",
        "10",
        "1.5",
        "1e5",
        "1E+5",
        "1e-5",
        "0e0",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\\\"b\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\uDEADx\"",
        "\"\x7f\"",
        "\"\xc3\xa9\xf0\x9f\x98\x80\"",
        "{\"\":1,\"\":2}",
        "[1 , 2\n,3]",
        "{\"a\" : [ { \"b\" : null } ] }",
        "\"\\/\\\\\\b\\f\\n\\r\\t\"",
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(good); i++)
        sse_json_free(parse(good[i]));
}

static void refuses_what_is_not_json(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
    } bad[] = {
        {"", 0},
        {" ", 1},
        {"nul", 3},
        {"nulL", 3},
        {"True", 0},
        {"NaN", 0},
        {"Infinity", 0},
        {"-", 1},
        {"-a", 1},
        {"+1", 0},
        {"01", 1},
        {"-01", 2},
        {".5", 0},
        {"1.", 2},
        {"1.e5", 2},
        {"1e", 2},
        {"1e+", 3},
        {"0x10", 1},
        {"1 2", 2},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1 2]", 3},
        {"[", 1},
        {"[1", 2},
        {"]", 0},
        {"{", 1},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{a:1}", 1},
        {"{1:1}", 1},
        {"{'a':1}", 1},
        {"{\"a\":1 \"b\":2}", 7},
        {"'a'", 0},
        {"\"", 1},
        {"\"a", 2},
        {"\"\\\"", 3},
        {"\"\\", 2},
        {"\"\\x\"", 2},
        {"\"\\u12\"", 5},
        {"\"\\u12g4\"", 5},
        {"\"\n\"", 1},
        {"\"\t\"", 1},
        {"\"12345678\x01\"", 9},
        {"\"\xff\"", 1},
        {"\"\xc3\"", 1},
        {"\"\xed\xa0\x80\"", 1},
        {"\"\xc0\x80\"", 1},
        {"/**/1", 0},
        {"1//", 1},
        {"\xef\xbb\xbf"
         "1",
         0},
        {"1\v", 1},
        {"[1}", 2},
        {"{\"a\":1]", 6},
        {"[1]]", 3},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(bad); i++) {
        sse_json_doc_t *doc = NULL;
        sse_json_error_t error = {.offset = 99};

        if (sse_json_parse(sse_str(bad[i].text), &doc, &error) != APR_EINVAL)
            fail_msg("took %s", bad[i].text);
        assert_null(doc);
        if (error.offset != bad[i].offset)
            fail_msg("%s: offset %zu: %s", bad[i].text, error.offset, error.message);
        assert_non_null(strstr(error.message, " at byte "));
    }
    {
        sse_json_doc_t *doc;
        sse_json_error_t error;

        assert_int_equal(sse_json_parse((sse_str_t){"1\0", 2}, &doc, &error), APR_EINVAL);
        assert_int_equal(sse_json_parse((sse_str_t){"\"a\0\"", 4}, &doc, &error), APR_EINVAL);
        assert_int_equal(sse_json_parse(SSE_STR_NONE, &doc, &error), APR_EINVAL);
    }
}

static void bounds_depth(void **state)
{
    char text[2 * (SSE_JSON_DEPTH_MAX + 1)];
    sse_json_doc_t *doc;
    sse_json_error_t error;

    memset(text, '[', SSE_JSON_DEPTH_MAX + 1);
    memset(text + SSE_JSON_DEPTH_MAX + 1, ']', SSE_JSON_DEPTH_MAX + 1);
    assert_int_equal(sse_json_parse((sse_str_t){text, sizeof(text)}, &doc, &error), APR_EINVAL);
    assert_int_equal(error.offset, SSE_JSON_DEPTH_MAX);
    assert_int_equal(sse_json_parse((sse_str_t){text + 1, sizeof(text) - 2}, &doc, &error),
                     APR_SUCCESS);
    sse_json_free(doc);
}

static void bounds_the_number_of_values(void **state)
{
    size_t n = 2 * (2200000), i;
    char *text = sse_malloc(n + 1);
    sse_json_doc_t *doc;
    sse_json_error_t error;

    for (i = 0; i < n; i += 2)
        memcpy(text + i, i ? ",1" : "[1", 2);
    text[n] = ']';
    assert_int_equal(sse_json_parse((sse_str_t){text, n + 1}, &doc, &error), APR_EINVAL);
    assert_non_null(strstr(error.message, "too many values"));
    text[2000000] = ']';
    assert_int_equal(sse_json_parse((sse_str_t){text, 2000001}, &doc, &error), APR_SUCCESS);
    assert_int_equal(sse_json_count(sse_json_root(doc)), 1000000);
    sse_json_free(doc);
    free(text);
}

static void finds_members(void **state)
{
    sse_json_doc_t *doc =
        parse("{\"a\": 1, \"b\": [10, 20], \"\\u0061\": {\"c\": 2}, \"x\\u0000y\": 3}");
    const sse_json_t *root = sse_json_root(doc), *v;
    sse_str_t name;
    int64_t n;

    assert_int_equal(sse_json_type(root), SSE_JSON_OBJECT);
    assert_int_equal(sse_json_count(root), 4);
    v = sse_json_get(root, "a");
    assert_int_equal(sse_json_type(v), SSE_JSON_OBJECT); /* the last of the two */
    assert_true(sse_json_int64(sse_json_get(v, "c"), &n));
    assert_int_equal(n, 2);
    assert_null(sse_json_get(root, "x"));
    assert_null(sse_json_get(root, "d"));
    assert_null(sse_json_get(sse_json_get(root, "b"), "a"));

    v = sse_json_member(root, 2, &name);
    assert_str(name, "a");
    assert_int_equal(sse_json_type(v), SSE_JSON_OBJECT);
    sse_json_member(root, 3, &name);
    assert_int_equal(name.n, 3);
    assert_memory_equal(name.p, "x\0y", 3);
    assert_null(sse_json_member(root, 4, &name));

    v = sse_json_get(root, "b");
    assert_int_equal(sse_json_count(v), 2);
    assert_true(sse_json_int64(sse_json_at(v, 1), &n));
    assert_int_equal(n, 20);
    assert_null(sse_json_at(v, 2));
    assert_null(sse_json_at(root, 0));
    assert_null(sse_json_member(v, 0, &name));
    assert_int_equal(sse_json_count(sse_json_at(v, 0)), 0);
    sse_json_free(doc);
}

static void keeps_sources(void **state)
{
    sse_json_doc_t *doc = parse(" {\"a\" : [ 1e400 , {\"k\":0.10} ] , \"b\":\"\\u00e9\"} ");
    const sse_json_t *root = sse_json_root(doc), *a = sse_json_get(root, "a");

    assert_str(sse_json_source(root), "{\"a\" : [ 1e400 , {\"k\":0.10} ] , \"b\":\"\\u00e9\"}");
    assert_str(sse_json_source(a), "[ 1e400 , {\"k\":0.10} ]");
    assert_str(sse_json_source(sse_json_at(a, 0)), "1e400");
    assert_str(sse_json_source(sse_json_at(a, 1)), "{\"k\":0.10}");
    assert_str(sse_json_source(sse_json_get(root, "b")), "\"\\u00e9\"");
    sse_json_free(doc);
}

static void resolves_strings(void **state)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"\"\"", ""},
        {"\"plain text\"", "plain text"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u00e9\\u20AC\"", "\xc3\xa9\xe2\x82\xac"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\ud83dx\"", "\xef\xbf\xbdx"},
        {"\"\\ude00\"", "\xef\xbf\xbd"},
        {"\"\\ud83d\"", "\xef\xbf\xbd"},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                               "A"},
        {"\"\\ud83d\\n\"", "\xef\xbf\xbd\n"},
        {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_json_doc_t *doc = parse(cases[i].json);
        const sse_json_t *v = sse_json_root(doc);
        sse_str_t once = sse_json_string(v), again = sse_json_string(v);

        assert_str(once, cases[i].text);
        assert_ptr_equal(once.p, again.p);
        assert_int_equal(once.n, again.n);
        sse_json_free(doc);
    }
}

static void plain_strings_are_slices(void **state)
{
    const char *text = "[\"abc\",\"d\"]";
    sse_json_doc_t *doc = parse(text);

    assert_ptr_equal(sse_json_string(sse_json_at(sse_json_root(doc), 0)).p, text + 2);
    assert_null(sse_json_string(sse_json_root(doc)).p);
    sse_json_free(doc);
}

static void reads_numbers(void **state)
{
    static const struct {
        const char *json;
        bool whole;
        int64_t n;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-17", true, -17},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"1.5", false, 0},
        {"-2.5e-1", false, 0},
        {"1e3", false, 0},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_json_doc_t *doc = parse(cases[i].json);
        int64_t n = 42;

        if (sse_json_int64(sse_json_root(doc), &n) != cases[i].whole)
            fail_msg("%s", cases[i].json);
        assert_int_equal(n, cases[i].whole ? cases[i].n : 42);
        sse_json_free(doc);
    }
}

static void other_types_give_no_number_or_truth(void **state)
{
    sse_json_doc_t *doc = parse("[\"1\", true, false, null, []]");
    const sse_json_t *root = sse_json_root(doc);
    size_t i;

    for (i = 0; i < sse_json_count(root); i++) {
        int64_t n;

        assert_false(sse_json_int64(sse_json_at(root, i), &n));
        assert_int_equal(sse_json_bool(sse_json_at(root, i)), i == 1);
    }
    sse_json_free(doc);
}

static void quotes(void **state)
{
    static const struct {
        sse_str_t text;
        const char *json;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{NULL, 0}, "\"\""},
        {{"<a & b>", 7}, "\"<a & b>\""},
        {{"a\"b\\c", 5}, "\"a\\\"b\\\\c\""},
        {{"\0\1\x1f\x7f", 4}, "\"\\u0000\\u0001\\u001f\x7f\""},
        {{"\b\t\n\v\f\r", 6}, "\"\\b\\t\\n\\u000b\\f\\r\""},
        {{"\xc3\xa9\xf0\x9f\x98\x80", 6}, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {{"a\xff\xc3", 3}, "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"12345678\"12345678", 17}, "\"12345678\\\"12345678\""},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_buf_t out = {0};

        sse_json_quote(&out, cases[i].text);
        assert_str(sse_buf_slice(&out), cases[i].json);
        sse_buf_clear(&out);
    }
}

static void compacts(void **state)
{
    static const char *const cases[][2] = {
        {" { \"a b\" : [ 1 ,\t\"x \\\" y\\\\\" ,\r\n{ } ] } ", "{\"a b\":[1,\"x \\\" y\\\\\",{}]}"},
        {"1.50", "1.50"},
        {"\" \"", "\" \""},
        {"{\"b\":1,\"a\":2,\"b\":3}", "{\"b\":1,\"a\":2,\"b\":3}"},
    };
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(cases); i++) {
        sse_json_doc_t *doc = parse(cases[i][0]);
        sse_buf_t out = {0};

        sse_json_compact(&out, sse_json_root(doc));
        assert_str(sse_buf_slice(&out), cases[i][1]);
        sse_buf_clear(&out);
        sse_json_free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_json),       cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(bounds_depth),     cmocka_unit_test(bounds_the_number_of_values),
        cmocka_unit_test(finds_members),    cmocka_unit_test(keeps_sources),
        cmocka_unit_test(resolves_strings), cmocka_unit_test(plain_strings_are_slices),
        cmocka_unit_test(reads_numbers),    cmocka_unit_test(other_types_give_no_number_or_truth),
        cmocka_unit_test(quotes),           cmocka_unit_test(compacts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
