/* SPDX-License-Identifier: Apache-2.0 */
/* mod_sse: Server-Sent Events for Apache httpd. The module record and the hooks; what they call is
 * in src/httpd. */
#include "httpd/authn.h"
#include "httpd/config.h"
#include "httpd/directives.h"
#include "httpd/handler_admin.h"
#include "httpd/handler_stream.h"
#include "httpd/handoff.h"
#include "httpd/hublink.h"
#include "httpd/logsink.h"
#include "httpd/lookups.h"
#include "httpd/relay.h"
#include "httpd/sections.h"
#include "httpd/supervisor.h"
#include "httpd/tls.h"

#include <mpm_common.h>

static void child_init(apr_pool_t *pool, server_rec *s)
{
    sse_hublink_child_init(pool, sse_supervisor_rendezvous());
    sse_authn_child_init(pool, s);
    sse_relay_child_init(pool);
}

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_pre_config(sse_supervisor_pre_config, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_check_config(sse_sections_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(sse_logsink_post_config, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_post_config(sse_authn_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(sse_lookups_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    /* Last: what other modules fork before must not inherit the hub's descriptors. */
    ap_hook_post_config(sse_supervisor_post_config, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_monitor(sse_supervisor_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(sse_handler_stream, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(sse_handler_admin, NULL, NULL, APR_HOOK_MIDDLE);
    sse_handoff_register_hooks();
    sse_relay_register_hooks();
    sse_tls_register_hooks();
}

module AP_MODULE_DECLARE_DATA __attribute__((visibility("default"))) sse_module = {
    STANDARD20_MODULE_STUFF, sse_config_create_dir, sse_config_merge_dir, sse_config_create_server,
    sse_config_merge_server, sse_directives,        register_hooks,       AP_MODULE_FLAG_NONE,
};
