/* SPDX-License-Identifier: Apache-2.0 */
/* Origins as browsers write them (RFC 6454, section 6.2). No httpd in here, no I/O. */
#ifndef SSE_HTTPD_ORIGIN_H
#define SSE_HTTPD_ORIGIN_H

#include "core/base.h"
#include <apr_pools.h>

/* "HTTPS://Example.org:443" becomes "https://example.org". NULL when the text is not scheme, host
 * and perhaps port of http or https ("null", a path, user information, a wildcard). */
const char *sse_origin_normalize(const char *text, apr_pool_t *p);

/* The site's own origin, from its scheme and a Host header; NULL when that is no host. */
const char *sse_origin_of_site(const char *scheme, const char *host, apr_pool_t *p);

#endif
