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

bool sse_logsink_due(apr_time_t *last)
{
    apr_time_t now = apr_time_now();
    apr_time_t before = __atomic_load_n(last, __ATOMIC_RELAXED);
    if (before && now - before < apr_time_from_sec(10) && now >= before)
        return false;
    return __atomic_compare_exchange_n(last, &before, now, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
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
