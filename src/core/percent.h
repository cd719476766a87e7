/* SPDX-License-Identifier: Apache-2.0 */
/* Percent escapes of URLs undone (RFC 3986, section 2.1). No state; any thread. */
#ifndef SSE_PERCENT_H
#define SSE_PERCENT_H

#include "core/base.h"

/* What a hexadecimal digit is worth, in either case of letters; -1 for any other character. */
int sse_percent_digit(char c);

/* Writes what `in` stands for to out, which has in.n bytes; no NUL is added, but one may have been
 * escaped. plus: '+' is a space, as in queries. APR_EINVAL for a broken escape; *out_n is untouched
 * then, out is not. */
apr_status_t sse_percent_decode(sse_str_t in, bool plus, char *out, size_t *out_n);

#endif
