/* SPDX-License-Identifier: Apache-2.0 */
/* A node's jobs on their way: queued, sent, fenced.
 *
 * Order. A job is sent once the subscriptions made before it are in force. A fenced one is answered
 * once a PING on the pushing connection, sent after its reply, has come back: all that was
 * published before its script ran has been given then. */
#include "broker/redis_impl.h"

#include "core/crypto.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

#define QUEUE_BYTES (64u * 1024 * 1024)
#define WAIT_MS "1000"
#define TRIES 5

/* ---- lists ---- */

static void queue(sse_redisnode_t *node, sse_redisjob_t *job)
{
    job->next = NULL;
    *node->queue_tail = job;
    node->queue_tail = &job->next;
    node->queue_bytes += job->args.n;
}

static void sent_add(sse_redisnode_t *node, sse_redisjob_t *job)
{
    job->prev = NULL;
    job->next = node->sent;
    if (node->sent)
        node->sent->prev = job;
    node->sent = job;
}

static void sent_remove(sse_redisnode_t *node, sse_redisjob_t *job)
{
    *(job->prev ? &job->prev->next : &node->sent) = job->next;
    if (job->next)
        job->next->prev = job->prev;
}

bool sse_redisnode_idle(const sse_redisnode_t *node)
{
    return !node->queue && !node->sent && !node->fenced;
}

/* ---- answers ---- */

uint64_t sse_redissend_ping(sse_redisnode_t *node)
{
    node->ping_wanted = true;
    sse_redisconn_flush(node->pushes);
    return node->pings_sent + 1;
}

static void settle(sse_redisnode_t *node, sse_redisjob_t *job)
{
    redisReply *reply = job->reply;
    uint64_t epoch, seq;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_INTEGER ||
        reply->element[2]->type != REDIS_REPLY_STRING ||
        !sse_redistext_epoch((sse_str_t){reply->element[0]->str, reply->element[0]->len}, &epoch)) {
        job->status = APR_EGENERAL;
        freeReplyObject(reply);
        job->reply = NULL;
        sse_redisjob_finish(job);
        return;
    }
    seq = (uint64_t)reply->element[1]->integer;
    sse_redisrealm_t *realm = job->realm;
    if (!job->internal)
        sse_redisrealm_heard(realm, epoch, seq,
                             (sse_str_t){reply->element[2]->str, reply->element[2]->len}, false);
    /* Changes of records have no number of their own: only a history can do without the PING. */
    if (!job->fenced || (job->script == SSE_SCRIPT_HISTORY && realm->given >= seq)) {
        sse_redisjob_finish(job);
        return;
    }
    job->fence = sse_redissend_ping(node);
    job->next = NULL;
    *node->fenced_tail = job;
    node->fenced_tail = &job->next;
}

void sse_redissend_pong(sse_redisnode_t *node)
{
    node->pongs++;
    while (node->fenced && node->fenced->fence <= node->pongs) {
        sse_redisjob_t *job = node->fenced;
        node->fenced = job->next;
        if (!node->fenced)
            node->fenced_tail = &node->fenced;
        uint64_t epoch, seq = (uint64_t)job->reply->element[1]->integer;
        sse_redistext_epoch((sse_str_t){job->reply->element[0]->str, job->reply->element[0]->len},
                            &epoch);
        if (job->realm->node != node)
            job->status =
                APR_EAGAIN; /* what came by the pushes of a slot that went was not given */
        else if (epoch == job->realm->known.epoch && seq > job->realm->given)
            job->realm->given = seq;
        sse_redisjob_finish(job);
    }
}

static void send_job(sse_redisnode_t *node, sse_redisjob_t *job, bool source);

static void complain(sse_redis_t *redis, const char *what)
{
    uint64_t now = uv_now(redis->base.env.loop);
    if (redis->complained && now - redis->complained < 10000)
        return;
    redis->complained = now;
    sse_log(SSE_LOG_WARNING, "SSE0403: Redis refuses: %s", what);
}

static void refused(sse_redisnode_t *node, sse_redisjob_t *job)
{
    redisReply *reply = job->reply;
    char what[200];
    snprintf(what, sizeof what, "%s", reply->str);
    freeReplyObject(reply);
    job->reply = NULL;
    if (!strncmp(what, "NOSCRIPT", 8) && job->tries < TRIES) {
        send_job(node, job, true);
        return;
    }
    sse_redis_t *redis = node->redis;
    if (job->tries < TRIES && sse_rediscluster_moved(node, what)) {
        sse_redisnode_submit(job->realm->node, job);
        return;
    }
    if (!strncmp(what, "ASK ", 4) && sse_rediscluster_wait(job))
        return;
    complain(redis, what);
    bool leave = !strncmp(what, "READONLY", 8) || !strncmp(what, "MASTERDOWN", 10);
    job->status = APR_EAGAIN;
    sse_redisjob_finish(job);
    if (leave)
        sse_redisnode_lose(node, "the server is a replica that takes no writes");
    else if (node->state == SSE_NODE_READY)
        sse_redis_state(redis, what);
}

static void on_waited(void *baton, redisReply *reply)
{
    sse_redisjob_t *job = baton;
    sse_redisnode_t *node = job->node;
    bool enough = reply && reply->type == REDIS_REPLY_INTEGER &&
                  reply->integer >= (long long)job->redis->url.wait;
    sent_remove(node, job);
    if (reply && !enough && job->reply && job->reply->type != REDIS_REPLY_ERROR)
        complain(job->redis, "fewer replicas than SSEBroker's wait have taken a message");
    bool lost = !reply;
    if (reply)
        freeReplyObject(reply);
    if (!lost && job->reply && job->reply->type == REDIS_REPLY_ERROR) {
        refused(node, job);
        return;
    }
    if (enough && job->reply) {
        settle(node, job);
        return;
    }
    if (job->reply)
        freeReplyObject(job->reply);
    job->reply = NULL;
    job->status = job->redis->stopping ? APR_EOF : APR_EAGAIN;
    sse_redisjob_finish(job);
}

static void on_reply(void *baton, redisReply *reply)
{
    sse_redisjob_t *job = baton;
    sse_redisnode_t *node = job->node;
    job->reply = reply;
    if (job->waited)
        return; /* on_waited goes on */
    sent_remove(node, job);
    if (!reply) {
        job->status = job->redis->stopping ? APR_EOF : APR_EAGAIN;
        sse_redisjob_finish(job);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        refused(node, job);
    } else {
        settle(node, job);
    }
}

/* ---- sending ---- */

static void send_job(sse_redisnode_t *node, sse_redisjob_t *job, bool source)
{
    sse_redis_t *redis = job->redis;
    const sse_hubconf_t *conf = redis->base.env.conf;
    char meta[SSE_REALM_MAX + 128], epoch[17], number[24];
    uint64_t random;
    sse_buf_t out = {0};
    sse_crypto_random(&random, sizeof random);
    snprintf(epoch, sizeof epoch, "%016llx", (unsigned long long)(random | 1));
    snprintf(meta, sizeof meta, "%smeta", job->realm->prefix);
    sse_redisconn_args(&out, 9 + job->n_args);
    sse_redisconn_arg(&out, source ? SSE_STR("EVAL") : SSE_STR("EVALSHA"));
    sse_redisconn_arg(&out, source ? sse_redisscript_source(job->script)
                                   : sse_str(sse_redisscript_sha(job->script)));
    sse_redisconn_arg(&out, SSE_STR("1"));
    sse_redisconn_arg(&out, sse_str(meta));
    sse_redisconn_arg(&out, sse_str(epoch));
    snprintf(number, sizeof number, "%lld", (long long)conf->history_count);
    sse_redisconn_arg(&out, sse_str(number));
    snprintf(number, sizeof number, "%lld", (long long)conf->history_seconds);
    sse_redisconn_arg(&out, sse_str(number));
    sse_redisconn_arg(&out, redis->url.kind == SSE_BROKERURL_CLUSTER ? SSE_STR("s") : SSE_STR("p"));
    sse_redisconn_arg(&out, sse_str(redis->hub));
    sse_buf_str(&out, sse_buf_slice(&job->args));
    job->tries++;
    job->node = node;
    job->waited = redis->url.wait && job->script == SSE_SCRIPT_PUBLISH;
    sent_add(node, job);
    sse_redisconn_send(node->commands, sse_buf_slice(&out), on_reply, job);
    if (job->waited) {
        sse_buf_clear(&out);
        snprintf(number, sizeof number, "%u", redis->url.wait);
        sse_redisconn_args(&out, 3);
        sse_redisconn_arg(&out, SSE_STR("WAIT"));
        sse_redisconn_arg(&out, sse_str(number));
        sse_redisconn_arg(&out, SSE_STR(WAIT_MS));
        sse_redisconn_send(node->commands, sse_buf_slice(&out), on_waited, job);
    }
    sse_buf_clear(&out);
}

void sse_redissend_queued(sse_redisnode_t *node)
{
    while (node->state == SSE_NODE_READY && node->queue && node->queue->token <= node->pongs) {
        sse_redisjob_t *job = node->queue;
        node->queue = job->next;
        if (!node->queue)
            node->queue_tail = &node->queue;
        node->queue_bytes -= job->args.n;
        send_job(node, job, false);
    }
}

void sse_redisnode_submit(sse_redisnode_t *node, sse_redisjob_t *job)
{
    if ((node->failed && node->state != SSE_NODE_CATCHING && node->state != SSE_NODE_READY) ||
        node->queue_bytes > QUEUE_BYTES) {
        sse_redisjob_answer_later(job, APR_EAGAIN);
        return;
    }
    job->token = node->subscribed;
    queue(node, job);
    sse_redissend_queued(node);
}

void sse_redisnode_submit_internal(sse_redisnode_t *node, sse_redisjob_t *job)
{
    job->internal = true;
    send_job(node, job, false);
}

/* ---- the end ---- */

void sse_redissend_fail(sse_redisnode_t *node, apr_status_t status)
{
    sse_redisjob_t *job = node->fenced, *next;
    node->fenced = NULL;
    node->fenced_tail = &node->fenced;
    for (; job; job = next) {
        next = job->next;
        job->status = status;
        freeReplyObject(job->reply);
        job->reply = NULL;
        sse_redisjob_finish(job);
    }
    job = node->queue;
    node->queue = NULL;
    node->queue_tail = &node->queue;
    node->queue_bytes = 0;
    for (; job; job = next) {
        next = job->next;
        job->status = status;
        sse_redisjob_finish(job);
    }
}

void sse_redisnode_take_queued(sse_redisnode_t *from, sse_redisrealm_t *realm, sse_redisnode_t *to)
{
    sse_redisjob_t *job = from->queue;
    from->queue = NULL;
    from->queue_tail = &from->queue;
    from->queue_bytes = 0;
    while (job) {
        sse_redisjob_t *next = job->next;
        if (job->realm == realm)
            sse_redisnode_submit(to, job);
        else
            queue(from, job);
        job = next;
    }
}
