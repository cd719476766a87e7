/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the hub, and what the reactors say to the control loop. */
#include "hub/hub.h"

#include "core/log.h"
#include "hub/adminsock.h"
#include "hub/channels.h"
#include "hub/fanout.h"
#include "hub/tracking.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Reactors by default: more threads than this only cost where one saturates a network card. */
#define REACTORS_DEFAULT_MAX 8
#define REACTORS_MAX 64

/* FNV-1a: realm and user spread over the reactors. */
uint32_t sse_hub_shard(const sse_hub_t *hub, sse_str_t realm, sse_str_t user)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < realm.n; i++)
        hash = (hash ^ (unsigned char)realm.p[i]) * 16777619u;
    hash = (hash ^ 0) * 16777619u;
    for (size_t i = 0; i < user.n; i++)
        hash = (hash ^ (unsigned char)user.p[i]) * 16777619u;
    return hash % hub->n_reactors;
}

sse_reactor_t *sse_hub_reactor(sse_hub_t *hub, sse_str_t realm, sse_str_t user)
{
    if (!user.n)
        return hub->reactors[hub->next_reactor++ % hub->n_reactors];
    return hub->reactors[sse_hub_shard(hub, realm, user)];
}

/* ---- notices ---- */

void sse_hub_presence_told(sse_hub_t *hub, sse_str_t realm, sse_str_t user, bool changed)
{
    const sse_present_t *now = sse_presence_find(&hub->presence, realm, user);
    if (hub->broker && hub->broker->driver->presence_user_set)
        hub->broker->driver->presence_user_set(hub->broker, realm, user, now ? now->streams : 0,
                                               now != NULL);
    else if (changed)
        sse_fanout_presence(hub, realm, user, now != NULL);
}

static void take_user(sse_hub_t *hub, const sse_notice_t *n)
{
    sse_str_t realm = sse_str(n->realm), user = sse_str(n->user);
    sse_hub_presence_told(hub, realm, user,
                          sse_presence_user(&hub->presence, realm, user, n->streams, n->online));
}

static void on_all_stopped(sse_hub_t *hub);

static void take_notice(void *owner, sse_letter_t *letter)
{
    sse_hub_t *hub = owner;
    sse_notice_t *n = (sse_notice_t *)letter;
    switch (n->type) {
    case SSE_NOTICE_ATTACHED:
        sse_interest_attach(hub, n->attach, false);
        break;
    case SSE_NOTICE_INTEREST:
        sse_interest_change(hub, sse_str(n->realm),
                            (sse_channel_t){(sse_channel_kind_t)n->kind, sse_str(n->user)},
                            n->online);
        break;
    case SSE_NOTICE_CLOSED:
        if (n->attach) /* it could not be opened */
            sse_interest_attach(hub, n->attach, false);
        sse_admission_closed(hub, n->address, n->parked);
        hub->admission.carried[n->carriage]--;
        if (n->realm && !n->feed)
            sse_presence_stream(&hub->presence, sse_str(n->realm), -1);
        break;
    case SSE_NOTICE_USER:
        take_user(hub, n);
        break;
    case SSE_NOTICE_HISTORY:
        sse_replay_ask(hub, n);
        return;
    case SSE_NOTICE_CURSORS:
        sse_tracking_add(hub, n);
        return;
    case SSE_NOTICE_ENDED:
        sse_fanout_ended(n->gather, n->streams);
        break;
    case SSE_NOTICE_STOPPED:
        if (--hub->reactors_running == 0)
            on_all_stopped(hub);
        break;
    }
    sse_notice_free(n);
}

static void after_notices(void *owner)
{
    sse_tracking_flush(owner);
}

/* ---- the end ---- */

static void close_handle(uv_handle_t *handle, void *unused)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_broker_stopped(void *baton, apr_status_t status)
{
    sse_hub_t *hub = baton;
    hub->broker = NULL;
    sse_adminsock_close(hub->adminsock);
    sse_channels_close(hub->channels);
    sse_admission_clear(hub);
    sse_replay_clear(hub);
    sse_interest_clear(hub);
    sse_mailbox_close(&hub->notices);
    uv_walk(&hub->loop, close_handle, NULL);
}

static void on_all_stopped(sse_hub_t *hub)
{
    for (uint32_t i = 0; i < hub->n_reactors; i++)
        sse_reactor_destroy(hub->reactors[i]);
    free(hub->reactors);
    hub->reactors = NULL;
    hub->broker->driver->stop(hub->broker, on_broker_stopped, hub);
}

void sse_hub_stop(sse_hub_t *hub)
{
    if (hub->state != SSE_HUB_RUNNING)
        return;
    hub->state = SSE_HUB_STOPPING;
    sse_log(SSE_LOG_INFO, "the hub stops with %llu streams", atomic_load(&hub->streams));
    for (uint32_t i = 0; i < hub->n_reactors; i++)
        sse_reactor_stop_post(hub->reactors[i], SSE_END_SHUTDOWN);
}

/* ---- the loop's events ---- */

static void on_signal(uv_signal_t *signal, int number)
{
    sse_hub_stop(signal->data);
}

/* httpd's parent holds the other end: end of file means that it is gone. */
static void on_parent(uv_poll_t *poll, int status, int events)
{
    sse_hub_t *hub = poll->data;
    char scratch[16];
    ssize_t n = read((int)hub->conf.parent_fd, scratch, sizeof scratch);
    if (n > 0)
        return;
    uv_poll_stop(poll);
    sse_hub_stop(hub);
}

/* The broker shares the realms' numbers of streams between hubs. */
static void tell_streams(sse_hub_t *hub)
{
    if (!hub->broker || !hub->broker->driver->presence_streams_set)
        return;
    for (sse_presence_realm_t *realm = hub->presence.realms; realm; realm = realm->hh.next) {
        if (realm->told == realm->streams)
            continue;
        realm->told = realm->streams;
        hub->broker->driver->presence_streams_set(hub->broker, sse_str(realm->name),
                                                  realm->streams);
    }
}

static void on_second(uv_timer_t *timer)
{
    sse_hub_t *hub = timer->data;
    sse_admission_expire(hub);
    sse_polled_expire(hub);
    sse_revocations_expire(&hub->revocations);
    tell_streams(hub);
    sse_memory_tidy(&hub->memory);
}

/* ---- the beginning ---- */

static uint32_t reactor_count(const sse_hubconf_t *conf)
{
    long n = conf->threads;
    if (!n) {
        n = sysconf(_SC_NPROCESSORS_ONLN);
        if (n > REACTORS_DEFAULT_MAX)
            n = REACTORS_DEFAULT_MAX;
    }
    return n < 1 ? 1 : n > REACTORS_MAX ? REACTORS_MAX : (uint32_t)n;
}

static apr_status_t create_reactors(sse_hub_t *hub)
{
    const sse_hubconf_t *conf = &hub->conf;
    uint32_t n = reactor_count(conf);
    hub->reactors = sse_calloc(n, sizeof *hub->reactors);
    for (uint32_t i = 0; i < n; i++) {
        sse_reactor_conf_t rc = {
            .index = i,
            .heartbeat = (uint32_t)conf->heartbeat,
            .max_age = (uint32_t)conf->max_age,
            .presence_grace = (uint32_t)conf->presence_grace,
            .retry = (uint32_t)conf->retry,
            .max_streams_per_user = (uint32_t)conf->max_streams_per_user,
            .stream_buffer = (size_t)conf->stream_buffer,
            .interest = sse_interest_wanted(hub),
            .host_streams = &hub->streams,
            .notices = &hub->notices,
        };
        apr_status_t rv = sse_reactor_create(&rc, &hub->reactors[i]);
        if (rv != APR_SUCCESS)
            return rv;
        hub->n_reactors = hub->reactors_running = i + 1;
    }
    return APR_SUCCESS;
}

static void watch(sse_hub_t *hub)
{
    uv_signal_init(&hub->loop, &hub->term);
    uv_signal_init(&hub->loop, &hub->interrupt);
    uv_timer_init(&hub->loop, &hub->second);
    hub->term.data = hub->interrupt.data = hub->second.data = hub->parent.data = hub;
    uv_signal_start(&hub->term, on_signal, SIGTERM);
    uv_signal_start(&hub->interrupt, on_signal, SIGINT);
    uv_timer_start(&hub->second, on_second, 1000, 1000);
    if (hub->conf.parent_fd >= 0 &&
        !uv_poll_init(&hub->loop, &hub->parent, (int)hub->conf.parent_fd))
        uv_poll_start(&hub->parent, UV_READABLE, on_parent);
}

apr_status_t sse_hub_create(sse_hubconf_t *conf, sse_hub_t **out_hub, char *problem)
{
    sse_hub_t *hub = sse_calloc(1, sizeof *hub);
    if (uv_loop_init(&hub->loop) ||
        sse_mailbox_init(&hub->notices, &hub->loop, take_notice, after_notices, hub)) {
        snprintf(problem, 256, "cannot make an event loop");
        free(hub);
        return APR_EGENERAL;
    }
    hub->conf = *conf;
    *conf = (sse_hubconf_t){0};
    hub->started = uv_now(&hub->loop);
    hub->revocations.memory = (uint64_t)hub->conf.revocation_memory * 1000000;
    sse_replay_init(hub);
    sse_admission_init(hub);
    sse_broker_env_t env = {&hub->loop, &hub->conf, &sse_fanout_upcalls, hub};
    apr_status_t rv = sse_broker_create(&env, hub->conf.broker, &hub->broker, problem);
    if (rv != APR_SUCCESS) {
        sse_mailbox_close(&hub->notices);
        uv_run(&hub->loop, UV_RUN_DEFAULT);
        uv_loop_close(&hub->loop);
        sse_hubconf_clear(&hub->conf);
        free(hub);
        return rv;
    }
    if (create_reactors(hub) != APR_SUCCESS)
        abort(); /* out of descriptors before the first stream: the parent tries again */
    hub->channels = sse_channels_create(hub);
    hub->adminsock = sse_adminsock_create(hub);
    watch(hub);
    *out_hub = hub;
    return APR_SUCCESS;
}

void sse_hub_open(sse_hub_t *hub)
{
    if (hub->open || hub->state != SSE_HUB_RUNNING)
        return;
    hub->open = true;
    sse_channels_listen(hub->channels);
    sse_adminsock_listen(hub->adminsock);
    if (hub->conf.parent_fd >= 0 && write((int)hub->conf.parent_fd, "1", 1) < 0)
        sse_log(SSE_LOG_INFO, "nobody waits for the hub to be ready");
}

void sse_hub_run(sse_hub_t *hub)
{
    uv_run(&hub->loop, UV_RUN_DEFAULT);
    sse_channels_free(hub->channels);
    sse_adminsock_free(hub->adminsock);
    sse_polled_clear(hub);
    sse_presence_clear(&hub->presence);
    sse_revocations_clear(&hub->revocations);
    uv_loop_close(&hub->loop);
    sse_hubconf_clear(&hub->conf);
    free(hub);
}
