/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of httpd's configuration that set one of our handlers: found once when the
 * configuration has been read, checked there, and looked up by each request. A handler that comes
 * from anywhere else (.htaccess, RewriteRule) stays inert. Read-only once workers run. */
#ifndef SSE_HTTPD_SECTIONS_H
#define SSE_HTTPD_SECTIONS_H

#include "httpd/config.h"
#include "httpd/dbdconf.h"

#include <ap_expr.h>

typedef struct sse_section_t {
    const ap_expr_info_t *expr; /* identity: what SetHandler made of its argument */
    const char *handler;        /* SSE_HANDLER_...; NULL: an expression decides per request */
    const char *path;           /* of the section; NULL outside sections */
    ap_regex_t *regex;          /* of <LocationMatch> */
    bool directory;             /* <Directory>: path is no URL */
    const server_rec *server;
    const sse_dir_conf_t *conf; /* as far as sections alone decide */
    const sse_dbdconf_t *db; /* its server's database; NULL unless it is a stream that needs one */
} sse_section_t;

/* check_config hook: finds the sections and refuses what cannot work. HTTP_INTERNAL_SERVER_ERROR
 * after a log line. */
int sse_sections_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* The section whose SetHandler gave this request its handler; NULL when none of ours did. */
const sse_section_t *sse_sections_find(request_rec *r);

/* What follows the section's own path in r->uri, percent-encoded again: "/publish"; "/" if nothing.
 * A <Location> and a plain prefix give the rest, a <LocationMatch> what its expression did not
 * match, a <Directory> the path info. */
const char *sse_sections_path_below(const sse_section_t *section, const request_rec *r);

#endif
