/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded driver's object: made and stopped here; jobs leave for the threads and come back
 * here, where upcalls and callbacks are made. Control loop. */
#include "broker/local.h"

#include "broker/local_impl.h"
#include "core/buf.h"

#include <stdlib.h>
#include <time.h>

/* Work in one turn of the loop, so that streams are not kept waiting. */
#define HISTORIES_PER_TURN 64
#define JOBS_PER_TURN 512
#define TICK_MS 1000
/* Users that came once are remembered so long. */
#define SEEN_TICKS 60

int64_t sse_local_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void sse_local_give_back_post(sse_local_t *l, sse_job_t *list)
{
    sse_jobq_push(&l->to_loop, list);
    sse_wakeup_post(&l->wake);
}

/* ---- sending ---- */

void sse_local_flush(sse_local_t *l)
{
    sse_job_t *list = l->queued;
    l->queued = NULL;
    l->queued_tail = &l->queued;
    l->urgent = false;
    uv_timer_stop(&l->lazy);
    if (list && !sse_local_writer_try(l, list))
        sse_jobq_push(&l->to_writer, list);
}

void sse_local_on_flush(uv_prepare_t *handle)
{
    sse_local_t *l = handle->data;
    sse_local_connect_answer(l);
    if (l->urgent)
        sse_local_flush(l);
    if (!l->connects)
        uv_prepare_stop(&l->flush);
}

static bool writes(const sse_job_t *job)
{
    switch (job->kind) {
    case SSE_JOB_PUBLISH:
    case SSE_JOB_SUBSCRIBE:
    case SSE_JOB_UNSUBSCRIBE:
    case SSE_JOB_MEMBERS_CHANGE:
    case SSE_JOB_FORGET:
    case SSE_JOB_DISCONNECT:
        return true;
    case SSE_JOB_CONNECT:
        return !job->behind;
    default:
        return false;
    }
}

void sse_local_submit(sse_local_t *l, sse_job_t *job)
{
    job->next = NULL;
    if (l->stopping || l->queued_bytes > SSE_LOCAL_QUEUE_BYTES) {
        job->status = l->stopping ? APR_EOF : APR_EAGAIN;
        sse_local_give_back_post(l, job);
        return;
    }
    job->weight = job->arena.bytes;
    l->queued_bytes += job->weight;
    job->counted = writes(job);
    l->writes += job->counted;
    if (!job->behind && !l->urgent) {
        l->urgent = true;
        uv_prepare_start(&l->flush, sse_local_on_flush);
    }
    *l->queued_tail = job;
    l->queued_tail = &job->next;
}

/* ---- coming back ---- */

static void evict(sse_local_t *l)
{
    sse_window_evict(&l->window, l->reads ? SSE_LOCAL_WINDOW_BYTES_MAX : SSE_LOCAL_WINDOW_BYTES,
                     sse_local_now_ms());
}

static void tell_published(sse_local_t *l, sse_job_t *job)
{
    const sse_broker_upcalls_t *up = l->base.env.up;
    bool ok = job->status == APR_SUCCESS;
    for (size_t i = 0; ok && i < job->n_items; i++) {
        sse_message_t *m = job->messages[i];
        if (!m)
            continue;
        if (job->superseded[i])
            sse_window_supersede(&l->window, job->superseded[i]);
        sse_window_add(&l->window, m);
        l->pos = m->pos;
        up->message(l->base.env.hub, m);
    }
    job->cb.published(job->baton, job->status, ok ? job->published : NULL, ok ? job->n_items : 0,
                      job->bad);
    evict(l);
}

/* The writer's view of a user lacks what the store is yet to be told: it is to look again. */
static bool tell_later(sse_local_t *l, const sse_record_t *record)
{
    sse_str_t realm = sse_str(record->realm), name = sse_str(record->name);
    if (l->stopping || record->kind != SSE_CHANNEL_USER ||
        !sse_records_is_behind(&l->records, realm, name))
        return false;
    sse_job_t *job = sse_job_create(SSE_JOB_TELL);
    job->realm = sse_arena_str(&job->arena, realm);
    job->owner = (sse_channel_t){SSE_CHANNEL_USER, sse_arena_str(&job->arena, name)};
    sse_local_submit(l, job);
    return true;
}

static void tell_changes(sse_local_t *l, sse_job_t *job)
{
    for (size_t i = 0; i < job->n_changes; i++) {
        const sse_job_change_t *c = &job->changes[i];
        if (tell_later(l, c->record))
            continue;
        sse_records_changed(&l->records, c->record);
        l->base.env.up->changed(l->base.env.hub, c->record, c->groups);
    }
}

static void ask_known(sse_local_t *l)
{
    if (l->known_asked || l->records.known_whole || !l->well || l->stopping)
        return;
    l->known_asked = true;
    sse_jobq_push(&l->to_reader, sse_job_create(SSE_JOB_KNOWN));
}

static void begin_at(sse_local_t *l, sse_pos_t pos)
{
    l->pos = pos;
    sse_window_restart(&l->window, pos.seq);
}

static void tell_state(sse_local_t *l, sse_job_t *job)
{
    const sse_broker_upcalls_t *up = l->base.env.up;
    l->well = job->state == SSE_BROKER_CONNECTED;
    if (job->pos.epoch) {
        sse_records_forget_all(&l->records);
        ask_known(l);
    }
    if (job->pos.epoch && job->pos.epoch != l->pos.epoch) {
        bool reset = l->pos.epoch != 0;
        begin_at(l, job->pos);
        if (reset)
            up->reset(l->base.env.hub, NULL, job->pos);
    }
    up->state(l->base.env.hub, job->state, job->detail);
}

/* Upcalls first: whoever acts on the answer finds the hub up to date. */
static void come_back(sse_local_t *l, sse_job_t *job)
{
    bool ok = job->status == APR_SUCCESS;
    l->queued_bytes -= job->weight;
    l->writes -= job->counted;
    if (ok)
        tell_changes(l, job);
    switch (job->kind) {
    case SSE_JOB_PUBLISH:
        tell_published(l, job);
        break;
    case SSE_JOB_CONNECT:
        if (job->behind) {
            sse_local_connect_behind(l, job);
            break;
        }
        if (ok)
            sse_local_connect_learn(l, job);
        job->cb.connected(job->baton, job->status, job->record, job->groups, l->pos);
        break;
    case SSE_JOB_SUBSCRIBE:
    case SSE_JOB_UNSUBSCRIBE:
    case SSE_JOB_RECORD:
        job->cb.record(job->baton, job->status, job->record);
        break;
    case SSE_JOB_MEMBERS:
        job->cb.names(job->baton, job->status, job->found, job->n_found);
        break;
    case SSE_JOB_FORGET:
        if (ok && job->forget)
            sse_window_forget(&l->window, job->realm, job->owner, job->forget);
        job->cb.done(job->baton, job->status);
        break;
    case SSE_JOB_MEMBERS_CHANGE:
    case SSE_JOB_DISCONNECT:
    case SSE_JOB_CURSORS:
    case SSE_JOB_SESSION_PUT:
        job->cb.done(job->baton, job->status);
        break;
    case SSE_JOB_TRACKING:
        job->cb.tracking(job->baton, job->status, ok ? &job->track : NULL);
        break;
    case SSE_JOB_SESSION_GET:
        job->cb.session(job->baton, job->status, job->session_user, job->session_expires);
        break;
    case SSE_JOB_HISTORY:
        sse_local_history_back(l, job);
        return;
    case SSE_JOB_STATE:
        tell_state(l, job);
        break;
    case SSE_JOB_KNOWN:
        l->known_asked = false;
        if (ok)
            sse_records_known(&l->records, job->known);
        break;
    case SSE_JOB_TELL:
    case SSE_JOB_EXPIRED:
        break;
    }
    sse_job_free(job);
}

/* ---- the end ---- */

static void closed(void *owner)
{
    sse_local_t *l = owner;
    if (--l->handles)
        return;
    sse_done_fn done = l->stopped;
    void *baton = l->stopped_baton;
    sse_window_clear(&l->window);
    sse_records_clear(&l->records);
    sse_jobq_clear(&l->to_writer);
    sse_jobq_clear(&l->to_reader);
    sse_jobq_clear(&l->to_loop);
    sse_local_writer_destroy(l);
    free(l->state_dir);
    free(l);
    if (done)
        done(baton, APR_SUCCESS);
}

static void handle_closed(uv_handle_t *handle)
{
    closed(handle->data);
}

static void close_handles(sse_local_t *l)
{
    l->handles = 4;
    uv_close((uv_handle_t *)&l->lazy, handle_closed);
    sse_wakeup_close(&l->wake, closed);
    uv_close((uv_handle_t *)&l->flush, handle_closed);
    uv_close((uv_handle_t *)&l->tick, handle_closed);
}

static void on_wake(void *owner)
{
    sse_local_t *l = owner;
    if (!l->joined && atomic_load(&l->ended)) {
        pthread_join(l->writer, NULL);
        l->joined = true;
    }
    sse_job_t *list = sse_jobq_take(&l->to_loop);
    if (list) {
        *l->incoming_tail = list;
        while (*l->incoming_tail)
            l->incoming_tail = &(*l->incoming_tail)->next;
    }
    for (unsigned n = 0; l->incoming && n < JOBS_PER_TURN; n++) {
        sse_job_t *job = l->incoming;
        l->incoming = job->next;
        if (!l->incoming)
            l->incoming_tail = &l->incoming;
        come_back(l, job);
    }
    bool more = sse_local_history_answer(l, HISTORIES_PER_TURN);
    if (more || l->incoming)
        sse_wakeup_post(&l->wake);
    else if (l->joined && sse_jobq_is_empty(&l->to_loop) && !sse_wakeup_closing(&l->wake))
        close_handles(l);
}

static void on_tick(uv_timer_t *timer)
{
    sse_local_t *l = timer->data;
    evict(l);
    ask_known(l);
    if (++l->ticks % SEEN_TICKS == 0)
        sse_records_tick(&l->records);
}

void sse_local_stop(sse_broker_t *b, sse_done_fn done, void *baton)
{
    sse_local_t *l = (sse_local_t *)b;
    if (l->stopping)
        return;
    if (l->queued)
        sse_local_flush(l);
    l->stopping = true;
    sse_local_connect_answer(l);
    l->stopped = done;
    l->stopped_baton = baton;
    atomic_store(&l->hurry, true);
    /* The writer carries out what waits, then closes the reader's queue in turn. */
    sse_jobq_close(&l->to_writer);
    sse_wakeup_post(&l->wake);
}

/* ---- the beginning ---- */

apr_status_t sse_local_create(const sse_broker_env_t *env, const char *url,
                              sse_broker_t **out_broker, char *problem)
{
    apr_status_t status = sse_disk_place_check(env->conf->state_dir, problem);
    if (status != APR_SUCCESS)
        return status;
    sse_local_t *l = sse_calloc(1, sizeof(*l));
    l->base.driver = &sse_local_driver;
    l->base.env = *env;
    l->state_dir = sse_strndup(env->conf->state_dir, strlen(env->conf->state_dir));
    l->store_conf = (sse_disk_conf_t){.dir = l->state_dir,
                                      .full = env->conf->durability &&
                                              strcmp(env->conf->durability, "full") == 0,
                                      .history_count = env->conf->history_count,
                                      .history_seconds = env->conf->history_seconds};
    sse_jobq_init(&l->to_writer);
    sse_jobq_init(&l->to_reader);
    sse_jobq_init(&l->to_loop);
    l->queued_tail = &l->queued;
    l->incoming_tail = &l->incoming;
    l->connects_tail = &l->connects;
    l->ready_tail = &l->ready;
    sse_window_init(&l->window, l->store_conf.history_count, l->store_conf.history_seconds);
    if (sse_wakeup_init(&l->wake, env->loop, on_wake, l) != APR_SUCCESS)
        abort(); /* out of descriptors before the first stream */
    uv_prepare_init(env->loop, &l->flush);
    uv_timer_init(env->loop, &l->tick);
    uv_timer_init(env->loop, &l->lazy);
    l->flush.data = l->tick.data = l->lazy.data = l;
    uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
    sse_local_writer_create(l);
    if (pthread_create(&l->reader, NULL, sse_local_reader, l) != 0 ||
        pthread_create(&l->writer, NULL, sse_local_writer, l) != 0)
        abort();
    *out_broker = &l->base;
    return APR_SUCCESS;
}
