/* SPDX-License-Identifier: Apache-2.0 */
/* Text of positions, both ways. Pure functions, any thread. */
#include "core/eventid.h"

#define END_MARK ".end"

static size_t format_number(uint64_t v, unsigned base, char *out)
{
    char digits[20];
    size_t n = 0, i;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    for (i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

size_t sse_eventid_format(sse_pos_t pos, bool end_mark, char *out)
{
    size_t n = format_number(pos.epoch, 16, out);

    out[n++] = '-';
    n += format_number(pos.seq, 10, out + n);
    if (end_mark) {
        memcpy(out + n, END_MARK, sizeof(END_MARK) - 1);
        n += sizeof(END_MARK) - 1;
    }
    out[n] = '\0';
    return n;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Returns the number of bytes read, 0 for no number, leading zeros or overflow. */
static size_t parse_number(sse_str_t s, unsigned base, uint64_t *out_value)
{
    uint64_t v = 0;
    size_t i;

    for (i = 0; i < s.n; i++) {
        unsigned d = (unsigned)digit_value(s.p[i]);

        if (d >= base)
            break;
        if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v))
            return 0;
    }
    if (i > 1 && s.p[0] == '0')
        return 0;
    *out_value = v;
    return i;
}

apr_status_t sse_eventid_parse(sse_str_t text, sse_pos_t *out_pos, bool *out_end_mark)
{
    sse_pos_t pos;
    size_t n = parse_number(text, 16, &pos.epoch);
    bool end_mark = false;

    if (n == 0 || pos.epoch == 0 || n == text.n || text.p[n] != '-')
        return APR_EINVAL;
    text = (sse_str_t){text.p + n + 1, text.n - n - 1};
    n = parse_number(text, 10, &pos.seq);
    if (n == 0)
        return APR_EINVAL;
    text = (sse_str_t){text.p + n, text.n - n};
    if (text.n) {
        if (!sse_str_eq(text, SSE_STR(END_MARK)))
            return APR_EINVAL;
        end_mark = true;
    }
    *out_pos = pos;
    *out_end_mark = end_mark;
    return APR_SUCCESS;
}
