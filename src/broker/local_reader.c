/* SPDX-License-Identifier: Apache-2.0 */
/* The reader thread: histories and tracking from a read-only connection of its own, so that no
 * replay holds up a publish. */
#include "broker/local_impl.h"
#include "core/log.h"

#define IDLE_MS 60000

static apr_status_t carry_out(sse_disk_reader_t *r, sse_job_t *job)
{
    int64_t now_ms = sse_local_now_ms();
    switch (job->kind) {
    case SSE_JOB_KNOWN:
        return sse_disk_reader_known(r, job);
    case SSE_JOB_HISTORY:
        return sse_disk_reader_history(r, job, now_ms);
    default:
        return sse_disk_reader_tracking(r, job, now_ms);
    }
}

void *sse_local_reader(void *baton)
{
    sse_local_t *l = baton;
    sse_disk_reader_t *reader = NULL;
    unsigned generation = 0;
    while (sse_jobq_wait(&l->to_reader, IDLE_MS)) {
        sse_job_t *list = sse_jobq_take(&l->to_reader);
        for (sse_job_t *job = list, *next; job; job = next) {
            next = job->next;
            job->next = NULL;
            unsigned now = atomic_load(&l->generation);
            if (now != generation) {
                sse_disk_reader_close(reader);
                reader = NULL;
                generation = now;
            }
            job->status = APR_SUCCESS;
            if (!reader)
                job->status = sse_disk_reader_open(&l->store_conf, &reader);
            if (job->status == APR_SUCCESS)
                job->status = carry_out(reader, job);
            if (job->status == APR_EGENERAL) {
                /* The writer decides what becomes of the file. */
                atomic_store(&l->suspect, true);
                job->status = APR_EAGAIN;
            }
            if (job->status != APR_SUCCESS)
                sse_job_reset_results(job), job->status = APR_EAGAIN;
            sse_local_give_back_post(l, job);
        }
    }
    sse_disk_reader_close(reader);
    return NULL;
}
