/* SPDX-License-Identifier: Apache-2.0 */
/* The newest messages of all channels in memory: everything above one floor, so that most returning
 * clients are served without the store. Mirrors what the store keeps of them (count, age,
 * superseding, forgetting). Owned by the control loop. */
#ifndef SSE_LOCAL_WINDOW_H
#define SSE_LOCAL_WINDOW_H

#include "broker/local_job.h"

typedef struct sse_window_slot_t {
    sse_message_t *message; /* NULL: no channel keeps it any more */
    int64_t published;
    uint32_t live; /* channels that keep it */
} sse_window_slot_t;

typedef struct sse_window_channel_t sse_window_channel_t;

typedef struct sse_window_t {
    int64_t history_count;
    int64_t history_ms;
    uint64_t floor;           /* numbers at or below it are not here */
    sse_window_slot_t *slots; /* a ring; the first is floor + 1 */
    size_t head, n, cap;
    size_t bytes;
    sse_window_channel_t *channels; /* uthash */
    sse_window_channel_t *first;    /* by their last message, oldest first */
    sse_window_channel_t *last;
} sse_window_t;

/* history_count or history_seconds 0: only gaps are known. */
void sse_window_init(sse_window_t *w, int64_t history_count, int64_t history_seconds);
void sse_window_clear(sse_window_t *w);
/* Empties it; the next message is the one after floor. */
void sse_window_restart(sse_window_t *w, uint64_t floor);

/* Takes a reference of its own. Numbers grow. */
void sse_window_add(sse_window_t *w, sse_message_t *m);
/* A newer message took the place of this one; unknown numbers are ignored. */
void sse_window_supersede(sse_window_t *w, uint64_t seq);
/* Forgets what the channel has up to here. */
void sse_window_forget(sse_window_t *w, sse_str_t realm, sse_channel_t channel, uint64_t upto);
/* Raises the floor until no more than max_bytes are held and nothing is over its age. */
void sse_window_evict(sse_window_t *w, size_t max_bytes, int64_t now_ms);

/* Appends what the job's ranges hold after max(range, after) to its messages and gaps, under its
 * limits. `after` and every range's must be at or above the floor together: max(range, after) >=
 * floor. */
void sse_window_read(sse_window_t *w, sse_job_t *job, uint64_t after, int64_t now_ms);

#endif
