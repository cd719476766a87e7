/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: holds the directory's lock and the store, makes one transaction of all jobs that
 * wait, trims in between, and finds its way back when the disk fails or the file is damaged. It is
 * a thread; a small job that comes alone while that thread sleeps is carried out by the control
 * loop itself, which saves two wake-ups where a commit is no more than a write to memory. */
#include "broker/local_impl.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PROBLEM_SIZE 256
/* Jobs wait this long for the store to open (another hub is leaving); then they are refused until
 * it does. */
#define PATIENCE_MS 15000
#define RETRY_MS 100
#define RETRY_SLOW_MS 1000
#define IDLE_MS 1000
#define BATCH_JOBS 4096
#define EXPIRE_EVERY_MS 5000
#define EXPIRE_AGAIN_MS 50
#define TRIM_AFTER 256
#define TRIM_BUDGET 4096
/* Jobs that the control loop carries out before the thread has a turn to tidy up. */
#define ALONE_MAX 256
/* A job that took the control loop longer than this sends the next ones to the thread for a while.
 */
#define ALONE_SLOW_NS 2000000
#define ALONE_PAUSE_NS 1000000000

typedef struct sse_local_writer_t {
    pthread_mutex_t turn; /* whoever holds it may touch the rest; never waited for by the loop */
    size_t alone;         /* jobs of the control loop since the thread's last turn */
    int64_t pause_ns;     /* monotonic: no jobs of the control loop until then */
    sse_local_t *l;
    sse_disk_t *store;
    int lock_fd;
    sse_broker_state_t state;
    int told_status;    /* the failure that the log has heard of */
    int64_t began_ms;   /* when it began to wait for the store */
    sse_job_t *waiting; /* taken from the queue, not carried out */
    sse_job_t **waiting_tail;
    size_t published; /* since the last trimming */
    bool trim_more;
    int64_t next_trim_ms;
    int64_t next_expire_ms;
    int64_t next_probe_ms;
} writer_t;

static void tell_state(writer_t *w, sse_broker_state_t state, const char *detail, bool opened)
{
    if (state == w->state && !opened)
        return;
    w->state = state;
    sse_job_t *job = sse_job_create(SSE_JOB_STATE);
    job->state = state;
    job->detail = sse_arena_str(&job->arena, sse_str(detail)).p;
    if (opened)
        job->pos = sse_disk_pos(w->store);
    sse_local_give_back_post(w->l, job);
}

/* ---- opening ---- */

static void log_open_failure(writer_t *w, apr_status_t status, const char *problem)
{
    /* A hub that is leaving lets go soon: no need to alarm anybody before patience ends. */
    bool patient = status == APR_EBUSY && sse_local_now_ms() - w->began_ms <= PATIENCE_MS;
    if (patient) {
        sse_log(SSE_LOG_DEBUG, "%s; waiting for it to leave", problem);
        return;
    }
    tell_state(w, SSE_BROKER_LOST, problem, false);
    if (status == w->told_status)
        return;
    w->told_status = status;
    if (status == APR_EBUSY)
        sse_log(SSE_LOG_WARNING, "SSE0300: %s; publishes are refused until it leaves", problem);
    else if (status == APR_ENOTIMPL)
        sse_log(SSE_LOG_ERR, "SSE0301: %s; publishes are refused", problem);
    else
        sse_log(SSE_LOG_ERR,
                "SSE0302: the store cannot be opened: %s; publishes are refused until it can",
                problem);
}

static void log_set_aside(writer_t *w, const char *name)
{
    sse_log(SSE_LOG_CRIT,
            "SSE0303: the database in %s is damaged; it is kept as %s and a new one begun: stored "
            "messages, "
            "subscriptions and groups are lost to the hub",
            w->l->store_conf.dir, name);
}

static bool open_store(writer_t *w)
{
    char problem[PROBLEM_SIZE] = "", aside[64] = "";
    apr_status_t status = APR_SUCCESS;
    if (w->lock_fd < 0)
        status = sse_disk_place_lock(w->l->store_conf.dir, &w->lock_fd, problem);
    if (status == APR_SUCCESS)
        status = sse_disk_open(&w->l->store_conf, &w->store, aside, problem);
    if (aside[0])
        log_set_aside(w, aside);
    if (status != APR_SUCCESS) {
        log_open_failure(w, status, problem);
        return false;
    }
    if (w->told_status)
        sse_log(SSE_LOG_NOTICE, "the store in %s is open", w->l->store_conf.dir);
    w->told_status = 0;
    atomic_fetch_add(&w->l->generation, 1);
    tell_state(w, SSE_BROKER_CONNECTED, "", true);
    return true;
}

/* ---- jobs ---- */

static void give_back(writer_t *w, sse_job_t *list)
{
    if (list)
        sse_local_give_back_post(w->l, list);
}

static void fail_all(writer_t *w, sse_job_t *list, apr_status_t status)
{
    for (sse_job_t *job = list; job; job = job->next) {
        sse_job_reset_results(job);
        job->status = status;
    }
    give_back(w, list);
}

static apr_status_t carry_out(writer_t *w, sse_job_t *job, int64_t now_ms, bool no_writes)
{
    switch (job->kind) {
    case SSE_JOB_PUBLISH:
        return sse_disk_publish(w->store, job, now_ms);
    case SSE_JOB_CONNECT:
        return sse_disk_connect(w->store, job, now_ms, no_writes);
    case SSE_JOB_SUBSCRIBE:
        return sse_disk_subscribe(w->store, job, now_ms);
    case SSE_JOB_UNSUBSCRIBE:
        return sse_disk_unsubscribe(w->store, job, now_ms);
    case SSE_JOB_RECORD:
        return sse_disk_record(w->store, job, now_ms);
    case SSE_JOB_MEMBERS_CHANGE:
        return sse_disk_members_change(w->store, job, now_ms);
    case SSE_JOB_TELL:
        return sse_disk_tell(w->store, job, now_ms);
    case SSE_JOB_MEMBERS:
        return sse_disk_members(w->store, job);
    case SSE_JOB_FORGET:
        return sse_disk_forget(w->store, job, now_ms);
    case SSE_JOB_DISCONNECT:
        return sse_disk_disconnect(w->store, job, now_ms);
    case SSE_JOB_CURSORS:
        return sse_disk_cursors(w->store, job);
    case SSE_JOB_SESSION_PUT:
        return sse_disk_session_put(w->store, job);
    case SSE_JOB_SESSION_GET:
        return sse_disk_session_get(w->store, job, now_ms);
    default: /* the reader's: passed on after the commit */
        return APR_SUCCESS;
    }
}

static bool store_failed(apr_status_t status)
{
    return status == APR_EAGAIN || status == APR_EGENERAL;
}

/* All in one transaction. On failure nothing is kept and no result is left. */
static apr_status_t try_together(writer_t *w, sse_job_t *list, int64_t now_ms)
{
    apr_status_t status = sse_disk_begin(w->store);
    for (sse_job_t *job = list; job && !store_failed(status); job = job->next) {
        job->status = carry_out(w, job, now_ms, false);
        status = job->status;
    }
    if (store_failed(status))
        sse_disk_rollback(w->store);
    else
        status = sse_disk_commit(w->store);
    if (!store_failed(status))
        return APR_SUCCESS;
    for (sse_job_t *job = list; job; job = job->next)
        sse_job_reset_results(job);
    return status;
}

/* Alone, so that what only reads still gets its answer from a disk that refuses writes. */
static apr_status_t try_alone(writer_t *w, sse_job_t *job, int64_t now_ms, bool no_writes)
{
    apr_status_t status = sse_disk_begin(w->store);
    if (status == APR_SUCCESS)
        status = carry_out(w, job, now_ms, no_writes);
    if (store_failed(status))
        sse_disk_rollback(w->store);
    else {
        apr_status_t committed = sse_disk_commit(w->store);
        status = committed == APR_SUCCESS ? status : committed;
    }
    if (store_failed(status))
        sse_job_reset_results(job);
    job->status = status;
    return status;
}

/* What the reader is to do goes on to it, in order behind what is committed; the rest goes back. */
static void hand_over(writer_t *w, sse_job_t *list)
{
    sse_job_t *back = NULL, **back_tail = &back, *on = NULL, **on_tail = &on;
    for (sse_job_t *job = list, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        bool reads = job->kind == SSE_JOB_HISTORY || job->kind == SSE_JOB_TRACKING;
        sse_job_t ***tail = reads ? &on_tail : &back_tail;
        **tail = job;
        *tail = &job->next;
        if (job->kind == SSE_JOB_PUBLISH)
            w->published += job->n_items;
    }
    give_back(w, back);
    sse_jobq_push(&w->l->to_reader, on);
}

static void well(writer_t *w)
{
    if (w->state == SSE_BROKER_CONNECTED)
        return;
    sse_log(SSE_LOG_NOTICE, "the store accepts writes again");
    w->told_status = 0;
    tell_state(w, SSE_BROKER_CONNECTED, "", false);
}

static void unwell(writer_t *w)
{
    if (w->told_status != APR_EAGAIN)
        sse_log(
            SSE_LOG_ERR,
            "SSE0304: the store refuses writes: %s; publishes are refused until it accepts them",
            sse_disk_problem(w->store));
    w->told_status = APR_EAGAIN;
    w->next_probe_ms = sse_local_now_ms() + RETRY_SLOW_MS;
    tell_state(w, SSE_BROKER_LOST, sse_disk_problem(w->store), false);
}

/* Closes the damaged file and puts it aside; the next turn opens a new one. */
static void give_up_file(writer_t *w)
{
    char aside[64] = "";
    sse_log(SSE_LOG_ERR, "SSE0305: the database in %s is found damaged: %s", w->l->store_conf.dir,
            sse_disk_problem(w->store));
    sse_disk_abandon(w->store);
    w->store = NULL;
    if (sse_disk_place_set_aside(w->l->store_conf.dir, aside) == APR_SUCCESS)
        log_set_aside(w, aside);
    w->began_ms = sse_local_now_ms();
    tell_state(w, SSE_BROKER_LOST, "the database is damaged", false);
}

static void run(writer_t *w, sse_job_t *list)
{
    int64_t now_ms = sse_local_now_ms();
    int64_t written = sse_disk_written(w->store);
    apr_status_t status = try_together(w, list, now_ms);
    if (status == APR_SUCCESS) {
        hand_over(w, list);
        if (sse_disk_written(w->store) != written)
            well(w);
        return;
    }
    bool refused = false;
    for (sse_job_t *job = list, *next; job && status != APR_EGENERAL; job = next) {
        next = list = job->next;
        job->next = NULL;
        status = try_alone(w, job, now_ms, false);
        if (status == APR_EAGAIN) {
            refused = true;
            if (job->kind == SSE_JOB_CONNECT)
                status = try_alone(w, job, now_ms, true);
        }
        if (status == APR_EGENERAL) {
            job->next = next;
            list = job;
        } else {
            hand_over(w, job);
        }
    }
    if (status == APR_EGENERAL) {
        fail_all(w, list, APR_EAGAIN);
        give_up_file(w);
    } else if (refused) {
        unwell(w);
    }
}

/* ---- in between ---- */

static void trim(writer_t *w, int64_t now_ms)
{
    size_t budget = 2 * w->published + TRIM_AFTER;
    if (budget > TRIM_BUDGET)
        budget = TRIM_BUDGET;
    apr_status_t status = sse_disk_begin(w->store);
    if (status == APR_SUCCESS)
        status = sse_disk_trim(w->store, budget, now_ms, &w->trim_more);
    if (status == APR_SUCCESS)
        status = sse_disk_commit(w->store);
    else
        sse_disk_rollback(w->store);
    w->published = 0;
    w->next_trim_ms = now_ms + IDLE_MS;
    if (status != APR_SUCCESS)
        w->trim_more = false;
    if (status == APR_EGENERAL)
        give_up_file(w);
    else if (status == APR_EAGAIN)
        unwell(w);
}

static void expire(writer_t *w, int64_t now_ms)
{
    bool more = false;
    sse_job_t *job = sse_job_create(SSE_JOB_EXPIRED);
    apr_status_t status = sse_disk_begin(w->store);
    if (status == APR_SUCCESS)
        status = sse_disk_expire(w->store, job, now_ms, &more);
    if (status == APR_SUCCESS)
        status = sse_disk_commit(w->store);
    else
        sse_disk_rollback(w->store);
    w->next_expire_ms = now_ms + (more ? EXPIRE_AGAIN_MS : EXPIRE_EVERY_MS);
    if (status == APR_SUCCESS && job->n_changes)
        sse_local_give_back_post(w->l, job);
    else
        sse_job_free(job);
    if (status == APR_EGENERAL)
        give_up_file(w);
}

static void keep_house(writer_t *w)
{
    int64_t now_ms = sse_local_now_ms();
    if (w->state != SSE_BROKER_CONNECTED) {
        w->next_expire_ms = now_ms + EXPIRE_EVERY_MS;
        if (now_ms < w->next_probe_ms)
            return;
        w->next_probe_ms = now_ms + RETRY_SLOW_MS;
        apr_status_t status = sse_disk_probe(w->store);
        if (status == APR_SUCCESS)
            well(w);
        else if (status == APR_EGENERAL)
            give_up_file(w);
        return;
    }
    if (atomic_exchange(&w->l->suspect, false) && sse_disk_damaged(w->store)) {
        give_up_file(w);
        return;
    }
    /* A clock that was set back must not put the next time far off. */
    if (w->next_trim_ms > now_ms + IDLE_MS)
        w->next_trim_ms = now_ms;
    if (w->next_expire_ms > now_ms + EXPIRE_EVERY_MS)
        w->next_expire_ms = now_ms;
    if (w->published >= TRIM_AFTER || w->trim_more || now_ms >= w->next_trim_ms)
        trim(w, now_ms);
    if (w->store && now_ms >= w->next_expire_ms)
        expire(w, now_ms);
    if (w->store)
        sse_disk_checkpoint(w->store);
}

/* Up to BATCH_JOBS of those that wait. */
static sse_job_t *next_batch(writer_t *w)
{
    sse_job_t *list = sse_jobq_take(&w->l->to_writer);
    if (list) {
        *w->waiting_tail = list;
        while (*w->waiting_tail)
            w->waiting_tail = &(*w->waiting_tail)->next;
    }
    sse_job_t *batch = w->waiting, *last = batch;
    if (!batch)
        return NULL;
    for (size_t n = 1; n < BATCH_JOBS && last->next; n++)
        last = last->next;
    w->waiting = last->next;
    last->next = NULL;
    if (!w->waiting)
        w->waiting_tail = &w->waiting;
    return batch;
}

static void without_store(writer_t *w)
{
    sse_jobq_t *q = &w->l->to_writer;
    bool hurry = atomic_load(&w->l->hurry);
    if (!w->waiting && !sse_jobq_wait(q, 0))
        return;
    if (open_store(w))
        return;
    if (hurry || sse_local_now_ms() - w->began_ms > PATIENCE_MS || w->told_status == APR_ENOTIMPL) {
        sse_job_t *batch;
        while ((batch = next_batch(w)))
            fail_all(w, batch, hurry ? APR_EOF : APR_EAGAIN);
        sse_jobq_wait(q, RETRY_SLOW_MS);
    } else if (!hurry) {
        usleep(RETRY_MS * 1000);
    }
}

/* Until when there is nothing to do if no job comes. */
static unsigned idle_ms(const writer_t *w)
{
    if (!w->store || w->trim_more || w->waiting)
        return 0;
    int64_t left = w->next_expire_ms - sse_local_now_ms();
    return left <= 0 ? 0 : left < IDLE_MS ? (unsigned)left : IDLE_MS;
}

static bool is_small(const sse_job_t *job)
{
    switch (job->kind) {
    case SSE_JOB_PUBLISH:
        return job->n_items == 1;
    case SSE_JOB_CONNECT:
    case SSE_JOB_SUBSCRIBE:
    case SSE_JOB_UNSUBSCRIBE:
    case SSE_JOB_RECORD:
    case SSE_JOB_TRACKING:
    case SSE_JOB_HISTORY:
    case SSE_JOB_SESSION_PUT:
    case SSE_JOB_SESSION_GET:
        return true;
    default:
        return false;
    }
}

static int64_t monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool sse_local_writer_try(sse_local_t *l, sse_job_t *job)
{
    writer_t *w = l->store_writer;
    if (job->next || !is_small(job) || l->store_conf.full || pthread_mutex_trylock(&w->turn))
        return false;
    int64_t began = monotonic_ns();
    bool can = w->store && w->state == SSE_BROKER_CONNECTED && w->alone < ALONE_MAX &&
               began >= w->pause_ns && !w->waiting && sse_jobq_is_empty(&l->to_writer);
    if (can) {
        w->alone++;
        run(w, job);
        int64_t ended = monotonic_ns();
        if (ended - began > ALONE_SLOW_NS)
            w->pause_ns = ended + ALONE_PAUSE_NS;
    }
    pthread_mutex_unlock(&w->turn);
    return can;
}

void sse_local_writer_create(sse_local_t *l)
{
    writer_t *w = sse_calloc(1, sizeof *w);
    w->l = l;
    w->lock_fd = -1;
    w->state = SSE_BROKER_STARTING;
    w->began_ms = sse_local_now_ms();
    w->waiting_tail = &w->waiting;
    pthread_mutex_init(&w->turn, NULL);
    l->store_writer = w;
}

void sse_local_writer_destroy(sse_local_t *l)
{
    pthread_mutex_destroy(&l->store_writer->turn);
    free(l->store_writer);
}

/* False when all is done and nothing more will come. */
static bool take_turn(writer_t *w, bool open)
{
    if (!open && !w->waiting && !w->trim_more)
        return false;
    w->alone = 0;
    if (!w->store) {
        without_store(w);
        return true;
    }
    sse_job_t *batch = next_batch(w);
    if (batch)
        run(w, batch);
    if (atomic_load(&w->l->hurry))
        w->trim_more = false;
    else if (w->store)
        keep_house(w);
    return true;
}

void *sse_local_writer(void *baton)
{
    sse_local_t *l = baton;
    writer_t *w = l->store_writer;
    unsigned wait_ms = 0;
    for (bool more = true; more;) {
        bool open = sse_jobq_wait(&l->to_writer, wait_ms);
        pthread_mutex_lock(&w->turn);
        more = take_turn(w, open);
        wait_ms = idle_ms(w);
        pthread_mutex_unlock(&w->turn);
    }
    /* The last connection to close is the one that can tidy up. */
    sse_jobq_close(&l->to_reader);
    pthread_join(l->reader, NULL);
    sse_disk_close(w->store);
    w->store = NULL;
    if (w->lock_fd >= 0)
        close(w->lock_fd);
    atomic_store(&l->ended, true);
    sse_wakeup_post(&l->wake);
    return NULL;
}
