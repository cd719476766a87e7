/* SPDX-License-Identifier: Apache-2.0 */
/* Which database mod_dbd uses for a server: read from httpd's tree of directives, since mod_dbd
 * tells nobody. While httpd reads its configuration only. */
#ifndef SSE_HTTPD_DBDCONF_H
#define SSE_HTTPD_DBDCONF_H

#include "httpd/config.h"

typedef struct sse_dbdconf_t {
    const char *driver; /* NULL: there is no DBDriver for the server */
    const char *params; /* "" if none */
    const char *file;   /* where DBDParams stands (DBDriver, if there are none) */
    int line;
} sse_dbdconf_t;

/* What holds for s: its own directives before the main server's, each by itself, as mod_dbd merges
 * them. */
sse_dbdconf_t sse_dbdconf_of(apr_pool_t *p, const server_rec *s);

/* False too when one is NULL. */
bool sse_dbdconf_same(const sse_dbdconf_t *a, const sse_dbdconf_t *b);

#endif
