/* SPDX-License-Identifier: Apache-2.0 */
/* Histories: answered from memory where it reaches back far enough, else by the reader thread and
 * joined with memory, so that what is missing comes by the upcall and nothing twice. Control loop.
 */
#include "broker/local_impl.h"

static bool in_memory(const sse_local_t *l, const sse_job_t *job)
{
    for (size_t i = 0; i < job->n_ranges; i++)
        if (job->ranges[i].after < l->window.floor)
            return false;
    return true;
}

static void send_to_reader(sse_local_t *l, sse_job_t *job)
{
    l->reads++;
    job->next = NULL;
    sse_jobq_push(&l->to_reader, job);
}

void sse_local_history_submit(sse_local_t *l, sse_job_t *job)
{
    /* Before the store is open the writer keeps it in line and passes it on. */
    if (l->stopping || l->pos.epoch == 0) {
        l->reads++;
        sse_local_submit(l, job);
        return;
    }
    if (!in_memory(l, job)) {
        send_to_reader(l, job);
        return;
    }
    /* Not within the call: answered, from what is known then, on the next turn. */
    job->next = NULL;
    *l->ready_tail = job;
    l->ready_tail = &job->next;
    sse_wakeup_post(&l->wake);
}

void sse_local_history_fail(sse_job_t *job, apr_status_t status)
{
    job->cb.history(job->baton, status, NULL);
    sse_job_free(job);
}

static void answer(sse_local_t *l, sse_job_t *job)
{
    size_t n_gaps = 0;
    size_t *gaps = sse_arena_alloc(&job->arena, job->n_ranges * sizeof(*gaps) + 1);
    for (size_t i = 0; i < job->n_ranges; i++)
        if (job->gaps[i])
            gaps[n_gaps++] = i;
    sse_history_t history = {.messages = job->messages,
                             .n_messages = job->n_messages,
                             .more = job->more,
                             .pos = l->pos,
                             .gaps = gaps,
                             .n_gaps = n_gaps,
                             .gap_end = job->gap_end};
    job->cb.history(job->baton, APR_SUCCESS, &history);
    sse_job_free(job);
}

static void answer_from_memory(sse_local_t *l, sse_job_t *job)
{
    job->gaps = sse_arena_alloc(&job->arena, job->n_ranges * sizeof(*job->gaps) + 1);
    job->messages = sse_arena_alloc(&job->arena, job->max_messages * sizeof(sse_message_t *));
    sse_window_read(&l->window, job, 0, sse_local_now_ms());
    answer(l, job);
}

bool sse_local_history_answer(sse_local_t *l, size_t max)
{
    for (; l->ready && max; max--) {
        sse_job_t *job = l->ready;
        l->ready = job->next;
        if (!l->ready)
            l->ready_tail = &l->ready;
        if (l->stopping)
            sse_local_history_fail(job, APR_EOF);
        else if (in_memory(l, job))
            answer_from_memory(l, job);
        else /* the floor has passed it while it waited */
            send_to_reader(l, job);
    }
    return l->ready != NULL;
}

/* Messages that are committed but not yet given to the upcall will come by it. */
static void cut_to_position(sse_local_t *l, sse_job_t *job)
{
    while (job->n_messages && job->messages[job->n_messages - 1]->pos.seq > l->pos.seq) {
        sse_message_unref(job->messages[--job->n_messages]);
        job->more = false;
    }
    if (job->gap_end > l->pos.seq)
        job->gap_end = l->pos.seq;
}

void sse_local_history_back(sse_local_t *l, sse_job_t *job)
{
    l->reads--;
    job->weight = 0;
    if (job->status != APR_SUCCESS) {
        sse_local_history_fail(job, job->status);
        return;
    }
    if (l->stopping) { /* the reader may have ended */
        sse_local_history_fail(job, APR_EOF);
        return;
    }
    if (job->pos.epoch != l->pos.epoch) {
        sse_local_history_fail(job, APR_EAGAIN);
        return;
    }
    cut_to_position(l, job);
    if (job->more || job->pos.seq >= l->pos.seq) {
        answer(l, job);
        return;
    }
    uint64_t seen = job->pos.seq;
    if (seen >= l->window.floor) {
        sse_window_read(&l->window, job, seen, sse_local_now_ms());
        answer(l, job);
        return;
    }
    /* Memory has moved past what the reader saw: give what there is, or read on from there. */
    if (job->n_messages) {
        job->more = true;
        answer(l, job);
        return;
    }
    for (size_t i = 0; i < job->n_ranges; i++)
        if (job->ranges[i].after < seen)
            job->ranges[i].after = seen;
    if (in_memory(l, job)) {
        sse_window_read(&l->window, job, seen, sse_local_now_ms());
        answer(l, job);
    } else {
        send_to_reader(l, job);
    }
}
