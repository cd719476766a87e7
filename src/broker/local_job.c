/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of the embedded driver and the queues between its threads. */
#include "broker/local_job.h"

#include "core/buf.h"

#include <stdlib.h>
#include <time.h>

sse_job_t *sse_job_create(sse_job_kind_t kind)
{
    sse_job_t *job = sse_calloc(1, sizeof(*job));
    job->kind = kind;
    return job;
}

void sse_job_reset_results(sse_job_t *job)
{
    size_t n = job->kind == SSE_JOB_PUBLISH ? job->n_items : job->n_messages;
    for (size_t i = 0; job->messages && i < n; i++)
        sse_message_unref(job->messages[i]);
    job->messages = NULL;
    job->n_messages = 0;
    job->loaded_bytes = 0;
    job->gap_end = 0;
    job->more = false;
    job->published = NULL;
    job->superseded = NULL;
    sse_record_unref(job->record);
    job->record = NULL;
    for (size_t i = 0; i < job->n_groups; i++)
        sse_record_unref(job->groups[i]);
    free(job->groups);
    job->groups = NULL;
    job->n_groups = 0;
    for (size_t i = 0; i < job->n_changes; i++) {
        sse_record_unref(job->changes[i].record);
        for (size_t j = 0; j < job->changes[i].n_groups; j++)
            sse_record_unref(job->changes[i].groups[j]);
        free(job->changes[i].groups);
    }
    free(job->changes);
    job->changes = NULL;
    job->n_changes = job->cap_changes = 0;
    job->found = NULL;
    job->n_found = 0;
    job->overlaid = false;
    free(job->known);
    job->known = NULL;
    job->forget = 0;
    job->status = APR_SUCCESS;
}

void sse_job_free(sse_job_t *job)
{
    sse_job_reset_results(job);
    sse_arena_clear(&job->arena);
    free(job);
}

void sse_job_add_change(sse_job_t *job, sse_record_t *record, sse_record_t **groups,
                        size_t n_groups)
{
    if (job->n_changes == job->cap_changes) {
        job->cap_changes = job->cap_changes ? 2 * job->cap_changes : 4;
        job->changes = sse_realloc(job->changes, job->cap_changes * sizeof(*job->changes));
    }
    job->changes[job->n_changes++] = (sse_job_change_t){record, n_groups, groups};
}

void sse_jobq_init(sse_jobq_t *q)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, &attr);
    pthread_condattr_destroy(&attr);
    q->head = NULL;
    q->tail = &q->head;
    q->closed = false;
}

void sse_jobq_clear(sse_jobq_t *q)
{
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
}

void sse_jobq_push(sse_jobq_t *q, sse_job_t *list)
{
    if (!list)
        return;
    sse_job_t *last = list;
    while (last->next)
        last = last->next;
    pthread_mutex_lock(&q->lock);
    *q->tail = list;
    q->tail = &last->next;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void sse_jobq_close(sse_jobq_t *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
}

bool sse_jobq_is_empty(sse_jobq_t *q)
{
    pthread_mutex_lock(&q->lock);
    bool empty = !q->head;
    pthread_mutex_unlock(&q->lock);
    return empty;
}

sse_job_t *sse_jobq_take(sse_jobq_t *q)
{
    pthread_mutex_lock(&q->lock);
    sse_job_t *list = q->head;
    q->head = NULL;
    q->tail = &q->head;
    pthread_mutex_unlock(&q->lock);
    return list;
}

bool sse_jobq_wait(sse_jobq_t *q, unsigned wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&q->lock);
    int rc = 0;
    while (!q->head && !q->closed && rc == 0)
        rc = pthread_cond_timedwait(&q->more, &q->lock, &until);
    bool open = q->head || !q->closed;
    pthread_mutex_unlock(&q->lock);
    return open;
}
