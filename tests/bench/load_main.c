/* SPDX-License-Identifier: Apache-2.0 */
/* The load client of script/bench: opens event streams to servers over loopback, publishes through
 * HTTP, measures, and prints one JSON object. Single thread, one epoll set. A stream that
 * is refused, ends, or gets a message late by 20 s, twice or out of order is a failed run, not a
 * number. */
#include "load_run.h"

#include <arpa/inet.h>
#include <err.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MAX_PHASES = 16 };

typedef struct options_t {
    uint32_t streams;
    uint32_t settle_ms;
    uint32_t storm;    /* messages missed in a resume storm, 0 = none */
    uint32_t again;    /* how often all streams leave and come back */
    uint32_t probes;   /* streams that stay open in the storm */
    uint64_t baseline; /* user memory before anything was stored in the server; 0 = as it is now */
    load_phase_t phases[MAX_PHASES];
    size_t n_phases;
} options_t;

static const struct option long_options[] = {{"server", required_argument, NULL, 's'},
                                             {"streams", required_argument, NULL, 'n'},
                                             {"path", required_argument, NULL, 'p'},
                                             {"header", required_argument, NULL, 'h'},
                                             {"basic", required_argument, NULL, 'b'},
                                             {"ready", required_argument, NULL, 'r'},
                                             {"groups", required_argument, NULL, 'g'},
                                             {"publish-path", required_argument, NULL, 'P'},
                                             {"publish-header", required_argument, NULL, 'H'},
                                             {"body", required_argument, NULL, 'B'},
                                             {"root", required_argument, NULL, 'R'},
                                             {"aside", required_argument, NULL, 'A'},
                                             {"settle", required_argument, NULL, 'S'},
                                             {"phase", required_argument, NULL, 'm'},
                                             {"storm", required_argument, NULL, 'z'},
                                             {"baseline", required_argument, NULL, 'M'},
                                             {"tls-port", required_argument, NULL, 't'},
                                             {"h2", no_argument, NULL, '2'},
                                             {"admin-socket", required_argument, NULL, 'u'},
                                             {"again", required_argument, NULL, 'a'},
                                             {"once", no_argument, NULL, '1'},
                                             {NULL, 0, NULL, 0}};

/* NAME,messages,window,rate,publishers,batch,directed,socket */
static void read_phase(options_t *options, const char *text)
{
    load_phase_t *phase = &options->phases[options->n_phases];
    unsigned directed = 0, socket = 0;
    if (options->n_phases == MAX_PHASES)
        errx(2, "--phase: at most %d", MAX_PHASES);
    *phase = (load_phase_t){.publishers = 1, .batch = 1};
    int n =
        sscanf(text, "%31[a-z0-9_],%u,%u,%u,%u,%u,%u,%u", phase->name, &phase->messages,
               &phase->window, &phase->rate, &phase->publishers, &phase->batch, &directed, &socket);
    phase->directed = directed;
    phase->socket = socket;
    if (n < 2 || !phase->messages || !phase->publishers || !phase->batch ||
        phase->publishers > LOAD_MAX_PUBLISHERS)
        errx(2,
             "--phase: NAME,messages[,window,rate,publishers,batch,directed,socket] expected, got "
             "%s",
             text);
    options->n_phases++;
}

static const char *append_header(const char *headers, const char *line)
{
    char *joined;
    if (asprintf(&joined, "%s%s\r\n", headers, line) < 0)
        err(1, "headers");
    return joined;
}

static uint32_t number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || end == text || n > UINT32_MAX)
        errx(2, "a number expected, got %s", text);
    return (uint32_t)n;
}

static void add_root(load_roots_t *roots, uint32_t pid)
{
    size_t i = 0;
    while (i < LOAD_MAX_ROOTS && roots->pid[i])
        i++;
    if (i == LOAD_MAX_ROOTS)
        errx(2, "--root, --aside: at most %d", LOAD_MAX_ROOTS);
    roots->pid[i] = (pid_t)pid;
}

static void add_server(load_streams_t *set, const char *text)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof(host))
        errx(2, "--server: HOST:PORT expected, got %s", text);
    if (set->n_servers == LOAD_MAX_SERVERS)
        errx(2, "--server: at most %d", LOAD_MAX_SERVERS);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    struct sockaddr_in *server = &set->servers[set->n_servers++];
    server->sin_family = AF_INET;
    server->sin_port = htons((uint16_t)number(colon + 1));
    if (inet_pton(AF_INET, host, &server->sin_addr) != 1)
        errx(2, "--server: %s is not an IPv4 address", host);
}

static void read_option(int c, options_t *options, load_run_t *run)
{
    switch (c) {
    case 's':
        add_server(&run->set, optarg);
        break;
    case 'n':
        options->streams = number(optarg);
        break;
    case 'p':
        run->set.path = optarg;
        break;
    case 'h':
        run->set.headers = append_header(run->set.headers, optarg);
        break;
    case 'b':
        run->set.basic = optarg;
        break;
    case 'r':
        run->set.ready = optarg;
        break;
    case 'g':
        run->set.groups = number(optarg);
        break;
    case 'P':
        run->publish_path = optarg;
        break;
    case 'H':
        run->publish_headers = append_header(run->publish_headers, optarg);
        break;
    case 'B':
        run->body = optarg;
        break;
    case 'R':
        add_root(&run->roots, number(optarg));
        break;
    case 'A':
        add_root(&run->aside, number(optarg));
        break;
    case 'S':
        options->settle_ms = number(optarg);
        break;
    case 'm':
        read_phase(options, optarg);
        break;
    case 't':
        run->set.tls_port = (uint16_t)number(optarg);
        break;
    case '2':
        run->set.h2 = true;
        break;
    case 'u':
        run->admin_socket = optarg;
        break;
    case 'a':
        options->again = number(optarg);
        break;
    case '1':
        run->set.once = true;
        break;
    case 'M':
        options->baseline = strtoull(optarg, NULL, 10);
        break;
    case 'z':
        if (sscanf(optarg, "%u,%u", &options->storm, &options->probes) != 2)
            errx(2, "--storm: messages,probes expected, got %s", optarg);
        break;
    default:
        errx(2, "see script/bench for the options");
    }
}

static void settle(load_run_t *run, uint32_t ms)
{
    uint64_t end = load_samples_now() + ms * 1000000ull;
    run->progress_at = load_samples_now();
    while (load_samples_now() < end)
        load_run_pump(run, 20);
}

static void print_memory(const load_procs_t *before, const load_procs_t *after, uint32_t n,
                         const char *name, FILE *out)
{
    fprintf(out, ", \"%s\": {\"user_bytes\": %.1f, \"kernel_bytes\": %.1f, \"processes\": %u}",
            name, ((double)after->pss - (double)before->pss) / n,
            ((double)after->kernel - (double)before->kernel) / n, after->n_processes);
}

/* All but `probes` streams leave, miss messages, and come back at once while messages go on. */
static void resume_storm(load_run_t *run, const options_t *options, FILE *out)
{
    load_phase_t phase = {
        .name = "missed", .messages = options->storm, .publishers = 1, .batch = 1};
    for (uint32_t i = options->probes; i < run->set.n_streams; i++)
        load_streams_close(&run->set, i);
    run->measured = options->probes;
    fputs(", ", out);
    load_run_phase(run, &phase, out);

    load_phase_t live = {
        .name = "live", .messages = 1000000, .rate = 20, .publishers = 1, .batch = 1};
    load_procs_t before, after;
    uint32_t next = options->probes;
    run->in_flight = 2000; /* at once, but within the listening queue of every server */
    load_run_begin(run, &live);
    load_procs_cpu(&run->roots, &before);
    uint64_t began = load_samples_now();
    load_samples_clear(&run->opened);
    for (uint32_t served = options->probes; served < run->set.n_streams;) {
        while (next < run->set.n_streams && run->set.n_opening < run->in_flight)
            load_streams_open(&run->set, next++, true);
        load_run_step(run, &live, began);
        while (served < next && run->set.streams[served].n_messages >= options->storm)
            served++;
    }
    double seconds = (double)(load_samples_now() - began) / 1e9;
    load_procs_cpu(&run->roots, &after);
    uint32_t n = run->set.n_streams - options->probes;
    fprintf(out,
            ", \"storm\": {\"streams\": %u, \"missed\": %u, \"seconds\": %.4f, "
            "\"replayed_per_second\": %.1f, \"cpu_us\": %.3f, \"live_last\": ",
            n, options->storm, seconds, (double)n * options->storm / seconds,
            (double)(after.cpu_ns - before.cpu_ns) / 1000 / ((double)n * options->storm));
    load_samples_print(&run->to_last, out);
    fputs("}", out);
    load_run_end(run);
}

/* Everybody leaves and comes back, several times: only the openings are timed. */
static void come_again(load_run_t *run, const options_t *options, FILE *out)
{
    load_opening_t sum = {0};
    for (uint32_t k = 0; k < options->again; k++) {
        for (uint32_t i = 0; i < run->set.n_streams; i++)
            load_streams_close(&run->set, i);
        settle(run, options->settle_ms);
        load_run_open(run, &sum);
    }
    fputs(", ", out);
    load_run_print_opening(run, &sum, "again", out);
}

static void measure(load_run_t *run, const options_t *options, FILE *out)
{
    load_procs_t closed, open, after;
    load_opening_t opening = {0};
    load_procs_all(&run->roots, &closed);
    if (options->baseline)
        closed.pss = options->baseline;
    fprintf(out, "{\"streams\": %u, ", options->streams);
    load_run_open(run, &opening);
    load_run_print_opening(run, &opening, "connect", out);
    settle(run, options->settle_ms);
    load_procs_all(&run->roots, &open);
    print_memory(&closed, &open, options->streams, "memory_open", out);
    for (size_t i = 0; i < options->n_phases; i++) {
        fputs(", ", out);
        load_run_phase(run, &options->phases[i], out);
    }
    load_procs_all(&run->roots, &after);
    print_memory(&closed, &after, options->streams, "memory_used", out);
    if (options->again)
        come_again(run, options, out);
    if (options->storm)
        resume_storm(run, options, out);
    if (run->wrong)
        errx(1, "%u deliveries came out of order or twice", run->wrong);
    fputs("}\n", out);
}

int main(int argc, char **argv)
{
    options_t options = {.streams = 1000, .settle_ms = 1000};
    load_run_t run = {.in_flight = 64, .data_size = 100, .publish_headers = ""};
    struct rlimit files;
    int c;
    run.set.headers = "";
    run.set.ready = "";
    run.set.sources = 8;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        read_option(c, &options, &run);
    if (!run.set.n_servers || !run.set.path || !options.streams ||
        (options.n_phases && (!run.publish_path || !run.body)))
        errx(2, "--server, --path, --publish-path and --body are needed");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    load_run_init(&run, options.streams);
    measure(&run, &options, stdout);
    load_run_clear(&run);
    return 0;
}
