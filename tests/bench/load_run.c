/* SPDX-License-Identifier: Apache-2.0 */
/* The loop and the phases of the load client; see the header. */
#include "load_run.h"

#include "load_template.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define PUBLISHER_TAG (1ull << 32)
#define GIVE_UP_NS 20000000000ull

static void note_ready(void *ctx, uint32_t stream)
{
    load_run_t *run = ctx;
    uint64_t now = load_samples_now();
    load_samples_add(&run->opened, now - run->set.streams[stream].started);
    run->progress_at = now;
}

static void note_message(void *ctx, uint32_t stream, uint32_t seq, uint64_t now)
{
    load_run_t *run = ctx;
    const load_stream_t *s = &run->set.streams[stream];
    run->progress_at = now;
    /* After a phase of several publishers the last number seen may be any; from the phase's first
     * one on they count up. */
    uint32_t next = s->last_seq < run->base && seq >= run->base ? run->base : s->last_seq + 1;
    if (run->ordered && s->last_seq != LOAD_NO_SEQ &&
        (run->directed ? seq <= s->last_seq : seq != next))
        run->wrong++;
    if (seq - run->base >= run->n_messages || stream >= run->measured)
        return; /* of an earlier phase: replayed */
    load_message_t *m = &run->messages[seq - run->base];
    if (!m->received++)
        m->first = now;
    m->last = now;
    run->delivered++;
    load_samples_add(&run->all, now - m->sent);
    if (m->received > m->expected)
        run->wrong++;
    if (m->received == m->expected) {
        run->n_complete++;
        load_samples_add(&run->to_first, m->first - m->sent);
        load_samples_add(&run->to_last, m->last - m->sent);
    }
}

void load_run_init(load_run_t *run, uint32_t n_streams)
{
    run->set.epfd = epoll_create1(EPOLL_CLOEXEC);
    if (run->set.epfd < 0)
        err(1, "epoll_create1");
    run->set.ctx = run;
    run->set.on_ready = note_ready;
    run->set.on_message = note_message;
    run->measured = n_streams;
    load_streams_create(&run->set, n_streams);
}

static void close_publishers(load_run_t *run)
{
    while (run->n_publishers)
        load_publish_close(&run->publishers[--run->n_publishers]);
}

void load_run_clear(load_run_t *run)
{
    load_streams_free(&run->set);
    close_publishers(run);
    load_samples_clear(&run->opened);
    close(run->set.epfd);
}

void load_run_pump(load_run_t *run, int wait_ms)
{
    struct epoll_event events[512];
    int n = epoll_wait(run->set.epfd, events, 512, wait_ms);
    if (n < 0 && errno != EINTR)
        err(1, "epoll_wait");
    for (int i = 0; i < n; i++) {
        uint64_t tag = events[i].data.u64;
        if (tag < PUBLISHER_TAG) {
            load_streams_event(&run->set, (uint32_t)tag);
            continue;
        }
        load_publisher_t *pub = &run->publishers[tag - PUBLISHER_TAG];
        if (load_publish_event(pub)) {
            run->progress_at = load_samples_now();
            load_samples_add(&run->answered, run->progress_at - pub->sent_at);
            run->n_answered++;
        }
    }
    if (load_samples_now() - run->progress_at > GIVE_UP_NS)
        errx(1,
             "nothing arrived for 20 s: %u of %u streams ready, %u of %u messages complete, "
             "%u sent",
             run->set.n_ready, run->set.n_streams, run->n_complete, run->n_messages, run->n_sent);
}

/* CPU of the servers, and of what is told apart. */
typedef struct usage_t {
    load_procs_t servers, aside;
} usage_t;

static void read_usage(const load_run_t *run, usage_t *out_usage)
{
    load_procs_cpu(&run->roots, &out_usage->servers);
    load_procs_cpu(&run->aside, &out_usage->aside);
}

/* Per piece of the servers' work, and of what is told apart. */
static void print_usage(const load_run_t *run, const usage_t *before, uint64_t n, uint64_t n_aside,
                        FILE *out)
{
    usage_t now;
    read_usage(run, &now);
    double us = (double)(now.servers.cpu_ns - before->servers.cpu_ns) / 1000;
    double aside_us = (double)(now.aside.cpu_ns - before->aside.cpu_ns) / 1000;
    fprintf(out, "\"cpu_seconds\": %.4f, \"cpu_us\": %.3f", us / 1e6, n ? us / (double)n : 0);
    if (run->aside.pid[0])
        fprintf(out, ", \"aside_us\": %.3f", n_aside ? aside_us / (double)n_aside : 0);
}

static uint64_t own_cpu(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void load_run_open(load_run_t *run, load_opening_t *sum)
{
    usage_t before, after;
    uint32_t next = 0;
    read_usage(run, &before);
    uint64_t client = own_cpu(), began = run->progress_at = load_samples_now();
    load_samples_clear(&run->opened);
    while (run->opened.count < run->set.n_streams) {
        while (next < run->set.n_streams && run->set.n_opening < run->in_flight)
            load_streams_open(&run->set, next++, false);
        load_run_pump(run, 100);
    }
    sum->ns += load_samples_now() - began;
    sum->client_ns += own_cpu() - client;
    sum->streams += run->set.n_streams;
    read_usage(run, &after);
    load_procs_add(&sum->used, &before.servers, &after.servers);
    sum->aside_ns += after.aside.cpu_ns - before.aside.cpu_ns;
}

void load_run_print_opening(load_run_t *run, const load_opening_t *sum, const char *name, FILE *out)
{
    double n = (double)sum->streams;
    fprintf(out, "\"%s\": {\"streams\": %.0f, \"seconds\": %.4f, \"per_second\": %.1f, ", name, n,
            (double)sum->ns / 1e9, n / ((double)sum->ns / 1e9));
    fprintf(out, "\"cpu_seconds\": %.4f, \"cpu_us\": %.3f, \"client_us\": %.3f, \"cpu_us_of\": {",
            (double)sum->used.cpu_ns / 1e9, (double)sum->used.cpu_ns / 1000 / n,
            (double)sum->client_ns / 1000 / n);
    for (unsigned i = 0; i < sum->used.n_kinds; i++)
        fprintf(out, "%s\"%s\": %.3f", i ? ", " : "", sum->used.kinds[i].name,
                (double)sum->used.kinds[i].cpu_ns / 1000 / n);
    fputs("}", out);
    if (run->aside.pid[0])
        fprintf(out, ", \"aside_us\": %.3f", (double)sum->aside_ns / 1000 / n);
    fputs(", \"latency\": ", out);
    load_samples_print(&run->opened, out);
    fputs("}", out);
}

/* Publishes the next `n` messages in one request. */
static void publish(load_run_t *run, load_publisher_t *pub, uint32_t n, uint64_t due)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    load_values_t values = {.groups = run->set.groups, .data_size = run->data_size};
    uint32_t first = run->n_sent;
    if (!out)
        err(1, "publish");
    for (uint32_t i = 0; i < n; i++) {
        size_t part_len;
        values.seq = run->base + run->n_sent;
        values.user = run->directed ? (uint32_t)random() % run->set.n_streams : 0;
        char *part = load_template_fill(run->body, &values, &part_len);
        if (n > 1)
            putc(i ? ',' : '[', out);
        fwrite(part, 1, part_len, out);
        free(part);
        run->messages[run->n_sent++].expected = run->directed ? 1 : run->measured;
    }
    if (n > 1)
        putc(']', out);
    if (fclose(out))
        err(1, "publish");
    char *path = load_template_fill(run->publish_path, &values, NULL);
    uint64_t now = load_samples_now();
    for (uint32_t i = first; i < run->n_sent; i++)
        run->messages[i].sent = due ? due : now;
    load_publish_send(pub, path, run->publish_headers, text, len);
    free(path);
    free(text);
}

void load_run_begin(load_run_t *run, const load_phase_t *phase)
{
    const char *socket = phase->socket ? run->admin_socket : NULL;
    if (run->n_publishers && run->publishers[0].socket != socket)
        close_publishers(run);
    while (run->n_publishers < phase->publishers) {
        load_publish_open(&run->publishers[run->n_publishers],
                          &run->set.servers[run->n_publishers % run->set.n_servers], socket,
                          run->set.epfd, PUBLISHER_TAG + run->n_publishers);
        run->n_publishers++;
    }
    run->base += run->n_messages;
    run->messages = calloc(phase->messages, sizeof(*run->messages));
    if (!run->messages)
        err(1, "messages");
    run->n_messages = phase->messages;
    run->n_sent = run->n_complete = run->n_answered = 0;
    run->delivered = 0;
    run->directed = phase->directed;
    run->ordered = phase->publishers == 1;
    run->progress_at = load_samples_now();
}

bool load_run_step(load_run_t *run, const load_phase_t *phase, uint64_t began)
{
    uint32_t n_requests = (run->n_sent + phase->batch - 1) / phase->batch;
    int wait = 100;
    for (uint32_t p = 0; p < phase->publishers && run->n_sent < run->n_messages; p++) {
        if (run->publishers[p].busy)
            continue;
        if (phase->window && run->n_sent - run->n_complete >= phase->window)
            break;
        uint64_t due = phase->rate ? began + run->n_sent * 1000000000ull / phase->rate : 0;
        uint64_t now = load_samples_now();
        if (due > now) {
            wait = (int)((due - now) / 1000000);
            break;
        }
        uint32_t left = run->n_messages - run->n_sent;
        publish(run, &run->publishers[p], left < phase->batch ? left : phase->batch, due);
        n_requests++;
    }
    load_run_pump(run, wait);
    return run->n_sent < run->n_messages || run->n_answered < n_requests ||
           (run->measured && run->n_complete < run->n_messages);
}

void load_run_end(load_run_t *run)
{
    free(run->messages);
    run->messages = NULL;
    load_samples_clear(&run->all);
    load_samples_clear(&run->to_first);
    load_samples_clear(&run->to_last);
    load_samples_clear(&run->answered);
}

void load_run_phase(load_run_t *run, const load_phase_t *phase, FILE *out)
{
    usage_t before;
    uint64_t bytes = run->set.bytes;
    load_run_begin(run, phase);
    read_usage(run, &before);
    uint64_t began = load_samples_now();
    while (load_run_step(run, phase, began))
        ;
    double seconds = (double)(load_samples_now() - began) / 1e9;
    fprintf(out, "\"%s\": {\"messages\": %u, \"deliveries\": %llu, \"seconds\": %.4f, ",
            phase->name, phase->messages, (unsigned long long)run->delivered, seconds);
    fprintf(out, "\"messages_per_second\": %.1f, \"deliveries_per_second\": %.1f, ",
            phase->messages / seconds, (double)run->delivered / seconds);
    fprintf(out, "\"bytes_per_delivery\": %.1f, ",
            run->delivered ? (double)(run->set.bytes - bytes) / (double)run->delivered : 0);
    print_usage(run, &before, run->measured ? run->delivered : phase->messages, phase->messages,
                out);
    fputs(", \"first\": ", out);
    load_samples_print(&run->to_first, out);
    fputs(", \"last\": ", out);
    load_samples_print(&run->to_last, out);
    fputs(", \"delivery\": ", out);
    load_samples_print(&run->all, out);
    fputs(", \"answer\": ", out);
    load_samples_print(&run->answered, out);
    fputs("}", out);
    load_run_end(run);
}
