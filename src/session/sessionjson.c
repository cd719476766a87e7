/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a session's JSON. core/json is not used here on purpose: sessions are written by Python's
 * json module, whose dialect (NaN, Infinity, lone surrogates, bytes taken as latin-1, nesting
 * beyond 64) a strict reader must refuse.
 *
 * A scanner with a bit per open bracket instead of recursion; only the four members of the
 * outermost object that matter are decoded, everything else is checked and skipped. Runs in httpd's
 * workers. */
#include "session/pickle.h"
#include "session/sessiondata.h"
#include <apr_strings.h>

#define DEPTH_MAX 1000
/* The longest string that is decoded: a user's key, a backend's dotted path, a hash. */
#define STRING_MAX 1024

typedef struct scanner_t {
    const unsigned char *p, *end;
    apr_pool_t *pool;
} scanner_t;

sse_session_key_t sse_session_key(sse_str_t name)
{
    static const sse_str_t keys[SSE_KEY_COUNT] = {
        [SSE_KEY_USER] = SSE_STR("_auth_user_id"),
        [SSE_KEY_BACKEND] = SSE_STR("_auth_user_backend"),
        [SSE_KEY_HASH] = SSE_STR("_auth_user_hash"),
        [SSE_KEY_EXPIRY] = SSE_STR("_session_expiry"),
    };
    int k = 0;

    while (k < SSE_KEY_COUNT && !sse_str_eq(name, keys[k]))
        k++;
    return (sse_session_key_t)k;
}

static void skip_space(scanner_t *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(scanner_t *s, char c)
{
    if (s->p == s->end || *s->p != (unsigned char)c)
        return false;
    s->p++;
    return true;
}

static bool take_word(scanner_t *s, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool hex4(scanner_t *s, uint32_t *out)
{
    uint32_t v = 0;

    if (s->end - s->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        unsigned char c = s->p[i];
        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (c - 'a' + 10u);
        else if (c >= 'A' && c <= 'F')
            v = v * 16 + (c - 'A' + 10u);
        else
            return false;
    }
    s->p += 4;
    *out = v;
    return true;
}

static size_t utf8_put(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The character of an escape, after its backslash; pairs of surrogates are joined, lone ones stay.
 */
static bool take_escape(scanner_t *s, uint32_t *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at;
    uint32_t low;

    if (s->p == s->end)
        return false;
    if (*s->p != 'u') {
        at = *s->p ? strchr(from, *s->p) : NULL;
        if (!at)
            return false;
        s->p++;
        *out = (unsigned char)to[at - from];
        return true;
    }
    s->p++;
    if (!hex4(s, out))
        return false;
    if (*out >= 0xd800 && *out <= 0xdbff && s->end - s->p >= 6 && s->p[0] == '\\' &&
        s->p[1] == 'u') {
        scanner_t ahead = *s;
        ahead.p += 2;
        if (!hex4(&ahead, &low))
            return false;
        if (low >= 0xdc00 && low <= 0xdfff) {
            *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
            s->p = ahead.p;
        }
    }
    return true;
}

/* A string with its opening quote at s->p. Decodes into `to` (STRING_MAX bytes) when it is not
 * NULL; *out_n is SIZE_MAX when the string is longer than that. */
static bool take_string(scanner_t *s, char *to, size_t *out_n)
{
    size_t n = 0;
    bool fits = true;

    if (!take(s, '"'))
        return false;
    while (s->p < s->end) {
        uint32_t c = *s->p++;
        if (c == '"') {
            if (out_n)
                *out_n = fits ? n : SIZE_MAX;
            return true;
        }
        if (c < 0x20 || (c == '\\' && !take_escape(s, &c)))
            return false;
        if (!to || !fits)
            continue;
        if (n + 4 > STRING_MAX)
            fits = false;
        else
            n += utf8_put(c, to + n);
    }
    return false;
}

static size_t take_digits(scanner_t *s)
{
    const unsigned char *from = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

static bool take_number(scanner_t *s, sse_field_t *out)
{
    bool negative = take(s, '-'), whole = true, fits = true;
    const unsigned char *from = s->p;
    int64_t v = 0;
    size_t n;

    out->type = SSE_FIELD_OTHER;
    if (take_word(s, "Infinity"))
        return true;
    n = take_digits(s);
    if (n == 0 || (n > 1 && *from == '0'))
        return false;
    for (size_t i = 0; i < n && fits; i++)
        fits = !__builtin_mul_overflow(v, 10, &v) && !__builtin_add_overflow(v, from[i] - '0', &v);
    if (take(s, '.')) {
        whole = false;
        if (take_digits(s) == 0)
            return false;
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        whole = false;
        s->p++;
        if (!take(s, '+'))
            take(s, '-');
        if (take_digits(s) == 0)
            return false;
    }
    if (whole && fits) {
        out->type = SSE_FIELD_INT;
        out->i = negative ? -v : v;
    }
    return true;
}

/* A value that is no container. `keep`: the string's characters are wanted. */
static bool take_scalar(scanner_t *s, bool keep, sse_field_t *out)
{
    char text[STRING_MAX];
    size_t n = 0;

    *out = (sse_field_t){.type = SSE_FIELD_OTHER};
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        if (!take_string(s, keep ? text : NULL, &n))
            return false;
        if (keep && n != SIZE_MAX) {
            out->type = SSE_FIELD_STRING;
            out->s = (sse_str_t){apr_pmemdup(s->pool, text, n), n};
        }
        return true;
    case 't':
        return take_word(s, "true");
    case 'f':
        return take_word(s, "false");
    case 'N':
        return take_word(s, "NaN");
    case 'n':
        out->type = SSE_FIELD_NULL;
        return take_word(s, "null");
    default:
        return take_number(s, out);
    }
}

typedef struct brackets_t {
    unsigned char object[(DEPTH_MAX + 7) / 8]; /* a bit for each open bracket: 1 for '{' */
    int depth;
} brackets_t;

static bool open_bracket(brackets_t *b, bool object)
{
    if (b->depth == DEPTH_MAX)
        return false;
    if (object)
        b->object[b->depth / 8] |= (unsigned char)(1u << (b->depth % 8));
    else
        b->object[b->depth / 8] &= (unsigned char)~(1u << (b->depth % 8));
    b->depth++;
    return true;
}

static bool in_object(const brackets_t *b)
{
    int d = b->depth - 1;
    return (b->object[d / 8] >> (d % 8)) & 1;
}

/* The name and colon before a member's value; *out_key tells whether the member is one of ours. */
static bool take_name(scanner_t *s, const brackets_t *b, sse_session_key_t *out_key)
{
    char name[STRING_MAX];
    size_t n = 0;
    bool outermost = b->depth == 1;

    skip_space(s);
    if (!take_string(s, outermost ? name : NULL, &n))
        return false;
    *out_key = outermost && n != SIZE_MAX ? sse_session_key((sse_str_t){name, n}) : SSE_KEY_COUNT;
    skip_space(s);
    return take(s, ':');
}

/* After a value: closes what ends here. False on a syntax error; *out_more: another value follows
 * (after its name, in an object). */
static bool close_brackets(scanner_t *s, brackets_t *b, bool *out_more)
{
    *out_more = false;
    while (b->depth > 0) {
        skip_space(s);
        if (take(s, ',')) {
            *out_more = true;
            return true;
        }
        if (!take(s, in_object(b) ? '}' : ']'))
            return false;
        b->depth--;
    }
    skip_space(s);
    return s->p == s->end;
}

apr_status_t sse_session_json_read(sse_str_t text, apr_pool_t *pool, sse_session_data_t *out)
{
    const unsigned char *from = (const unsigned char *)text.p;
    scanner_t s = {from, from + text.n, pool};
    brackets_t b = {.depth = 0};
    sse_session_data_t data = {0};
    sse_session_key_t key = SSE_KEY_COUNT;
    bool more = true;

    if (text.n > SSE_SESSION_DATA_MAX)
        return APR_EINVAL;
    skip_space(&s);
    if (s.p == s.end || *s.p != '{')
        return APR_EINVAL;
    while (more) {
        bool object;
        sse_field_t value = {.type = SSE_FIELD_OTHER};

        skip_space(&s);
        object = s.p < s.end && *s.p == '{';
        if (object || (s.p < s.end && *s.p == '[')) {
            s.p++;
            if (!open_bracket(&b, object))
                return APR_EINVAL;
            if (b.depth == 2 && key != SSE_KEY_COUNT)
                data.field[key] = value;
            skip_space(&s);
            if (s.p < s.end && *s.p == (object ? '}' : ']')) {
                s.p++;
                b.depth--;
            } else {
                if (object && !take_name(&s, &b, &key))
                    return APR_EINVAL;
                if (!object)
                    key = SSE_KEY_COUNT;
                continue;
            }
        } else {
            if (!take_scalar(&s, key != SSE_KEY_COUNT, &value))
                return APR_EINVAL;
            if (key != SSE_KEY_COUNT)
                data.field[key] = value;
        }
        if (!close_brackets(&s, &b, &more))
            return APR_EINVAL;
        key = SSE_KEY_COUNT;
        if (more && in_object(&b) && !take_name(&s, &b, &key))
            return APR_EINVAL;
    }
    *out = data;
    return APR_SUCCESS;
}

apr_status_t sse_session_data_read(sse_str_t bytes, apr_pool_t *pool, sse_session_data_t *out)
{
    if (bytes.n > SSE_SESSION_DATA_MAX)
        return APR_EINVAL;
    if (bytes.n >= 2 && (unsigned char)bytes.p[0] == 0x80 && (unsigned char)bytes.p[1] <= 5)
        return sse_pickle_read(bytes, pool, out);
    return sse_session_json_read(bytes, pool, out);
}
