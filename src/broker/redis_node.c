/* SPDX-License-Identifier: Apache-2.0 */
/* A server: one connection for scripts, one for what is pushed. Both stand or fall together. */
#include "broker/redis_impl.h"

#include "core/crypto.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_MS 5000
#define REPLY_MS 5000
#define RETRY_MS 100
#define RETRY_MAX_MS 5000
#define SHARDED_SINCE 7 /* Redis' version; Valkey names the one that it is like */

static void begin(sse_redisnode_t *node);

#define WIDE SSE_STR("*") /* the channel of messages to many of the realm */

/* ---- subscriptions ---- */

static void say(sse_redisnode_t *node, const char *verb, const sse_buf_t *channel)
{
    sse_buf_t out = {0};
    sse_redisconn_args(&out, 2);
    sse_redisconn_arg(&out, sse_str(verb));
    sse_redisconn_arg(&out, sse_buf_slice(channel));
    sse_redisconn_send(node->pushes, sse_buf_slice(&out), NULL, NULL);
    sse_buf_clear(&out);
    node->subscribed = sse_redissend_ping(node);
}

void sse_redisnode_subscribe(sse_redisnode_t *node, sse_redisrealm_t *realm, sse_str_t channel,
                             bool on)
{
    static const char *const verbs[2][2] = {{"UNSUBSCRIBE", "SUBSCRIBE"},
                                            {"SUNSUBSCRIBE", "SSUBSCRIBE"}};
    if (node->state != SSE_NODE_CATCHING && node->state != SSE_NODE_READY)
        return;
    sse_buf_t name = {0};
    sse_buf_printf(&name, "%sp:", realm->prefix);
    sse_buf_str(&name, channel);
    say(node, verbs[node->sharded][on], &name);
    sse_buf_clear(&name);
    if (node->sharded && !on && sse_str_eq(channel, WIDE))
        realm->leaving_wide++;
}

void sse_redisnode_subscribe_realm(sse_redisnode_t *node, sse_redisrealm_t *realm)
{
    realm->stray = false;
    realm->leaving_wide = 0;
    sse_redisrealm_doubt(realm);
    for (sse_redischannel_t *c = realm->channels; c; c = c->hh.next) {
        c->token = 0; /* what is asked in the new term is asked after all of these */
        sse_redisnode_subscribe(node, realm, (sse_str_t){c->key, c->n}, true);
    }
    if (realm->channels)
        sse_redisnode_subscribe(node, realm, WIDE, true);
}

void sse_redisnode_unsubscribe_realm(sse_redisnode_t *node, sse_redisrealm_t *realm)
{
    for (sse_redischannel_t *c = realm->channels; c; c = c->hh.next)
        sse_redisnode_subscribe(node, realm, (sse_str_t){c->key, c->n}, false);
    if (realm->channels)
        sse_redisnode_subscribe(node, realm, WIDE, false);
}

/* A shard that gives a slot away drops the slot's subscriptions and says so, unasked. The
 * realm-wide channel stands for all of them: subscribed again it is either taken, or answered by
 * where the slot is now. */
static void on_sharded(sse_redisnode_t *node, sse_redisrealm_t *realm, bool on)
{
    if (realm->node != node)
        return;
    if (!on && realm->leaving_wide) {
        realm->leaving_wide--;
    } else if (!realm->channels) {
        return;
    } else if (!on && !realm->stray) {
        realm->stray = true;
        sse_redisrealm_doubt(realm);
        sse_redisnode_subscribe(node, realm, WIDE, true);
    } else if (on && realm->stray) {
        sse_redisnode_subscribe_realm(node, realm);
        sse_redisnode_again(node);
    }
}

/* ---- what is pushed ---- */

static void hold(sse_redisnode_t *node, sse_redisrealm_t *realm, sse_str_t payload)
{
    sse_redisheld_t *held = sse_malloc(sizeof *held + payload.n);
    held->next = NULL;
    held->realm = realm;
    held->n = payload.n;
    memcpy(held->payload, payload.p, payload.n);
    *node->held_tail = held;
    node->held_tail = &held->next;
}

static void release_held(sse_redisnode_t *node, bool give)
{
    while (node->held) {
        sse_redisheld_t *held = node->held;
        node->held = held->next;
        if (give)
            sse_redisrealm_take(held->realm, (sse_str_t){held->payload, held->n});
        free(held);
    }
    node->held_tail = &node->held;
}

static sse_str_t str_of(const redisReply *reply)
{
    return (sse_str_t){reply->str, reply->len};
}

static void on_flushing(void *owner)
{
    sse_redisnode_t *node = owner;
    if (!node->ping_wanted)
        return;
    node->ping_wanted = false;
    node->pings_sent++;
    sse_redisconn_send(node->pushes, SSE_STR("*1\r\n$4\r\nPING\r\n"), NULL, NULL);
}

static void on_pong(sse_redisnode_t *node)
{
    sse_redissend_pong(node);
    if (node->state == SSE_NODE_CATCHING && node->pongs >= node->subscribed && !node->recovery)
        sse_redisrecovery_begin(node);
    sse_redissend_queued(node);
}

static void on_push(void *owner, redisReply *reply)
{
    sse_redisnode_t *node = owner;
    if (reply->type == REDIS_REPLY_STATUS) { /* +PONG outside of a subscription */
        on_pong(node);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        if (!sse_rediscluster_moved(node, reply->str))
            sse_redisnode_lose(node, reply->str);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || !reply->elements ||
        reply->element[0]->type != REDIS_REPLY_STRING)
        return;
    sse_str_t kind = str_of(reply->element[0]), rest;
    if ((sse_str_eq(kind, SSE_STR("message")) || sse_str_eq(kind, SSE_STR("smessage"))) &&
        reply->elements == 3) {
        sse_redisrealm_t *realm =
            sse_redisrealm_of(node->redis, str_of(reply->element[1]), false, &rest);
        if (realm && realm->node == node && node->state == SSE_NODE_READY)
            sse_redisrealm_take(realm, str_of(reply->element[2]));
        else if (realm && realm->node == node)
            hold(node, realm, str_of(reply->element[2]));
    } else if (sse_str_eq(kind, SSE_STR("pmessage")) && reply->elements == 4) {
        sse_redisrealm_t *realm =
            sse_redisrealm_of(node->redis, str_of(reply->element[2]), true, &rest);
        if (realm && realm->node == node)
            sse_redisrealm_control(realm, str_of(reply->element[3]));
    } else if (sse_str_eq(kind, SSE_STR("pong"))) {
        on_pong(node);
    } else if (sse_str_eq(kind, SSE_STR("ssubscribe")) ||
               sse_str_eq(kind, SSE_STR("sunsubscribe"))) {
        sse_redisrealm_t *realm =
            reply->elements == 3 && reply->element[1]->type == REDIS_REPLY_STRING
                ? sse_redisrealm_of(node->redis, str_of(reply->element[1]), false, &rest)
                : NULL;
        if (realm && sse_str_eq(rest, SSE_STR("p:*")))
            on_sharded(node, realm, kind.n == strlen("ssubscribe"));
    }
}

/* ---- life ---- */

static void close_conns(sse_redisnode_t *node)
{
    sse_redisconn_t *conns[] = {node->commands, node->pushes};
    node->commands = node->pushes = NULL;
    node->conns_ready = 0;
    node->pings_sent = node->pongs = node->subscribed = 0;
    node->ping_wanted = node->recover_again = false;
    for (size_t i = 0; i < 2; i++)
        if (conns[i])
            sse_redisconn_close(conns[i], sse_redis_closed, node->redis);
}

static void on_retry(uv_timer_t *timer)
{
    begin(timer->data);
}

/* Longer each time, and never all hubs at once. */
static uint64_t pause_ms(const sse_redisnode_t *node)
{
    uint32_t random;
    uint64_t ms = RETRY_MS << (node->attempts < 6 ? node->attempts : 6);
    sse_crypto_random(&random, sizeof random);
    if (ms > RETRY_MAX_MS)
        ms = RETRY_MAX_MS;
    return ms / 2 + random % (ms / 2 + 1);
}

void sse_redisnode_lose(sse_redisnode_t *node, const char *why)
{
    if (node->state == SSE_NODE_DOWN)
        return;
    char text[300];
    snprintf(text, sizeof text, "%s", why);
    node->state = SSE_NODE_DOWN;
    node->failed = true;
    sse_redisrecovery_drop(node);
    close_conns(node);
    release_held(node, false);
    for (sse_redisrealm_t *realm = node->redis->realms; realm; realm = realm->hh.next)
        if (realm->node == node)
            sse_redisrealm_doubt(realm);
    sse_redissend_fail(node, node->redis->stopping ? APR_EOF : APR_EAGAIN);
    if (node->redis->stopping)
        return;
    sse_redis_state(node->redis, text);
    uv_timer_start(&node->retry, on_retry, pause_ms(node), 0);
    node->attempts++;
    sse_rediscluster_node_lost(node);
}

static void on_lost(void *owner, const char *why)
{
    sse_redisnode_lose(owner, why);
}

static void psubscribe(sse_redisnode_t *node)
{
    sse_buf_t pattern = {0};
    sse_buf_printf(&pattern, "%s{*}:ctl", node->redis->url.prefix);
    say(node, "PSUBSCRIBE", &pattern);
    sse_buf_clear(&pattern);
}

static void subscribe_all(sse_redisnode_t *node)
{
    psubscribe(node);
    for (sse_redisrealm_t *realm = node->redis->realms; realm; realm = realm->hh.next)
        if (realm->node == node)
            sse_redisnode_subscribe_realm(node, realm);
}

static void on_loaded(void *baton, redisReply *reply)
{
    if (reply)
        freeReplyObject(reply);
}

static void load_scripts(sse_redisnode_t *node)
{
    for (size_t i = 0; i < SSE_SCRIPTS; i++) {
        sse_buf_t out = {0};
        sse_redisconn_args(&out, 3);
        sse_redisconn_arg(&out, SSE_STR("SCRIPT"));
        sse_redisconn_arg(&out, SSE_STR("LOAD"));
        sse_redisconn_arg(&out, sse_redisscript_source((sse_redisscript_t)i));
        sse_redisconn_send(node->commands, sse_buf_slice(&out), on_loaded, NULL);
        sse_buf_clear(&out);
    }
}

static sse_str_t info_line(sse_str_t info, const char *name)
{
    char *found = info.n ? memmem(info.p, info.n, name, strlen(name)) : NULL;
    if (!found)
        return SSE_STR_NONE;
    found += strlen(name);
    size_t left = info.n - (size_t)(found - info.p), n = 0;
    while (n < left && found[n] != '\r' && found[n] != '\n')
        n++;
    return (sse_str_t){found, n};
}

/* Is it the same process as last time, and does it take writes? */
static void on_info(void *baton, redisReply *reply)
{
    sse_redisnode_t *node = baton;
    if (!reply || !node->commands) {
        if (reply)
            freeReplyObject(reply);
        return;
    }
    sse_str_t run = SSE_STR_NONE, role = SSE_STR_NONE, version = SSE_STR_NONE;
    if (reply->type == REDIS_REPLY_STRING) {
        run = info_line(str_of(reply), "run_id:");
        role = info_line(str_of(reply), "\nrole:");
        version = info_line(str_of(reply), "redis_version:");
    }
    node->sharded = node->redis->url.kind == SSE_BROKERURL_CLUSTER && version.n &&
                    atoi(version.p) >= SHARDED_SINCE;
    node->same_life = run.n && sse_str_eq(run, sse_str(node->run_id));
    snprintf(node->run_id, sizeof node->run_id, "%.*s", (int)run.n, run.p ? run.p : "");
    bool replica = sse_str_eq(role, SSE_STR("slave"));
    freeReplyObject(reply);
    if (replica) {
        sse_redisnode_lose(node, "the server is a replica that takes no writes");
        return;
    }
    node->state = SSE_NODE_CATCHING;
    load_scripts(node);
    subscribe_all(node);
}

static void on_ready(void *owner)
{
    sse_redisnode_t *node = owner;
    if (++node->conns_ready < 2)
        return;
    sse_redisconn_send(node->commands, SSE_STR("*1\r\n$4\r\nINFO\r\n"), on_info, node);
}

static void open_conns(sse_redisnode_t *node)
{
    static const sse_redisconn_events_t events = {.ready = on_ready, .lost = on_lost},
                                        push_events = {.ready = on_ready,
                                                       .push = on_push,
                                                       .flushing = on_flushing,
                                                       .lost = on_lost};
    sse_redisconn_conf_t conf;
    sse_redis_conn_conf(node->redis, node, &conf);
    conf.connect_ms = CONNECT_MS;
    conf.reply_ms = REPLY_MS;
    node->commands = sse_redisconn_open(&conf, &events, node);
    conf.pushed = true;
    node->pushes = sse_redisconn_open(&conf, &push_events, node);
    node->redis->open += 2;
}

static void on_master(sse_redisnode_t *node, const char *host, uint16_t port, const char *problem)
{
    if (!host) {
        sse_redisnode_lose(node, problem);
        return;
    }
    free(node->host);
    node->host = sse_strndup(host, strlen(host));
    node->port = port;
    open_conns(node);
}

static void begin(sse_redisnode_t *node)
{
    node->state = SSE_NODE_CONNECTING;
    if (node->redis->url.kind == SSE_BROKERURL_CLUSTER && !node->host)
        return; /* holds what waits for the map */
    if (node->redis->url.kind == SSE_BROKERURL_SENTINEL)
        node->redis->asking = sse_redissentinel_ask(node, on_master);
    else
        open_conns(node);
}

void sse_redisnode_again(sse_redisnode_t *node)
{
    if (node->state == SSE_NODE_READY)
        node->state = SSE_NODE_CATCHING;
    else if (node->state != SSE_NODE_CATCHING)
        return;
    if (node->recovery)
        node->recover_again = true;
    else if (node->pongs >= node->subscribed)
        sse_redisrecovery_begin(node);
}

void sse_redisnode_ready(sse_redisnode_t *node)
{
    if (node->recover_again) {
        node->recover_again = false;
        sse_redisrecovery_begin(node);
        return;
    }
    node->state = SSE_NODE_READY;
    node->ever = true;
    node->failed = false;
    node->attempts = 0;
    release_held(node, true);
    sse_redis_state(node->redis, NULL);
    sse_redispresence_save(node->redis, true);
    sse_redissend_queued(node);
}

sse_redisnode_t *sse_redisnode_create(sse_redis_t *redis, const char *host, uint16_t port)
{
    sse_redisnode_t *node = sse_calloc(1, sizeof *node);
    node->redis = redis;
    node->host = host ? sse_strndup(host, strlen(host)) : NULL;
    node->port = port;
    node->queue_tail = &node->queue;
    node->fenced_tail = &node->fenced;
    node->held_tail = &node->held;
    redis->nodes[redis->n_nodes++] = node;
    uv_timer_init(redis->base.env.loop, &node->retry);
    node->retry.data = node;
    redis->open++;
    begin(node);
    return node;
}

static void on_node_closed(uv_handle_t *handle)
{
    sse_redisnode_t *node = handle->data;
    sse_redis_t *redis = node->redis;
    free(node->host);
    free(node);
    sse_redis_closed(redis);
}

void sse_redisnode_close(sse_redisnode_t *node)
{
    node->state = SSE_NODE_DOWN;
    sse_redisrecovery_drop(node);
    close_conns(node);
    release_held(node, false);
    sse_redissend_fail(node, APR_EOF);
    uv_close((uv_handle_t *)&node->retry, on_node_closed);
}
