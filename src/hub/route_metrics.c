/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: the counters of /status in Prometheus' text format, version 0.0.4. No label takes a
 * value from outside, so the number of series is fixed. */
#include "hub/channels.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stddef.h>

typedef struct metric_t {
    const char *name, *type, *help;
    size_t offset; /* of the atomic counter in sse_reactor_stats_t */
} metric_t;

#define STAT(member) offsetof(sse_reactor_stats_t, member)

/* One series a thread. */
static const metric_t thread_metrics[] = {
    {"sse_streams", "gauge", "Open streams.", STAT(streams)},
    {"sse_users", "gauge", "Users online, those in their grace included.", STAT(users)},
    {"sse_streams_opened_total", "counter", "Streams taken over from httpd.", STAT(opened)},
    {"sse_streams_closed_total", "counter", "Streams that ended.", STAT(closed)},
    {"sse_streams_ended_slow_total", "counter", "Streams ended because the client did not read.",
     STAT(ended_slow)},
    {"sse_deliveries_total", "counter", "Live messages given to streams.", STAT(deliveries)},
    {"sse_replayed_total", "counter", "Messages of history given to streams.", STAT(replayed)},
    {"sse_sent_bytes_total", "counter", "Bytes that sockets took.", STAT(bytes)},
    {"sse_queued_bytes", "gauge", "Bytes that wait for slow clients.", STAT(queued)},
};

static void head(sse_buf_t *out, const char *name, const char *type, const char *help)
{
    sse_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add(sse_buf_t *out, const char *name, const char *type, const char *help,
                unsigned long long value)
{
    head(out, name, type, help);
    sse_buf_printf(out, "%s %llu\n", name, value);
}

static void add_threads(const sse_hub_t *hub, sse_buf_t *out)
{
    for (size_t m = 0; m < SSE_ARRAY_LEN(thread_metrics); m++) {
        const metric_t *metric = &thread_metrics[m];
        head(out, metric->name, metric->type, metric->help);
        for (uint32_t i = 0; i < hub->n_reactors; i++) {
            const char *stats = (const char *)sse_reactor_stats(hub->reactors[i]);
            sse_buf_printf(out, "%s{thread=\"%u\"} %llu\n", metric->name, i,
                           atomic_load_explicit((atomic_ullong *)(stats + metric->offset),
                                                memory_order_relaxed));
        }
    }
}

void sse_route_metrics(sse_request_t *req)
{
    sse_hub_t *hub = req->hub;
    const sse_hub_counters_t *c = &hub->counters;
    sse_buf_t out = {0};
    head(&out, "sse_info", "gauge", "Version and broker of this hub.");
    sse_buf_printf(&out, "sse_info{version=\"%s\",broker=\"%s\"} 1\n", SSE_VERSION,
                   hub->broker->driver->scheme);
    add(&out, "sse_uptime_seconds", "gauge", "Life of this hub.",
        (unsigned long long)(uv_now(&hub->loop) - hub->started) / 1000);
    add(&out, "sse_broker_connected", "gauge", "1 while the broker can be read and written.",
        hub->broker_state == SSE_BROKER_CONNECTED);
    add(&out, "sse_streams_max", "gauge", "Streams that this host takes.",
        hub->admission.max_streams);
    add(&out, "sse_published_total", "counter", "Messages that the broker accepted.", c->published);
    add(&out, "sse_publish_errors_total", "counter", "Publishes that the broker did not accept.",
        c->publish_errors);
    add(&out, "sse_requests_total", "counter", "Admin requests.", c->requests);
    add(&out, "sse_refused_busy_total", "counter", "Streams refused because a limit was reached.",
        c->refused_busy);
    add(&out, "sse_refused_unavailable_total", "counter",
        "Streams refused because something was away.", c->refused_unavailable);
    add(&out, "sse_worker_channels", "gauge", "Channels of httpd's workers.",
        sse_channels_count(hub->channels));
    add_threads(hub, &out);
    sse_answer_t answer = {.status = 200,
                           .content_type = "text/plain; version=0.0.4; charset=utf-8",
                           .body = sse_buf_slice(&out)};
    sse_request_answer(req, &answer);
    sse_buf_clear(&out);
}
