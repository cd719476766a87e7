/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis driver's object: made and stopped here. What Redis holds is described in
 * lua/common.lua. */
#include "broker/redis_impl.h"

#include "core/crypto.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

/* What is under way when the hub stops may still be carried out within this time. */
#define LEAVE_MS 2000

void sse_redis_conn_conf(const sse_redis_t *redis, const sse_redisnode_t *node,
                         sse_redisconn_conf_t *out)
{
    const sse_brokerurl_t *url = &redis->url;
    *out = (sse_redisconn_conf_t){.loop = redis->base.env.loop,
                                  .path = url->path,
                                  .host = node->host,
                                  .port = node->port,
                                  .tls = url->tls,
                                  .verify = url->verify,
                                  .ca = url->ca,
                                  .cert = url->cert,
                                  .key = url->key,
                                  .user = url->user,
                                  .password = url->password,
                                  .db = url->db};
}

/* ---- state ---- */

void sse_redis_state(sse_redis_t *redis, const char *detail)
{
    bool ready = false, waits = false;
    char text[200] = "";
    if (redis->stopping)
        return;
    for (size_t i = 0; i < redis->n_nodes; i++) {
        const sse_redisnode_t *node = redis->nodes[i];
        ready = ready || node->state == SSE_NODE_READY;
        waits = waits || (!node->failed && !node->ever);
    }
    sse_broker_state_t state = ready   ? SSE_BROKER_CONNECTED
                               : waits ? SSE_BROKER_STARTING
                                       : SSE_BROKER_LOST;
    if (detail)
        snprintf(text, sizeof text, "%s", detail);
    if (state == SSE_BROKER_STARTING)
        return;
    redis->state = state;
    redis->base.env.up->state(redis->base.env.hub, state, text);
}

/* ---- the end ---- */

void sse_redis_closed(void *baton)
{
    sse_redis_t *redis = baton;
    if (--redis->open)
        return;
    sse_done_fn done = redis->stopped;
    void *done_baton = redis->stopped_baton;
    sse_redisrealm_free_all(redis);
    sse_brokerurl_clear(&redis->url);
    free(redis);
    if (done)
        done(done_baton, APR_SUCCESS);
}

static void on_closed(uv_handle_t *handle)
{
    sse_redis_closed(handle->data);
}

static bool idle(const sse_redis_t *redis)
{
    for (size_t i = 0; i < redis->n_nodes; i++)
        if (!sse_redisnode_idle(redis->nodes[i]))
            return false;
    return !redis->waiting;
}

static void on_leave(uv_timer_t *timer)
{
    sse_redis_t *redis = timer->data;
    sse_redisjob_answer_waiting(redis);
    bool late = uv_now(redis->base.env.loop) >= redis->leave_by;
    if (!late && !idle(redis))
        return;
    if (redis->asking)
        sse_redissentinel_cancel(redis->asking);
    sse_rediscluster_close(redis);
    size_t n = redis->n_nodes;
    redis->n_nodes = 0;
    for (size_t i = 0; i < n; i++)
        sse_redisnode_close(redis->nodes[i]);
    sse_redisjob_answer_waiting(redis); /* no call of the contract is under way here */
    uv_close((uv_handle_t *)&redis->second, on_closed);
    uv_close((uv_handle_t *)&redis->save, on_closed);
    uv_close((uv_handle_t *)&redis->leave, on_closed);
    uv_close((uv_handle_t *)&redis->defer, on_closed);
}

void sse_redis_stop(sse_broker_t *b, sse_done_fn done, void *baton)
{
    sse_redis_t *redis = (sse_redis_t *)b;
    if (redis->stopping)
        return;
    sse_redispresence_leave(redis);
    redis->stopping = true;
    redis->stopped = done;
    redis->stopped_baton = baton;
    redis->leave_by = uv_now(redis->base.env.loop) + LEAVE_MS;
    uv_timer_stop(&redis->second);
    uv_timer_stop(&redis->save);
    bool ready = false;
    for (size_t i = 0; i < redis->n_nodes; i++)
        ready = ready || redis->nodes[i]->state == SSE_NODE_READY;
    if (!ready)
        redis->leave_by = 0;
    uv_timer_start(&redis->leave, on_leave, 1, 5);
}

/* ---- the beginning ---- */

static void on_second(uv_timer_t *timer)
{
    sse_redispresence_save(timer->data, true);
}

apr_status_t sse_redis_create(const sse_broker_env_t *env, const char *url,
                              sse_broker_t **out_broker, char *problem)
{
    sse_brokerurl_t parsed;
    unsigned char id[8];
    apr_status_t status = sse_brokerurl_parse(sse_str(url), &parsed, problem);
    if (status != APR_SUCCESS)
        return status;
    sse_redis_t *redis = sse_calloc(1, sizeof *redis);
    redis->base.driver = &sse_redis_driver;
    redis->base.env = *env;
    redis->url = parsed;
    redis->waiting_tail = &redis->waiting;
    sse_crypto_random(id, sizeof id);
    sse_crypto_hex(id, sizeof id, redis->hub);
    uv_timer_t *timers[] = {&redis->second, &redis->defer, &redis->leave, &redis->save};
    for (size_t i = 0; i < SSE_ARRAY_LEN(timers); i++) {
        uv_timer_init(env->loop, timers[i]);
        timers[i]->data = redis;
        redis->open++;
    }
    uv_timer_start(&redis->second, on_second, 1000, 1000);
    if (redis->url.kind == SSE_BROKERURL_SERVER)
        sse_redisnode_create(redis, redis->url.hosts[0].name, redis->url.hosts[0].port);
    else
        sse_redisnode_create(redis, NULL, 0);
    if (redis->url.kind == SSE_BROKERURL_CLUSTER)
        sse_rediscluster_begin(redis);
    *out_broker = &redis->base;
    return APR_SUCCESS;
}
