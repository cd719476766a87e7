/* SPDX-License-Identifier: Apache-2.0 */
/* What the local_* files share: the driver's object and the ways between its three threads.
 *
 *   control loop --to_writer--> writer --to_reader--> reader
 *        ^  \________________________________________/   |
 *        +----------- to_loop, sse_wakeup_post ----------+
 *
 * Calls made in one turn of the loop go to the writer together, which makes one transaction of all
 * that waits; a small one that is alone is carried out by the loop itself (local_writer.c). */
#ifndef SSE_LOCAL_IMPL_H
#define SSE_LOCAL_IMPL_H

#include "broker/disk.h"
#include "broker/local_job.h"
#include "broker/local_records.h"
#include "broker/local_window.h"
#include "broker/wakeup.h"

/* Memory of the newest messages; while the reader is at work the floor waits for it up to the
 * second number. */
#define SSE_LOCAL_WINDOW_BYTES (48u * 1024 * 1024)
#define SSE_LOCAL_WINDOW_BYTES_MAX (64u * 1024 * 1024)
/* Arguments of calls that wait for the writer; more are refused. */
#define SSE_LOCAL_QUEUE_BYTES (128u * 1024 * 1024)

typedef struct sse_local_t {
    sse_broker_t base;
    sse_disk_conf_t store_conf; /* read by all threads */
    char *state_dir;

    /* ---- between threads ---- */
    sse_jobq_t to_writer;
    sse_jobq_t to_reader;
    sse_jobq_t to_loop;
    sse_wakeup_t wake;
    atomic_uint generation; /* of the database file: the reader opens it anew when it changes */
    atomic_bool hurry;      /* stopping: no waiting for locks and disks */
    atomic_bool suspect;    /* the reader met damage: the writer looks */
    atomic_bool ended;      /* both threads have ended */

    /* ---- control loop ---- */
    struct sse_local_writer_t *store_writer;
    pthread_t writer;
    pthread_t reader;   /* joined by the writer */
    uv_prepare_t flush; /* active while calls of this turn are queued */
    uv_timer_t tick;
    uv_timer_t lazy; /* active while there is something queued that can wait */
    unsigned ticks;
    sse_job_t *connects; /* of this turn */
    sse_job_t **connects_tail;
    sse_records_t records;
    size_t writes;    /* calls under way that give out numbers or change records */
    bool known_asked; /* the reader is looking what the store has */
    bool well;        /* the store is open and takes writes */
    bool urgent;      /* something queued cannot wait */
    sse_job_t *queued;
    sse_job_t **queued_tail;
    size_t queued_bytes; /* arguments of jobs that are not back yet */
    sse_job_t *incoming; /* taken from to_loop, not yet dealt with */
    sse_job_t **incoming_tail;
    sse_job_t *ready; /* histories that memory can answer */
    sse_job_t **ready_tail;
    size_t reads; /* histories that the reader has */
    sse_window_t window;
    sse_pos_t
        pos; /* of the last message that was given to the upcall; epoch 0 until the store is open */
    bool stopping;
    bool joined;
    unsigned handles; /* libuv handles still to close */
    sse_done_fn stopped;
    void *stopped_baton;
} sse_local_t;

int64_t sse_local_now_ms(void); /* UNIX time; any thread */

/* ---- local_calls.c: the driver's calls, control loop ---- */
extern const sse_broker_driver_t sse_local_driver;

/* ---- local.c, control loop ---- */
apr_status_t sse_local_create(const sse_broker_env_t *env, const char *url,
                              sse_broker_t **out_broker, char *problem);
void sse_local_stop(sse_broker_t *b, sse_done_fn done, void *baton);
/* Hands a job to the writer at the end of this turn; the driver owns it from here. */
void sse_local_submit(sse_local_t *l, sse_job_t *job);

/* Gives what is queued to the writer now. */
void sse_local_flush(sse_local_t *l);
void sse_local_on_flush(uv_prepare_t *handle);

/* ---- local_connect.c, control loop ---- */
void sse_local_connect_submit(sse_local_t *l, sse_job_t *job);
/* Answers the connects of this turn; those that memory cannot answer are submitted. */
void sse_local_connect_answer(sse_local_t *l);
/* The store has been told what an answer from memory had promised, or could not be. */
void sse_local_connect_behind(sse_local_t *l, sse_job_t *job);
/* The writer has answered: the next time memory can. */
void sse_local_connect_learn(sse_local_t *l, sse_job_t *job);

/* ---- local_history.c, control loop ---- */
void sse_local_history_submit(sse_local_t *l, sse_job_t *job);
/* The reader is done with it. */
void sse_local_history_back(sse_local_t *l, sse_job_t *job);
/* Answers up to `max` that memory can answer; true if more wait. */
bool sse_local_history_answer(sse_local_t *l, size_t max);
/* Ends it with a failure. */
void sse_local_history_fail(sse_job_t *job, apr_status_t status);

/* ---- any thread ---- */
void sse_local_give_back_post(sse_local_t *l, sse_job_t *list);

/* ---- local_writer.c, control loop ---- */
void sse_local_writer_create(sse_local_t *l);  /* before its thread */
void sse_local_writer_destroy(sse_local_t *l); /* after its thread */
/* Carries a small job out at once where nothing waits before it and the disk is quick: it is on
 * its way back then. False: it must be pushed to the thread. */
bool sse_local_writer_try(sse_local_t *l, sse_job_t *job);

/* ---- the threads ---- */
void *sse_local_writer(void *l);
void *sse_local_reader(void *l);

#endif
