/* SPDX-License-Identifier: Apache-2.0 */
/* Passes messages of core and session on to httpd's error log. Any thread. */
#include "httpd/logsink.h"

#include "core/log.h"
#include "httpd/config.h"

#include <http_main.h>

static void write_message(sse_log_level_t level, const char *message)
{
    ap_log_error(APLOG_MARK, (int)level, 0, ap_server_conf, "%s", message);
}

/* httpd unloads this code when it restarts. */
static apr_status_t forget_sink(void *data)
{
    sse_log_sink_set(NULL, SSE_LOG_WARNING);
    return APR_SUCCESS;
}

int sse_logsink_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int level = ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);
    if (level > APLOG_DEBUG)
        level = APLOG_DEBUG;
    sse_log_sink_set(write_message, (sse_log_level_t)level);
    apr_pool_cleanup_register(pconf, NULL, forget_sink, apr_pool_cleanup_null);
    return OK;
}
