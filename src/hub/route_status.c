/* SPDX-License-Identifier: Apache-2.0 */
/* GET /status and GET /health. */
#include "hub/channels.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <unistd.h>

static const char *broker_state(const sse_hub_t *hub)
{
    switch (hub->broker_state) {
    case SSE_BROKER_CONNECTED:
        return "connected";
    case SSE_BROKER_LOST:
        return "lost";
    default:
        return "starting";
    }
}

static unsigned long long get(const atomic_ullong *counter)
{
    return atomic_load_explicit((atomic_ullong *)counter, memory_order_relaxed);
}

static void add_threads(const sse_hub_t *hub, sse_buf_t *body)
{
    for (uint32_t i = 0; i < hub->n_reactors; i++) {
        const sse_reactor_stats_t *s = sse_reactor_stats(hub->reactors[i]);
        sse_buf_printf(body,
                       "%s{\"streams\":%llu,\"users\":%llu,\"opened\":%llu,\"closed\":%llu,"
                       "\"deliveries\":%llu,\"replayed\":%llu,\"bytes\":%llu,"
                       "\"queued_bytes\":%llu,\"ended_slow\":%llu}",
                       i ? "," : "", get(&s->streams), get(&s->users), get(&s->opened),
                       get(&s->closed), get(&s->deliveries), get(&s->replayed), get(&s->bytes),
                       get(&s->queued), get(&s->ended_slow));
    }
}

/* How streams reach their clients: those that are open, and all that ever were. */
static void add_carriages(const sse_hub_t *hub, sse_buf_t *body)
{
    static const char *const names[SSE_CARRIAGES] = {
        [SSE_CARRIED_CLEAR] = "clear",
        [SSE_CARRIED_TLS] = "tls",
        [SSE_CARRIED_RELAY] = "relayed",
        [SSE_CARRIED_PARKED] = "parked",
    };
    const sse_admission_t *adm = &hub->admission;
    sse_buf_cstr(body, "\"carried\":{");
    for (size_t i = 0; i < SSE_CARRIAGES; i++)
        sse_buf_printf(body, "%s\"%s\":{\"open\":%llu,\"ever\":%llu}", i ? "," : "", names[i],
                       (unsigned long long)adm->carried[i],
                       (unsigned long long)adm->carried_ever[i]);
    sse_buf_printf(body, "},\"polled\":%llu", (unsigned long long)adm->polled);
}

void sse_route_status(sse_request_t *req)
{
    sse_hub_t *hub = req->hub;
    const sse_hub_counters_t *c = &hub->counters;
    sse_buf_t body = {0};
    sse_buf_printf(&body,
                   "{\"version\":\"%s\",\"pid\":%ld,\"uptime\":%llu,\"broker\":{\"driver\":\"%s\","
                   "\"state\":\"%s\",\"detail\":",
                   SSE_VERSION, (long)getpid(),
                   (unsigned long long)(uv_now(&hub->loop) - hub->started) / 1000,
                   hub->broker->driver->scheme, broker_state(hub));
    sse_json_quote(&body, sse_str(hub->broker_detail));
    sse_buf_printf(&body, "},\"streams\":{\"open_or_reserved\":%llu,\"max\":%llu,",
                   get(&hub->streams), (unsigned long long)hub->admission.max_streams);
    add_carriages(hub, &body);
    sse_buf_cstr(&body, "},\"threads\":[");
    add_threads(hub, &body);
    sse_buf_printf(&body,
                   "],\"worker_channels\":%u,\"replays\":%u,\"counters\":{\"published\":%llu,"
                   "\"batches\":%llu,\"publish_errors\":%llu,"
                   "\"requests\":%llu,\"refused_busy\":%llu,\"refused_unavailable\":%llu}}",
                   sse_channels_count(hub->channels), hub->replayer.at_work,
                   (unsigned long long)c->published, (unsigned long long)c->batches,
                   (unsigned long long)c->publish_errors, (unsigned long long)c->requests,
                   (unsigned long long)c->refused_busy, (unsigned long long)c->refused_unavailable);
    sse_request_json(req, 200, &body);
}

void sse_route_health(sse_request_t *req)
{
    bool well = req->hub->broker_state == SSE_BROKER_CONNECTED;
    sse_buf_t body = {0};
    sse_buf_printf(&body, "{\"status\":\"%s\",\"broker\":\"%s\"}", well ? "ok" : "unavailable",
                   broker_state(req->hub));
    sse_request_json(req, well ? 200 : 503, &body);
}
