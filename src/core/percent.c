/* SPDX-License-Identifier: Apache-2.0 */
/* See percent.h. */
#include "core/percent.h"

int sse_percent_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

apr_status_t sse_percent_decode(sse_str_t in, bool plus, char *out, size_t *out_n)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%') {
            int high = in.n - i > 2 ? sse_percent_digit(in.p[i + 1]) : -1;
            int low = in.n - i > 2 ? sse_percent_digit(in.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return APR_EINVAL;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = c;
    }
    *out_n = n;
    return APR_SUCCESS;
}
