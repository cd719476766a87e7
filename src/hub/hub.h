/* SPDX-License-Identifier: Apache-2.0 */
/* The hub: the control loop's object, which everything on that loop hangs from. It owns the broker,
 * the reactors, the workers' channels and the admin socket, and lives from main() to the last
 * stream-end. */
#ifndef SSE_HUB_H
#define SSE_HUB_H

#include "broker/broker.h"
#include "core/hubconf.h"
#include "hub/admission.h"
#include "hub/interest.h"
#include "hub/memory.h"
#include "hub/polled.h"
#include "hub/presence.h"
#include "hub/reactor.h"
#include "hub/replay.h"
#include "hub/revocations.h"

typedef enum sse_hub_state_t { SSE_HUB_RUNNING, SSE_HUB_STOPPING } sse_hub_state_t;

typedef struct sse_hub_counters_t {
    uint64_t published, batches, publish_errors, requests, refused_busy, refused_unavailable;
} sse_hub_counters_t;

typedef struct sse_hub_t {
    uv_loop_t loop;
    sse_hubconf_t conf;
    sse_hub_state_t state;
    bool open;
    uint64_t started; /* loop ms */
    sse_broker_t *broker;
    sse_broker_state_t broker_state;
    char broker_detail[200];
    sse_mailbox_t notices;
    sse_reactor_t **reactors;
    uint32_t n_reactors, reactors_running, next_reactor;
    atomic_ullong streams; /* open and reserved, feeds included */
    sse_admission_t admission;
    sse_presence_t presence;
    sse_polled_t polled;
    sse_revocations_t revocations;
    sse_interest_t interest;
    sse_replayer_t replayer;
    sse_letter_t *cursors, *last_cursor; /* notices of this batch, for the broker */
    struct sse_channels_t *channels;
    struct sse_adminsock_t *adminsock;
    sse_hub_counters_t counters;
    sse_memory_t memory;
    uv_timer_t second;
    uv_poll_t parent;
    uv_signal_t term, interrupt;
} sse_hub_t;

/* Takes over the contents of conf (which is left empty). APR_EINVAL or the broker's status with a
 * sentence in problem (256 bytes); nothing is left then. */
apr_status_t sse_hub_create(sse_hubconf_t *conf, sse_hub_t **out_hub, char *problem);
/* Runs until a signal, the parent's end or sse_hub_stop; then everything is closed and freed. */
void sse_hub_run(sse_hub_t *hub);
/* Begins the end: streams are told "shutdown", the broker is flushed. */
void sse_hub_stop(sse_hub_t *hub);

/* The presence table has changed for a user (`changed`: whether the user came or went by it): the
 * broker is told, or, where it keeps no presence, those who watch. */
void sse_hub_presence_told(sse_hub_t *hub, sse_str_t realm, sse_str_t user, bool changed);
/* The broker has said for the first time how it is: workers and publishers are let in. */
void sse_hub_open(sse_hub_t *hub);

/* The index of the reactor where a user's streams live. */
uint32_t sse_hub_shard(const sse_hub_t *hub, sse_str_t realm, sse_str_t user);
/* Where a user's streams live; anonymous ones (user empty) go round. */
sse_reactor_t *sse_hub_reactor(sse_hub_t *hub, sse_str_t realm, sse_str_t user);

#endif
