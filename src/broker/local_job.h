/* SPDX-License-Identifier: Apache-2.0 */
/* A call of the hub on its way through the embedded driver: made by the control loop, carried out
 * by the writer or reader thread, given back to the control loop, which makes the upcalls and the
 * callback and frees it. One owner at a time. */
#ifndef SSE_LOCAL_JOB_H
#define SSE_LOCAL_JOB_H

#include "broker/arena.h"
#include "broker/broker.h"

#include <pthread.h>

typedef enum sse_job_kind_t {
    SSE_JOB_PUBLISH,
    SSE_JOB_CONNECT,
    SSE_JOB_SUBSCRIBE,
    SSE_JOB_UNSUBSCRIBE,
    SSE_JOB_RECORD,
    SSE_JOB_MEMBERS_CHANGE,
    SSE_JOB_MEMBERS,
    SSE_JOB_FORGET,
    SSE_JOB_DISCONNECT,
    SSE_JOB_CURSORS,
    SSE_JOB_TRACKING,
    SSE_JOB_HISTORY,
    SSE_JOB_SESSION_PUT,
    SSE_JOB_SESSION_GET,
    SSE_JOB_TELL, /* the owner's record is to be told again */
    SSE_JOB_KNOWN,
    /* What the writer tells the loop by itself; no call stands behind them. */
    SSE_JOB_STATE,
    SSE_JOB_EXPIRED /* session subscriptions ran out: changes only */
} sse_job_kind_t;

/* A `changed` upcall to make. */
typedef struct sse_job_change_t {
    sse_record_t *record;
    size_t n_groups;
    sse_record_t **groups; /* malloc; NULL for a group's record */
} sse_job_change_t;

typedef struct sse_job_t {
    struct sse_job_t *next;
    sse_job_kind_t kind;
    apr_status_t status;
    sse_arena_t arena; /* arguments and results live here, references apart */
    void *baton;
    size_t weight; /* counted against the queue's limit */
    union {
        sse_published_fn published;
        sse_connected_fn connected;
        sse_record_fn record;
        sse_names_fn names;
        sse_done_fn done;
        sse_tracking_fn tracking;
        sse_history_fn history;
        sse_session_fn session;
    } cb;

    /* ---- arguments ---- */
    sse_str_t realm;
    sse_channel_t owner; /* whose record, which group, what to forget */
    sse_str_t session;
    uint64_t session_expires;
    const sse_str_t *names; /* groups, events, members to add */
    size_t n_names;
    bool names_given; /* CONNECT: groups were given; MEMBERS_CHANGE: replace */
    const sse_str_t *removed;
    size_t n_removed;
    uint64_t until; /* DISCONNECT */
    bool counted;   /* among the driver's `writes` */
    bool behind; /* CONNECT: it was answered from memory, the store is to be told of the groups */
    bool fresh;  /* the store has nothing of the user */
    uint64_t start; /* where its new memberships begin */
    uint32_t life;  /* of the records in memory */
    sse_publish_t *items;
    size_t n_items;
    sse_cursor_t *cursors;
    size_t n_cursors;
    sse_range_t *ranges;
    size_t n_ranges;
    size_t max_messages;
    size_t max_bytes;

    /* ---- results ---- */
    sse_published_t *published;
    sse_message_t **messages; /* PUBLISH: one an item, NULL where repeated; HISTORY: n_messages */
    uint64_t *superseded;     /* PUBLISH: the sequence number an item took the place of; 0 = none */
    size_t n_messages;
    size_t bad;
    sse_record_t *record;
    sse_record_t **groups; /* malloc */
    size_t n_groups;
    sse_job_change_t *changes;
    size_t n_changes;
    size_t cap_changes;
    sse_str_t *found;
    size_t n_found;
    sse_tracking_t track;
    bool *gaps; /* HISTORY: one a range */
    uint64_t gap_end;
    size_t loaded_bytes;
    bool more;
    sse_pos_t pos; /* HISTORY: what the store had; STATE: where the store is, epoch 0 = as before */
    sse_str_t session_user; /* SESSION_GET, with session_expires */
    bool overlaid;          /* CONNECT: the record holds for this answer only */
    unsigned char *known;   /* KNOWN: malloc, SSE_RECORDS_KNOWN_BYTES */
    uint64_t forget;        /* FORGET: the channel is empty up to here */
    sse_broker_state_t state;
    const char *detail;
} sse_job_t;

sse_job_t *sse_job_create(sse_job_kind_t kind);
void sse_job_free(sse_job_t *job);
/* Drops what a first attempt put into the results, so that the job can be carried out again. */
void sse_job_reset_results(sse_job_t *job);
/* Adds a change; takes the references and the array. */
void sse_job_add_change(sse_job_t *job, sse_record_t *record, sse_record_t **groups,
                        size_t n_groups);

/* First in, first out, between threads. */
typedef struct sse_jobq_t {
    pthread_mutex_t lock;
    pthread_cond_t more;
    sse_job_t *head;
    sse_job_t **tail;
    bool closed; /* nothing is added any more */
} sse_jobq_t;

void sse_jobq_init(sse_jobq_t *q);
void sse_jobq_clear(sse_jobq_t *q); /* must be empty */
/* Appends a list that is linked by `next`. */
void sse_jobq_push(sse_jobq_t *q, sse_job_t *list);
void sse_jobq_close(sse_jobq_t *q);
bool sse_jobq_is_empty(sse_jobq_t *q);
/* Takes all there is, NULL if there is nothing. */
sse_job_t *sse_jobq_take(sse_jobq_t *q);
/* Waits until there is something to take, the queue is closed, or wait_ms have passed. False:
 * closed and empty. */
bool sse_jobq_wait(sse_jobq_t *q, unsigned wait_ms);

#endif
