/* SPDX-License-Identifier: Apache-2.0 */
/* From a worker to the relay's thread: what a handler does, and the hook in which the MPM lets go
 * of the connection. */
#include "httpd/relay_loop.h"

#include "core/tcppeer.h"
#include "core/wire.h"
#include "httpd/config.h"
#include "httpd/socketpair.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <mpm_common.h>
#include <unistd.h>
#include <util_filter.h>

bool sse_relay_possible(void)
{
    int async = 0;
    return ap_mpm_query(AP_MPMQ_IS_ASYNC, &async) == APR_SUCCESS && async;
}

/* Its time for the request's body would end the connection with the first byte that a client sends
 * much later. */
static void remove_input_timeout(conn_rec *c)
{
    ap_filter_t *next;
    for (ap_filter_t *f = c->input_filters; f; f = next) {
        next = f->next;
        if (!strcasecmp(f->frec->name, "reqtimeout"))
            ap_remove_input_filter(f);
    }
}

static apr_status_t close_hub(void *data)
{
    sse_relay_t *relay = data;
    if (relay->hub >= 0)
        close(relay->hub);
    relay->hub = -1;
    return APR_SUCCESS;
}

apr_status_t sse_relay_start(request_rec *r, sse_answer_t *answer, uint64_t ticket, int *out_rc)
{
    conn_rec *c = r->connection;
    int pair[2], client;
    apr_status_t rv = sse_relay_loop_start();
    if (rv == APR_SUCCESS)
        rv = apr_os_sock_get(&client, ap_get_conn_socket(c));
    if (rv == APR_SUCCESS)
        rv = sse_socketpair_open(pair);
    if (rv != APR_SUCCESS)
        return rv;
    const sse_wire_attach_t attach = {.ticket = ticket, .carriage = SSE_CARRIED_RELAY};
    rv = sse_hublink_attach(answer, &attach, pair[1]);
    close(pair[1]);
    if (rv != APR_SUCCESS) {
        close(pair[0]);
        return rv;
    }
    sse_relay_t *relay = apr_pcalloc(c->pool, sizeof(*relay));
    relay->c = c;
    relay->r = r;
    relay->hub = pair[0];
    relay->client = client;
    relay->bb = apr_brigade_create(c->pool, c->bucket_alloc);
    apr_pool_cleanup_register(c->pool, relay, close_hub, apr_pool_cleanup_null);
    relay->heartbeat = (uint32_t)sse_config_global()->hub.heartbeat;
    sse_tcppeer_limit(client, relay->heartbeat);
    remove_input_timeout(c);
    ap_set_module_config(r->request_config, &sse_module, relay);
    *out_rc = SUSPENDED;
    return APR_SUCCESS;
}

static void on_suspend(conn_rec *c, request_rec *r)
{
    sse_relay_t *relay = r ? ap_get_module_config(r->request_config, &sse_module) : NULL;
    if (!relay || relay->handed)
        return;
    relay->handed = true;
    sse_relay_loop_take_post(relay);
}

void sse_relay_register_hooks(void)
{
    /* After all others: the connection is gone for this thread when it returns. */
    ap_hook_suspend_connection(on_suspend, NULL, NULL, APR_HOOK_REALLY_LAST);
}

void sse_relay_child_init(apr_pool_t *child_pool)
{
    sse_relay_loop_child_init(child_pool);
}
