/* SPDX-License-Identifier: Apache-2.0 */
/* The child's pool of channels. One mutex guards the idle ones and the notice that the hub is away;
 * a channel on loan belongs to its borrower. */
#include "httpd/hublink.h"

#include "core/crypto.h"
#include "core/fdpass.h"

#include <apr_thread_mutex.h>
#include <apr_time.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* The largest reply that a worker takes: a page of history. */
#define REPLY_MAX (64 * 1024 * 1024)
#define HELLO_MS 1000
/* After a time-out other requests fail at once for this long: workers must not all wait for a hub
 * that does not answer. */
#define AWAY apr_time_from_msec(500)

struct sse_channel_t {
    int fd;
    uint32_t last_id;
    sse_channel_t *next; /* idle ones */
};

static struct {
    int rendezvous;
    apr_thread_mutex_t *mutex;
    sse_channel_t *idle;
    apr_time_t away_until;
} link_ = {.rendezvous = -1};

static void close_channel(sse_channel_t *channel)
{
    close(channel->fd);
    free(channel);
}

/* The child ends. */
static apr_status_t close_idle(void *data)
{
    while (link_.idle) {
        sse_channel_t *channel = link_.idle;
        link_.idle = channel->next;
        close_channel(channel);
    }
    return APR_SUCCESS;
}

void sse_hublink_child_init(apr_pool_t *child_pool, int rendezvous)
{
    link_.rendezvous = rendezvous;
    link_.idle = NULL;
    link_.away_until = 0;
    apr_thread_mutex_create(&link_.mutex, APR_THREAD_MUTEX_DEFAULT, child_pool);
    apr_pool_cleanup_register(child_pool, NULL, close_idle, apr_pool_cleanup_null);
}

static sse_channel_t *take_idle(void)
{
    apr_thread_mutex_lock(link_.mutex);
    sse_channel_t *channel = link_.idle;
    if (channel)
        link_.idle = channel->next;
    apr_thread_mutex_unlock(link_.mutex);
    return channel;
}

static void put_idle(sse_channel_t *channel)
{
    apr_thread_mutex_lock(link_.mutex);
    channel->next = link_.idle;
    link_.idle = channel;
    apr_thread_mutex_unlock(link_.mutex);
}

static bool hub_is_away(void)
{
    apr_thread_mutex_lock(link_.mutex);
    bool away = apr_time_now() < link_.away_until;
    apr_thread_mutex_unlock(link_.mutex);
    return away;
}

static void note_answer(bool answered)
{
    apr_thread_mutex_lock(link_.mutex);
    link_.away_until = answered ? 0 : apr_time_now() + AWAY;
    apr_thread_mutex_unlock(link_.mutex);
}

/* An idle channel has nothing to read; if it has, or its other end is gone, its hub is no more. */
static bool still_good(const sse_channel_t *channel)
{
    struct pollfd p = {channel->fd, POLLIN, 0};
    return poll(&p, 1, 0) == 0;
}

static apr_status_t open_channel(sse_channel_t **out)
{
    int fds[2];
    if (link_.rendezvous < 0)
        return APR_TIMEUP;
    apr_status_t rv = sse_fdpass_pair(fds);
    if (rv != APR_SUCCESS)
        return rv;
    sse_wire_msg_t hello = {.type = SSE_WIRE_HELLO, .u.hello.pid = (uint32_t)getpid()};
    rv = sse_wire_send(link_.rendezvous, &hello, fds[1], HELLO_MS);
    close(fds[1]);
    if (rv != APR_SUCCESS) {
        close(fds[0]);
        return rv;
    }
    *out = sse_calloc(1, sizeof(**out));
    (*out)->fd = fds[0];
    return APR_SUCCESS;
}

/* One attempt on one channel. *out_sent: the hub may have seen the request. */
static apr_status_t try_call(sse_channel_t *channel, sse_wire_msg_t *req, sse_wire_type_t wanted,
                             int timeout_ms, sse_wire_in_t *out, bool *out_sent)
{
    *out_sent = false;
    req->id = ++channel->last_id;
    apr_status_t rv = sse_wire_send(channel->fd, req, -1, timeout_ms);
    if (rv != APR_SUCCESS)
        return rv;
    *out_sent = true;
    rv = sse_wire_recv(channel->fd, REPLY_MAX, timeout_ms, out);
    if (rv != APR_SUCCESS)
        return rv;
    if (out->msg.type == wanted && out->msg.id == req->id)
        return APR_SUCCESS;
    sse_wire_in_clear(out);
    return APR_EINVAL;
}

static apr_status_t next_channel(sse_channel_t **out)
{
    sse_channel_t *channel;
    while ((channel = take_idle())) {
        if (still_good(channel)) {
            *out = channel;
            return APR_SUCCESS;
        }
        close_channel(channel);
    }
    return open_channel(out);
}

apr_status_t sse_hublink_call(sse_wire_msg_t *req, sse_wire_type_t wanted, bool repeatable,
                              int timeout_ms, sse_answer_t *out)
{
    if (hub_is_away())
        return APR_TIMEUP;
    apr_time_t until = apr_time_now() + apr_time_from_msec(timeout_ms);
    for (int attempt = 0;; attempt++) {
        sse_channel_t *channel = NULL;
        bool sent = false;
        apr_status_t rv = next_channel(&channel);
        if (rv == APR_SUCCESS) {
            apr_time_t left = apr_time_as_msec(until - apr_time_now());
            rv = try_call(channel, req, wanted, left > 0 ? (int)left : 0, &out->in, &sent);
            if (rv == APR_SUCCESS) {
                note_answer(true);
                out->channel = channel;
                out->broken = false;
                return APR_SUCCESS;
            }
            close_channel(channel);
        }
        /* A hub that went away is replaced within a second; what it cannot have seen, or may see
         * twice, is asked of the next one. */
        if (rv == APR_EOF && (!sent || repeatable) && attempt < 2)
            continue;
        if (APR_STATUS_IS_TIMEUP(rv))
            note_answer(false);
        return sent && rv != APR_TIMEUP ? APR_EOF : rv;
    }
}

apr_status_t sse_hublink_attach(sse_answer_t *answer, const sse_wire_attach_t *attach, int fd)
{
    sse_wire_msg_t msg = {.type = SSE_WIRE_ATTACH, .u.attach = *attach};
    msg.id = ++answer->channel->last_id;
    apr_status_t rv = sse_wire_send(answer->channel->fd, &msg, fd, SSE_HUBLINK_RESERVE_MS);
    answer->broken = rv != APR_SUCCESS;
    return rv;
}

void sse_hublink_release(sse_answer_t *answer, uint64_t ticket)
{
    sse_wire_msg_t msg = {.type = SSE_WIRE_RELEASE, .u.release.ticket = ticket};
    msg.id = ++answer->channel->last_id;
    answer->broken =
        answer->broken || sse_wire_send(answer->channel->fd, &msg, -1, 0) != APR_SUCCESS;
}

void sse_hublink_done(sse_answer_t *answer)
{
    if (!answer->channel)
        return;
    sse_wire_in_clear(&answer->in);
    if (answer->broken)
        close_channel(answer->channel);
    else
        put_idle(answer->channel);
    answer->channel = NULL;
}
