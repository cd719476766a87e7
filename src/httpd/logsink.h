/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages of the layers below go in httpd's processes: the main server's error log. */
#ifndef SSE_HTTPD_LOGSINK_H
#define SSE_HTTPD_LOGSINK_H

#include <httpd.h>
#include <stdbool.h>

/* post_config hook; its effect is inherited by workers. */
int sse_logsink_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* True at most once in ten seconds for each *last (0 at first): a store that is away must not fill
 * the log. Any thread. */
bool sse_logsink_due(apr_time_t *last);

#endif
