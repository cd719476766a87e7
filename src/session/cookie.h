/* SPDX-License-Identifier: Apache-2.0 */
/* Cookies as Django reads them (django/http/cookie.py parse_cookie): the last of a name wins. No
 * I/O; any thread. */
#ifndef SSE_COOKIE_H
#define SSE_COOKIE_H

#include "core/base.h"
#include <apr_pools.h>

/* The value of the last cookie called `name` in a Cookie header, white space stripped and a quoted
 * value unquoted (allocated in pool then). False when there is none, *out_value untouched. */
bool sse_cookie_find(const char *header, const char *name, apr_pool_t *pool, sse_str_t *out_value);

#endif
