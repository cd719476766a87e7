/* SPDX-License-Identifier: Apache-2.0 */
/* The pump of a parked stream, in the request's own worker thread. */
#include "httpd/park.h"

#include "core/tcppeer.h"
#include "httpd/config.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <errno.h>
#include <http_core.h>
#include <http_protocol.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <util_filter.h>

#define BLOCK 16384
/* How often the worker looks whether the client or the child is going away without a word of the
 * hub's. */
#define LOOK_MS 1000
/* How long a child that stops waits for the last bytes. */
#define LEAVE apr_time_from_sec(5)

static bool child_stops(void)
{
    int state = AP_MPMQ_RUNNING;
    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    return state == AP_MPMQ_STOPPING;
}

/* Waits until the hub has something to say. False when the stream is to end: the client hung up, or
 * this child stops and the hub, which was asked to take leave (half a close), does not. */
static bool wait_for_hub(request_rec *r, int hub, int client, apr_time_t *stop_at)
{
    for (;;) {
        struct pollfd fds[] = {{hub, POLLIN, 0}, {client, POLLRDHUP, 0}};
        int n = poll(fds, 2, LOOK_MS);
        if (n < 0 && errno != EINTR)
            return false;
        if (fds[0].revents)
            return true;
        if (fds[1].revents || r->connection->aborted || (*stop_at && apr_time_now() > *stop_at))
            return false;
        if (!*stop_at && child_stops()) {
            *stop_at = apr_time_now() + LEAVE;
            shutdown(hub, SHUT_WR);
        }
    }
}

static bool write_block(request_rec *r, const char *block, size_t n)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(block, n, c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    apr_status_t rv = ap_pass_brigade(r->output_filters, bb);
    apr_brigade_destroy(bb);
    return rv == APR_SUCCESS && !c->aborted;
}

/* httpd waits so long for a client that has no room; one that does not even answer is given up by
 * then, too. */
static void limit_silence(const request_rec *r, int client)
{
    int64_t heartbeat = sse_config_global()->hub.heartbeat;
    int64_t timeout = apr_time_sec(r->server->timeout);
    if (heartbeat)
        sse_tcppeer_limit(client, (uint32_t)(timeout > heartbeat ? timeout : heartbeat));
}

int sse_park_pump(request_rec *r, int hub)
{
    char block[BLOCK];
    conn_rec *c = r->connection->master ? r->connection->master : r->connection;
    int client = -1;
    if (apr_os_sock_get(&client, ap_get_conn_socket(c)) == APR_SUCCESS)
        limit_silence(r, client);
    /* An HTTP/2 stream has no socket of its own to be looked at. */
    if (r->connection->master)
        client = -1;
    apr_time_t stop_at = 0;
    while (wait_for_hub(r, hub, client, &stop_at)) {
        ssize_t n = recv(hub, block, sizeof(block), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0 || !write_block(r, block, (size_t)n))
            break;
    }
    return OK;
}
