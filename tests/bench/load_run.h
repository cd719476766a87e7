/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the load client: its loop, the messages under way, and the phases that it measures.
 * One thread owns all of it. */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "load_procs.h"
#include "load_publish.h"
#include "load_samples.h"
#include "load_streams.h"

#include <stdio.h>

enum { LOAD_MAX_PUBLISHERS = 64 };

/* What a phase publishes and how fast. */
typedef struct load_phase_t {
    char name[32];
    uint32_t messages;
    uint32_t window; /* messages that may be on their way to receivers at once; 0 = any number */
    uint32_t rate; /* messages a second by timetable; 0 = as fast as window and publishers allow */
    uint32_t publishers;
    uint32_t batch; /* messages in one request */
    bool directed;  /* each message goes to one stream's user */
    bool socket;    /* by the admin socket in place of HTTP */
} load_phase_t;

/* A published message. */
typedef struct load_message_t {
    uint64_t sent, first, last; /* ns */
    uint32_t received, expected;
} load_message_t;

typedef struct load_run_t {
    /* options */
    load_roots_t roots; /* the servers' first processes */
    load_roots_t aside; /* of a program whose CPU is told apart: the Redis behind the servers */
    uint32_t in_flight; /* streams being opened at once */
    size_t data_size;
    const char *publish_path; /* templates */
    const char *publish_headers;
    const char *body;
    const char *admin_socket; /* path, for phases that publish by it */
    /* state */
    load_streams_t set;
    load_publisher_t publishers[LOAD_MAX_PUBLISHERS];
    uint32_t n_publishers;
    load_message_t *messages; /* of the phase */
    uint32_t n_messages, n_sent, n_complete, n_answered;
    uint32_t base;  /* number of the phase's first message */
    uint32_t wrong; /* deliveries out of order, twice, or to the wrong stream */
    bool ordered;   /* one publisher: numbers grow by one along each stream */
    bool directed;
    uint32_t measured; /* streams whose deliveries count: the first ones */
    load_samples_t opened, all, to_first, to_last, answered;
    uint64_t delivered;
    uint64_t progress_at; /* ns, last time something arrived */
} load_run_t;

/* `run->set.servers` are filled in. */
void load_run_init(load_run_t *run, uint32_t n_streams);
void load_run_clear(load_run_t *run);

/* Waits for events at most `wait_ms` and handles them. Ends the program when nothing arrived for 20
 * s. */
void load_run_pump(load_run_t *run, int wait_ms);

/* What opening streams has cost so far, server and this client apart. */
typedef struct load_opening_t {
    uint64_t streams, ns, client_ns, aside_ns;
    load_procs_t used;
} load_opening_t;

/* Opens all streams and waits until they are ready. */
void load_run_open(load_run_t *run, load_opening_t *sum);
/* Prints a member "name"; the latencies are those of the last round. */
void load_run_print_opening(load_run_t *run, const load_opening_t *sum, const char *name,
                            FILE *out);

/* Runs a phase and prints its member. */
void load_run_phase(load_run_t *run, const load_phase_t *phase, FILE *out);

/* The halves of a phase, for callers that do something else meanwhile. `step` starts what is due
 * and pumps; false: all is done. */
void load_run_begin(load_run_t *run, const load_phase_t *phase);
bool load_run_step(load_run_t *run, const load_phase_t *phase, uint64_t began);
void load_run_end(load_run_t *run);

#endif
