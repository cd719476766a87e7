/* SPDX-License-Identifier: Apache-2.0 */
/* A call under way: one script with its arguments, and whom to answer. */
#include "broker/redis_impl.h"
#include <stdio.h>
#include <stdlib.h>

sse_redisjob_t *sse_redisjob_create(sse_redis_t *redis, sse_str_t realm, sse_redisscript_t script,
                                    sse_redisjob_fn done, void *baton)
{
    sse_redisjob_t *job = sse_calloc(1, sizeof *job);
    job->redis = redis;
    job->realm = sse_redisrealm_get(redis, realm, true);
    job->script = script;
    job->done = done;
    job->baton = baton;
    return job;
}

void sse_redisjob_arg(sse_redisjob_t *job, sse_str_t arg)
{
    sse_redisconn_arg(&job->args, arg);
    job->n_args++;
}

void sse_redisjob_number(sse_redisjob_t *job, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    sse_redisjob_arg(job, sse_str(text));
}

void sse_redisjob_submit(sse_redisjob_t *job)
{
    if (job->redis->stopping) {
        sse_redisjob_answer_later(job, APR_EOF);
        return;
    }
    if (job->script == SSE_SCRIPT_HISTORY && !job->internal)
        sse_redisrealm_reading(job->realm, job, true);
    sse_redisnode_submit(job->realm->node, job);
}

void sse_redisjob_finish(sse_redisjob_t *job)
{
    job->done(job, job->status, job->reply);
    if (job->floor)
        sse_redisrealm_reading(job->realm, job, false);
    sse_redisjob_drop(job);
}

void sse_redisjob_drop(sse_redisjob_t *job)
{
    if (job->reply)
        freeReplyObject(job->reply);
    sse_buf_clear(&job->args);
    free(job->ranges);
    free(job->guests);
    free(job);
}

void sse_redisjob_answer_waiting(sse_redis_t *redis)
{
    sse_redisjob_t *job = redis->waiting;
    redis->waiting = NULL;
    redis->waiting_tail = &redis->waiting;
    while (job) {
        sse_redisjob_t *next = job->next;
        sse_redisjob_finish(job);
        job = next;
    }
}

static void on_defer(uv_timer_t *timer)
{
    sse_redisjob_answer_waiting(timer->data);
}

void sse_redisjob_answer_later(sse_redisjob_t *job, apr_status_t status)
{
    sse_redis_t *redis = job->redis;
    job->status = status;
    job->next = NULL;
    *redis->waiting_tail = job;
    redis->waiting_tail = &job->next;
    uv_timer_start(&redis->defer, on_defer, 0, 0);
}
