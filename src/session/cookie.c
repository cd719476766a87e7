/* SPDX-License-Identifier: Apache-2.0 */
/* Cookies as Django reads them: split at ';', name and value at the first '=', white space
 * (Python's, so Unicode's) stripped, quotes removed as http.cookies does. Runs in httpd's workers;
 * holds nothing. */
#include "session/cookie.h"

/* Bytes of the white space character that p begins with, 0 if it is none: what Python's str.strip()
 * strips, in UTF-8. */
static size_t space_at(const unsigned char *p, size_t n)
{
    if (n == 0)
        return 0;
    if (p[0] == ' ' || (p[0] >= 0x09 && p[0] <= 0x0d) || (p[0] >= 0x1c && p[0] <= 0x1f))
        return 1;
    if (n >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0))
        return 2;
    if (n < 3)
        return 0;
    if (p[0] == 0xe1 && p[1] == 0x9a && p[2] == 0x80) /* U+1680 */
        return 3;
    if (p[0] == 0xe2 && p[1] == 0x80 &&
        ((p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf))
        return 3;                                     /* U+2000-200A, 2028, 2029, 202F */
    if (p[0] == 0xe2 && p[1] == 0x81 && p[2] == 0x9f) /* U+205F */
        return 3;
    if (p[0] == 0xe3 && p[1] == 0x80 && p[2] == 0x80) /* U+3000 */
        return 3;
    return 0;
}

static sse_str_t strip(sse_str_t s)
{
    size_t k;

    while ((k = space_at((const unsigned char *)s.p, s.n)) > 0) {
        s.p += k;
        s.n -= k;
    }
    for (;;) {
        size_t before = s.n;
        for (k = 1; k <= 3 && k <= s.n; k++) {
            if (space_at((const unsigned char *)s.p + s.n - k, k) == k) {
                s.n -= k;
                break;
            }
        }
        if (s.n == before)
            return s;
    }
}

static bool is_octal(const char *p, size_t n)
{
    return n >= 3 && p[0] >= '0' && p[0] <= '3' && p[1] >= '0' && p[1] <= '7' && p[2] >= '0' &&
           p[2] <= '7';
}

/* http.cookies._unquote: only what is quoted on both sides; \ooo is a character, \x is x. */
static sse_str_t unquote(sse_str_t s, apr_pool_t *pool)
{
    char *to;
    size_t n = 0;

    if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
        return s;
    s.p++;
    s.n -= 2;
    if (s.n == 0 || !memchr(s.p, '\\', s.n))
        return s;

    to = apr_palloc(pool, s.n);
    for (size_t i = 0; i < s.n;) {
        if (s.p[i] != '\\' || i + 1 == s.n) {
            to[n++] = s.p[i++];
        } else if (is_octal(s.p + i + 1, s.n - i - 1)) {
            unsigned c = (unsigned)(s.p[i + 1] - '0') * 64 + (unsigned)(s.p[i + 2] - '0') * 8 +
                         (unsigned)(s.p[i + 3] - '0');
            if (c < 0x80) {
                to[n++] = (char)c;
            } else { /* a character up to U+00FF takes two bytes: there is room, the escape had four
                      */
                to[n++] = (char)(0xc0 | (c >> 6));
                to[n++] = (char)(0x80 | (c & 0x3f));
            }
            i += 4;
        } else {
            to[n++] = s.p[i + 1];
            i += 2;
        }
    }
    return (sse_str_t){to, n};
}

bool sse_cookie_find(const char *header, const char *name, apr_pool_t *pool, sse_str_t *out_value)
{
    sse_str_t wanted = sse_str(name), found = SSE_STR_NONE;
    bool any = false;

    if (!header)
        return false;
    for (const char *p = header;;) {
        size_t n = strcspn(p, ";");
        const char *eq = memchr(p, '=', n);
        if (eq) {
            sse_str_t key = strip((sse_str_t){p, (size_t)(eq - p)});
            if (sse_str_eq(key, wanted)) {
                found = strip((sse_str_t){eq + 1, (size_t)(p + n - eq - 1)});
                any = true;
            }
        }
        if (!p[n])
            break;
        p += n + 1;
    }
    if (any)
        *out_value = unquote(found, pool);
    return any;
}
