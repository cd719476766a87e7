/* SPDX-License-Identifier: Apache-2.0 */
/* A channel is referenced by the list of open ones and by each request that still owes it an
 * answer. */
#include "hub/channels.h"

#include "core/fdpass.h"
#include "core/log.h"
#include "core/wire.h"
#include "hub/hub.h"
#include "hub/request.h"
#include "hub/routes.h"
#include <stdlib.h>
#include <unistd.h>

/* New channels taken before others get their turn. */
#define TURN_MAX 16
#define CHANNELS_MAX 8192

typedef struct channel_t {
    uv_poll_t poll;
    int fd; /* -1: closed */
    unsigned refs;
    sse_hub_t *hub;
    struct channel_t *next, **prev;
} channel_t;

/* What an answer needs to find its way back. */
typedef struct reply_t {
    channel_t *channel;
    uint32_t id;
} reply_t;

struct sse_channels_t {
    uv_poll_t rendezvous;
    bool listening;
    sse_hub_t *hub;
    channel_t *open;
    unsigned count;
};

static void channel_unref(channel_t *c)
{
    if (--c->refs == 0)
        free(c);
}

static void on_channel_closed(uv_handle_t *handle)
{
    channel_unref(handle->data);
}

static void channel_close(channel_t *c)
{
    if (c->fd < 0)
        return;
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->hub->channels->count--;
    sse_admission_source_closed(c->hub, c);
    uv_poll_stop(&c->poll);
    close(c->fd);
    c->fd = -1;
    uv_close((uv_handle_t *)&c->poll, on_channel_closed);
}

static reply_t *reply_create(channel_t *c, uint32_t id)
{
    reply_t *reply = sse_malloc(sizeof *reply);
    reply->channel = c;
    reply->id = id;
    c->refs++;
    return reply;
}

/* The worker waits for it with an empty socket, so there is room; where there is none the worker is
 * broken. */
static void reply_send(reply_t *reply, sse_wire_msg_t *msg)
{
    channel_t *c = reply->channel;
    msg->id = reply->id;
    if (c->fd >= 0 && sse_wire_send(c->fd, msg, -1, 0) != APR_SUCCESS)
        channel_close(c);
    channel_unref(c);
    free(reply);
}

static void send_reserved(void *baton, const sse_wire_reserved_t *reserved)
{
    reply_t *reply = baton;
    if (reply->channel->fd < 0 &&
        reserved->ticket) /* the worker is gone: nobody will come for it */
        sse_admission_release(reply->channel->hub, reserved->ticket);
    sse_wire_msg_t msg = {.type = SSE_WIRE_RESERVED, .u.reserved = *reserved};
    reply_send(reply, &msg);
}

static void send_answer(void *baton, const sse_answer_t *answer)
{
    reply_t *reply = baton;
    if (reply->channel->fd < 0 && answer->ticket)
        sse_admission_release(reply->channel->hub, answer->ticket);
    sse_wire_msg_t msg = {.type = SSE_WIRE_ADMIN_REPLY};
    msg.u.admin_reply = (sse_wire_admin_reply_t){
        .status = (uint32_t)answer->status,
        .headers = answer->headers,
        .content_type = sse_str(answer->content_type),
        .ticket = answer->ticket,
        .body = answer->body,
    };
    reply_send(reply, &msg);
}

static void free_in(void *backing)
{
    sse_wire_in_clear(backing);
    free(backing);
}

/* Takes the contents of `in`. */
static void start_admin(channel_t *c, sse_wire_in_t *in)
{
    sse_wire_in_t *kept = sse_malloc(sizeof *kept);
    *kept = *in;
    const sse_wire_admin_t *a = &kept->msg.u.admin;
    sse_request_t *req = sse_request_create(c->hub);
    req->realm = a->realm;
    req->method = a->method;
    req->path = a->path;
    req->query = a->query;
    req->content_type = a->content_type;
    req->accept = a->accept;
    req->address = a->address;
    req->body = a->body;
    req->backing = kept;
    req->backing_free = free_in;
    req->source = c;
    req->send = send_answer;
    req->baton = reply_create(c, kept->msg.id);
    sse_routes_dispatch(req);
}

/* False when the message is not one that a worker may send. Takes the contents of `in`. */
static bool take_message(channel_t *c, sse_wire_in_t *in)
{
    sse_hub_t *hub = c->hub;
    bool good = true;
    switch (in->msg.type) {
    case SSE_WIRE_RESERVE:
        sse_admission_reserve(hub, &in->msg.u.reserve, c, send_reserved,
                              reply_create(c, in->msg.id));
        break;
    case SSE_WIRE_ATTACH:
        good = in->fd >= 0;
        if (good)
            sse_admission_attach(hub, &in->msg.u.attach, in->fd);
        in->fd = -1;
        break;
    case SSE_WIRE_RELEASE:
        sse_admission_release(hub, in->msg.u.release.ticket);
        break;
    case SSE_WIRE_ADMIN:
        start_admin(c, in);
        return true;
    default:
        good = false;
        break;
    }
    sse_wire_in_clear(in);
    return good;
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
    channel_t *c = poll->data;
    sse_wire_in_t in;
    c->refs++;
    /* One: a worker waits for the answer before it says more, and the loop comes back for what
     * there is. */
    apr_status_t rv = sse_wire_recv(c->fd, SSE_WIRE_REQUEST_MAX, 0, &in);
    if (!APR_STATUS_IS_TIMEUP(rv) && (rv != APR_SUCCESS || !take_message(c, &in))) {
        if (rv != APR_SUCCESS && rv != APR_EOF && !APR_STATUS_IS_ECONNRESET(rv))
            sse_log(SSE_LOG_WARNING,
                    "SSE0203: a worker's channel was closed: it sent what is no message of "
                    "version %d",
                    SSE_WIRE_VERSION);
        channel_close(c);
    }
    channel_unref(c);
}

static void channel_open(sse_channels_t *channels, int fd)
{
    channel_t *c = sse_calloc(1, sizeof *c);
    c->fd = fd;
    c->hub = channels->hub;
    c->refs = 1;
    if (channels->count >= CHANNELS_MAX || uv_poll_init(&channels->hub->loop, &c->poll, fd)) {
        close(fd);
        free(c);
        return;
    }
    c->poll.data = c;
    c->next = channels->open;
    c->prev = &channels->open;
    if (c->next)
        c->next->prev = &c->next;
    channels->open = c;
    channels->count++;
    uv_poll_start(&c->poll, UV_READABLE, on_channel);
}

static void on_rendezvous(uv_poll_t *poll, int status, int events)
{
    sse_channels_t *channels = poll->data;
    const sse_hubconf_t *conf = &channels->hub->conf;
    uid_t allowed = conf->uid >= 0 ? (uid_t)conf->uid : geteuid();
    for (int i = 0; i < TURN_MAX; i++) {
        sse_wire_in_t in;
        apr_status_t rv = sse_wire_recv((int)conf->rendezvous_fd, 0, 0, &in);
        if (APR_STATUS_IS_TIMEUP(rv))
            return;
        if (rv == APR_EOF) { /* the parent is gone with the other end */
            uv_poll_stop(poll);
            return;
        }
        if (rv != APR_SUCCESS)
            continue;
        if (in.msg.type == SSE_WIRE_HELLO && in.fd >= 0 &&
            (in.peer_uid == allowed || in.peer_uid == 0)) {
            channel_open(channels, in.fd);
            in.fd = -1;
        } else {
            sse_log(SSE_LOG_WARNING, "SSE0204: refused a channel from uid %ld", (long)in.peer_uid);
        }
        sse_wire_in_clear(&in);
    }
}

sse_channels_t *sse_channels_create(sse_hub_t *hub)
{
    sse_channels_t *channels = sse_calloc(1, sizeof *channels);
    channels->hub = hub;
    return channels;
}

void sse_channels_listen(sse_channels_t *channels)
{
    int fd = (int)channels->hub->conf.rendezvous_fd;
    if (fd < 0 || channels->listening ||
        uv_poll_init(&channels->hub->loop, &channels->rendezvous, fd))
        return;
    channels->rendezvous.data = channels;
    channels->listening = true;
    uv_poll_start(&channels->rendezvous, UV_READABLE, on_rendezvous);
}

void sse_channels_close(sse_channels_t *channels)
{
    if (channels->listening)
        uv_close((uv_handle_t *)&channels->rendezvous, NULL);
    channels->listening = false;
    while (channels->open)
        channel_close(channels->open);
}

void sse_channels_free(sse_channels_t *channels)
{
    free(channels);
}

unsigned sse_channels_count(const sse_channels_t *channels)
{
    return channels->count;
}
