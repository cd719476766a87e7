/* SPDX-License-Identifier: Apache-2.0 */
/* A strict JSON scanner that keeps, for each value, the bytes it came from; json-c resolves
 * escapes, lazily, since most strings of a publish are never asked for. A document belongs to one
 * thread at a time: asking for a string with escapes writes into it. */
#include "core/json.h"

#include "core/name.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX (1u << 27)
/* Bounds what a small text of many tiny values may cost: 24 bytes a value. */
#define VALUES_MAX (1u << 21)
#define FIRST_BLOCK 4096
#define FIRST_STACK 64

typedef enum string_state_t {
    STRING_PLAIN,   /* the source without its quotes is the string */
    STRING_ESCAPED, /* u.doc is where the resolved text will live */
    STRING_RESOLVED /* u.text, count bytes */
} string_state_t;

struct sse_json_t {
    const char *p; /* first byte of the source */
    union {
        const sse_json_t *kids; /* elements; for an object name, value, name, value... */
        sse_json_doc_t *doc;
        const char *text;
    } u;
    uint32_t n; /* bytes of the source */
    unsigned type : 3;
    unsigned state : 2;
    unsigned count : 27; /* elements, members, or bytes of a resolved string */
};

/* Memory of a document, freed as a whole. */
typedef struct block_t {
    struct block_t *next;
    size_t used, cap;
    char bytes[];
} block_t;

struct sse_json_doc_t {
    sse_json_t root;
    block_t *blocks;
};

/* Values whose container is still open wait on `stack` and are then copied next to each other into
 * the document. */
typedef struct scan_t {
    const char *start, *p, *end;
    sse_json_doc_t *doc;
    sse_json_t *stack;
    size_t n, cap;
    size_t values;
    unsigned depth;
    sse_json_error_t *error;
    sse_json_t first_stack[FIRST_STACK];
} scan_t;

static bool scan_value(scan_t *x);

static void *take(sse_json_doc_t *doc, size_t n)
{
    block_t *b = doc->blocks;
    void *p;

    n = (n + 7) & ~(size_t)7;
    if (!b || b->cap - b->used < n) {
        size_t cap = b ? b->cap * 2 : FIRST_BLOCK;

        if (cap < n)
            cap = n;
        b = sse_malloc(sizeof(*b) + cap);
        b->cap = cap;
        b->used = 0;
        b->next = doc->blocks;
        doc->blocks = b;
    }
    p = b->bytes + b->used;
    b->used += n;
    return p;
}

static bool fail(scan_t *x, const char *at, const char *what)
{
    x->error->offset = (size_t)(at - x->start);
    snprintf(x->error->message, sizeof(x->error->message), "%s at byte %zu", what,
             x->error->offset);
    return false;
}

static bool fail_here(scan_t *x)
{
    return fail(x, x->p, x->p == x->end ? "unexpected end" : "unexpected character");
}

static bool push(scan_t *x, sse_json_t v)
{
    if (++x->values > VALUES_MAX)
        return fail(x, v.p, "too many values");
    if (x->n == x->cap) {
        size_t bytes = 2 * x->cap * sizeof(*x->stack);

        if (x->stack == x->first_stack) {
            x->stack = sse_malloc(bytes);
            memcpy(x->stack, x->first_stack, sizeof(x->first_stack));
        } else {
            x->stack = sse_realloc(x->stack, bytes);
        }
        x->cap *= 2;
    }
    x->stack[x->n++] = v;
    return true;
}

static void skip_space(scan_t *x)
{
    while (x->p < x->end && (*x->p == ' ' || *x->p == '\n' || *x->p == '\r' || *x->p == '\t'))
        x->p++;
}

static bool is_digit(const scan_t *x)
{
    return x->p < x->end && *x->p >= '0' && *x->p <= '9';
}

/* Over characters that need no look: everything but quotes, backslashes, controls and what is not
 * ASCII. Eight at a time; the test may stop too early but never too late. */
static const char *skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;

    for (;;) {
        unsigned char c;

        while (end - p >= 8) {
            uint64_t w, quote, slash;

            memcpy(&w, p, 8);
            quote = w ^ (ones * '"');
            slash = w ^ (ones * '\\');
            if (((w - ones * 0x20) | (quote - ones) | (slash - ones) | w) & tops)
                break;
            p += 8;
        }
        if (p == end)
            return p;
        c = (unsigned char)*p;
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return p;
        p++;
    }
}

static bool scan_escape(scan_t *x)
{
    int i;

    x->p++;
    if (x->p == x->end)
        return fail_here(x);
    if (*x->p != 'u') {
        if (!memchr("\"\\/bfnrt", *x->p, 8))
            return fail(x, x->p, "unknown escape");
        x->p++;
        return true;
    }
    x->p++;
    for (i = 0; i < 4; i++, x->p++) {
        char c = x->p < x->end ? *x->p : '\0';

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return fail_here(x);
    }
    return true;
}

static bool scan_string(scan_t *x)
{
    sse_json_t v = {.p = x->p, .type = SSE_JSON_STRING, .state = STRING_PLAIN};

    x->p++;
    for (;;) {
        x->p = skip_plain(x->p, x->end);
        if (x->p == x->end)
            return fail(x, x->p, "string without end");
        if (*x->p == '"')
            break;
        if (*x->p == '\\') {
            v.state = STRING_ESCAPED;
            v.u.doc = x->doc;
            if (!scan_escape(x))
                return false;
        } else if ((unsigned char)*x->p < 0x20) {
            return fail(x, x->p, "control character in a string");
        } else {
            size_t n = sse_name_utf8_char((sse_str_t){x->p, (size_t)(x->end - x->p)});

            if (n == 0)
                return fail(x, x->p, "invalid UTF-8");
            x->p += n;
        }
    }
    x->p++;
    v.n = (uint32_t)(x->p - v.p);
    return push(x, v);
}

static bool scan_digits(scan_t *x)
{
    if (!is_digit(x))
        return fail_here(x);
    while (is_digit(x))
        x->p++;
    return true;
}

static bool scan_number(scan_t *x)
{
    sse_json_t v = {.p = x->p, .type = SSE_JSON_NUMBER};

    if (*x->p == '-')
        x->p++;
    if (x->p < x->end && *x->p == '0')
        x->p++;
    else if (!scan_digits(x))
        return false;
    if (x->p < x->end && *x->p == '.') {
        x->p++;
        if (!scan_digits(x))
            return false;
    }
    if (x->p < x->end && (*x->p == 'e' || *x->p == 'E')) {
        x->p++;
        if (x->p < x->end && (*x->p == '+' || *x->p == '-'))
            x->p++;
        if (!scan_digits(x))
            return false;
    }
    v.n = (uint32_t)(x->p - v.p);
    return push(x, v);
}

static bool scan_word(scan_t *x, sse_str_t word, sse_json_type_t type)
{
    size_t i;

    for (i = 0; i < word.n; i++) {
        if (x->p + i == x->end || x->p[i] != word.p[i]) {
            x->p += i;
            return fail_here(x);
        }
    }
    x->p += word.n;
    return push(x, (sse_json_t){.p = x->p - word.n, .n = (uint32_t)word.n, .type = type & 7});
}

static bool scan_name(scan_t *x)
{
    skip_space(x);
    if (x->p == x->end || *x->p != '"' || !scan_string(x))
        return x->error->message[0] ? false : fail_here(x);
    skip_space(x);
    if (x->p == x->end || *x->p != ':')
        return fail_here(x);
    x->p++;
    return true;
}

/* After '[' or '{': everything up to the closing character. */
static bool scan_members(scan_t *x, bool object, unsigned *out_count)
{
    const char close = object ? '}' : ']';
    unsigned count = 0;

    skip_space(x);
    if (x->p < x->end && *x->p == close) {
        x->p++;
        *out_count = 0;
        return true;
    }
    for (;;) {
        if ((object && !scan_name(x)) || !scan_value(x))
            return false;
        count++;
        skip_space(x);
        if (x->p == x->end || (*x->p != ',' && *x->p != close))
            return fail_here(x);
        if (*x->p++ == close)
            break;
    }
    *out_count = count;
    return true;
}

static bool scan_container(scan_t *x)
{
    const bool object = *x->p == '{';
    sse_json_t v = {.p = x->p, .type = object ? SSE_JSON_OBJECT : SSE_JSON_ARRAY};
    const size_t first = x->n;
    unsigned count = 0;

    if (++x->depth > SSE_JSON_DEPTH_MAX)
        return fail(x, x->p, "nested too deeply");
    x->p++;
    if (!scan_members(x, object, &count))
        return false;
    x->depth--;
    if (count) {
        size_t bytes = (x->n - first) * sizeof(sse_json_t);
        sse_json_t *kids = take(x->doc, bytes);

        memcpy(kids, x->stack + first, bytes);
        v.u.kids = kids;
        v.count = count & (TEXT_MAX - 1);
        x->n = first;
    }
    v.n = (uint32_t)(x->p - v.p);
    return push(x, v);
}

static bool scan_value(scan_t *x)
{
    skip_space(x);
    if (x->p == x->end)
        return fail_here(x);
    switch (*x->p) {
    case '{':
    case '[':
        return scan_container(x);
    case '"':
        return scan_string(x);
    case 't':
        return scan_word(x, SSE_STR("true"), SSE_JSON_BOOL);
    case 'f':
        return scan_word(x, SSE_STR("false"), SSE_JSON_BOOL);
    case 'n':
        return scan_word(x, SSE_STR("null"), SSE_JSON_NULL);
    default:
        if (*x->p == '-' || is_digit(x))
            return scan_number(x);
        return fail_here(x);
    }
}

apr_status_t sse_json_parse(sse_str_t text, sse_json_doc_t **out_doc, sse_json_error_t *out_error)
{
    sse_json_error_t error = {0};
    scan_t x;
    bool good;

    x.start = x.p = text.p;
    x.end = text.n ? text.p + text.n : text.p;
    x.doc = sse_calloc(1, sizeof(*x.doc));
    x.stack = x.first_stack;
    x.n = x.values = x.depth = 0;
    x.cap = FIRST_STACK;
    x.error = &error;
    good = text.n < TEXT_MAX ? scan_value(&x) : fail(&x, x.p, "text longer than 128 MiB");
    if (good) {
        skip_space(&x);
        good = x.p == x.end || fail(&x, x.p, "unexpected character after the value");
    }
    if (good)
        x.doc->root = x.stack[0];
    if (x.stack != x.first_stack)
        free(x.stack);
    if (!good) {
        sse_json_free(x.doc);
        *out_error = error;
        return APR_EINVAL;
    }
    *out_doc = x.doc;
    return APR_SUCCESS;
}

void sse_json_free(sse_json_doc_t *doc)
{
    block_t *b, *next;

    if (!doc)
        return;
    for (b = doc->blocks; b; b = next) {
        next = b->next;
        free(b);
    }
    free(doc);
}

const sse_json_t *sse_json_root(const sse_json_doc_t *doc)
{
    return &doc->root;
}

sse_json_type_t sse_json_type(const sse_json_t *v)
{
    return (sse_json_type_t)v->type;
}

sse_str_t sse_json_source(const sse_json_t *v)
{
    return (sse_str_t){v->p, v->n};
}

const sse_json_t *sse_json_get(const sse_json_t *v, const char *name)
{
    const sse_str_t wanted = sse_str(name);
    size_t i;

    if (v->type != SSE_JSON_OBJECT)
        return NULL;
    for (i = v->count; i-- > 0;) {
        if (sse_str_eq(sse_json_string(&v->u.kids[2 * i]), wanted))
            return &v->u.kids[2 * i + 1];
    }
    return NULL;
}

size_t sse_json_count(const sse_json_t *v)
{
    return v->type == SSE_JSON_ARRAY || v->type == SSE_JSON_OBJECT ? v->count : 0;
}

const sse_json_t *sse_json_at(const sse_json_t *array, size_t i)
{
    return array->type == SSE_JSON_ARRAY && i < array->count ? &array->u.kids[i] : NULL;
}

const sse_json_t *sse_json_member(const sse_json_t *object, size_t i, sse_str_t *out_name)
{
    if (object->type != SSE_JSON_OBJECT || i >= object->count)
        return NULL;
    *out_name = sse_json_string(&object->u.kids[2 * i]);
    return &object->u.kids[2 * i + 1];
}

/* json-c's value of a string that the scanner has found good; NULL if it will not have it. */
static json_object *resolve(sse_str_t source)
{
    json_tokener *tok = json_tokener_new();
    json_object *o;

    if (!tok)
        abort();
    o = json_tokener_parse_ex(tok, source.p, (int)source.n);
    json_tokener_free(tok);
    return o;
}

sse_str_t sse_json_string(const sse_json_t *v)
{
    if (v->type != SSE_JSON_STRING)
        return SSE_STR_NONE;
    if (v->state == STRING_ESCAPED) {
        sse_json_t *w = (sse_json_t *)v; /* values live in the document's own memory */
        json_object *o = resolve(sse_json_source(v));
        int n = o ? json_object_get_string_len(o) : 0;
        char *text = take(v->u.doc, (size_t)n);

        if (n)
            memcpy(text, json_object_get_string(o), (size_t)n);
        json_object_put(o);
        w->u.text = text;
        w->count = (unsigned)n & (TEXT_MAX - 1);
        w->state = STRING_RESOLVED;
    }
    if (v->state == STRING_RESOLVED)
        return (sse_str_t){v->u.text, v->count};
    return (sse_str_t){v->p + 1, v->n - 2u};
}

bool sse_json_bool(const sse_json_t *v)
{
    return v->type == SSE_JSON_BOOL && v->p[0] == 't';
}

bool sse_json_int64(const sse_json_t *v, int64_t *out)
{
    const bool negative = v->p[0] == '-';
    int64_t value = 0;
    size_t i;

    if (v->type != SSE_JSON_NUMBER)
        return false;
    for (i = negative; i < v->n; i++) {
        int digit = v->p[i] - '0';

        if (digit < 0 || digit > 9)
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

static void quote_control(sse_buf_t *out, unsigned char c)
{
    static const char letters[] = "btn?fr"; /* from 0x08 */

    if (c >= 0x08 && c <= 0x0d && c != 0x0b) {
        sse_buf_char(out, '\\');
        sse_buf_char(out, letters[c - 0x08]);
    } else {
        sse_buf_printf(out, "\\u%04x", c);
    }
}

void sse_json_quote(sse_buf_t *out, sse_str_t s)
{
    const char *p = s.p, *end = s.n ? s.p + s.n : s.p;

    sse_buf_reserve(out, s.n + 2);
    sse_buf_char(out, '"');
    while (p < end) {
        const char *stop = skip_plain(p, end);
        unsigned char c;
        size_t n;

        sse_buf_add(out, p, (size_t)(stop - p));
        p = stop;
        if (p == end)
            break;
        c = (unsigned char)*p;
        n = 1;
        if (c < 0x20) {
            quote_control(out, c);
        } else if (c < 0x80) {
            sse_buf_char(out, '\\');
            sse_buf_char(out, (char)c);
        } else {
            n = sse_name_utf8_char((sse_str_t){p, (size_t)(end - p)});
            if (n)
                sse_buf_add(out, p, n);
            else
                sse_buf_str(out, SSE_STR("\xef\xbf\xbd"));
            n = n ? n : 1;
        }
        p += n;
    }
    sse_buf_char(out, '"');
}

/* The byte behind the string that begins at p; the text is known to be good. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\')
            p++;
    }
    return p + 1;
}

void sse_json_compact(sse_buf_t *out, const sse_json_t *v)
{
    const char *p = v->p, *end = v->p + v->n, *run = p;

    sse_buf_reserve(out, v->n);
    while (p < end) {
        if (*p == '"') {
            p = string_end(p, end);
        } else if (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') {
            sse_buf_add(out, run, (size_t)(p - run));
            run = ++p;
        } else {
            p++;
        }
    }
    sse_buf_add(out, run, (size_t)(end - run));
}
