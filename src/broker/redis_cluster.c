/* SPDX-License-Identifier: Apache-2.0 */
/* A Cluster: which node has which of the 16384 slots. A realm's keys share a hash tag, so a realm
 * lives on one node. The map is asked for at the start, when a node is lost, and corrected by
 * MOVED, which a sharded subscription brings as well as a script. */
#include "broker/redis_impl.h"

#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

#define SLOTS 16384
#define ANSWER_MS 2000
#define AGAIN_MS 300
#define ARRIVE_MS                                                                                  \
    3000 /* a slot with many keys takes longer: its callers are told to come again                 \
          */
#define ARRIVE_STEP_MS 50

typedef struct sse_rediscluster_t {
    sse_redis_t *redis;
    sse_redisnode_t *slots[SLOTS];
    sse_redisconn_t *conn; /* asks for the map */
    uv_timer_t again, arrived;
    unsigned timers;         /* not closed yet */
    sse_redisjob_t *waiting; /* for slots under way */
    size_t next;             /* whom to ask: seeds, then nodes */
} cluster_t;

static void ask(cluster_t *cluster);

/* CRC16-CCITT (XMODEM), as Redis Cluster has it. */
uint16_t sse_rediscluster_slot(sse_str_t key)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < key.n; i++) {
        crc ^= (uint16_t)((unsigned char)key.p[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc % SLOTS;
}

static sse_redisnode_t *node_at(sse_redis_t *redis, const char *host, uint16_t port)
{
    for (size_t i = 0; i < redis->n_nodes; i++)
        if (redis->nodes[i]->port == port && redis->nodes[i]->host &&
            !strcmp(redis->nodes[i]->host, host))
            return redis->nodes[i];
    if (redis->n_nodes == SSE_ARRAY_LEN(redis->nodes))
        return NULL;
    return sse_redisnode_create(redis, host, port);
}

sse_redisnode_t *sse_rediscluster_place(sse_redis_t *redis, uint16_t slot)
{
    return redis->cluster ? redis->cluster->slots[slot] : NULL;
}

/* The realm goes on at another node: subscribed there, and what was missed in between read by a
 * recovery of that node. */
static void move_realm(sse_redisrealm_t *realm, sse_redisnode_t *node)
{
    sse_redisnode_t *old = realm->node;
    if (old == node)
        return;
    if (!old->sharded) /* a shard drops them by itself */
        sse_redisnode_unsubscribe_realm(old, realm);
    realm->node = node;
    realm->moved = true;
    sse_redisnode_subscribe_realm(node, realm);
    sse_redisnode_take_queued(old, realm, node);
    sse_redisnode_again(node);
}

static void set_slots(cluster_t *cluster, unsigned first, unsigned last, sse_redisnode_t *node)
{
    for (unsigned slot = first; slot <= last && slot < SLOTS; slot++)
        cluster->slots[slot] = node;
}

static void move_realms(cluster_t *cluster)
{
    for (sse_redisrealm_t *realm = cluster->redis->realms; realm; realm = realm->hh.next) {
        sse_redisnode_t *node = cluster->slots[realm->slot];
        if (node)
            move_realm(realm, node);
    }
}

bool sse_rediscluster_moved(sse_redisnode_t *node, const char *what)
{
    unsigned slot, port;
    char address[150];
    cluster_t *cluster = node->redis->cluster;
    if (!cluster || sscanf(what, "MOVED %u %149s", &slot, address) != 2 || slot >= SLOTS)
        return false;
    char *colon = strrchr(address, ':');
    if (!colon || sscanf(colon + 1, "%u", &port) != 1 || port > 65535)
        return false;
    *colon = '\0';
    sse_redisnode_t *to = node_at(node->redis, *address ? address : node->host, (uint16_t)port);
    if (to && cluster->slots[slot] != to) {
        cluster->slots[slot] = to;
        move_realms(cluster);
    }
    return to != NULL;
}

/* ---- slots under way ---- */

/* Scripts are not sent after a part of their keys: what they would write there stands in the way of
 * the other part. */
static void on_arrived(uv_timer_t *timer)
{
    cluster_t *cluster = timer->data;
    sse_redisjob_t *job = cluster->waiting;
    cluster->waiting = NULL;
    while (job) {
        sse_redisjob_t *next = job->next;
        sse_redisnode_submit(job->realm->node, job);
        job = next;
    }
}

bool sse_rediscluster_wait(sse_redisjob_t *job)
{
    cluster_t *cluster = job->redis->cluster;
    uint64_t now = uv_now(job->redis->base.env.loop);
    if (!cluster || job->redis->stopping || job->internal)
        return false;
    if (!job->asked)
        job->asked = now;
    if (now - job->asked > ARRIVE_MS)
        return false;
    sse_redisjob_t **at = &cluster->waiting;
    while (*at)
        at = &(*at)->next;
    job->next = NULL;
    *at = job;
    job->tries = 0;
    if (!uv_is_active((uv_handle_t *)&cluster->arrived))
        uv_timer_start(&cluster->arrived, on_arrived, ARRIVE_STEP_MS, 0);
    return true;
}

/* ---- the map ---- */

static void drop_conn(cluster_t *cluster)
{
    sse_redisconn_t *conn = cluster->conn;
    cluster->conn = NULL;
    if (conn)
        sse_redisconn_close(conn, sse_redis_closed, cluster->redis);
}

static void on_again(uv_timer_t *timer)
{
    ask(timer->data);
}

static void ask_again(cluster_t *cluster)
{
    drop_conn(cluster);
    uv_timer_start(&cluster->again, on_again, AGAIN_MS, 0);
}

/* {{first, last, {host, port, ...}, replicas...}, ...} */
static bool take_map(cluster_t *cluster, const redisReply *reply, const char *asked)
{
    if (reply->type != REDIS_REPLY_ARRAY || !reply->elements)
        return false;
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *part = reply->element[i];
        if (part->type != REDIS_REPLY_ARRAY || part->elements < 3 ||
            part->element[2]->type != REDIS_REPLY_ARRAY || part->element[2]->elements < 2)
            return false;
        const redisReply *host = part->element[2]->element[0];
        const char *name = host->type == REDIS_REPLY_STRING && host->len ? host->str : asked;
        sse_redisnode_t *node =
            node_at(cluster->redis, name, (uint16_t)part->element[2]->element[1]->integer);
        if (!node)
            return false;
        set_slots(cluster, (unsigned)part->element[0]->integer, (unsigned)part->element[1]->integer,
                  node);
    }
    return true;
}

static void on_map(void *baton, redisReply *reply)
{
    cluster_t *cluster = baton;
    if (!reply)
        return; /* on_lost goes on */
    const sse_brokerurl_t *url = &cluster->redis->url;
    size_t at = (cluster->next - 1) % (url->n_hosts + cluster->redis->n_nodes);
    const char *asked = at < url->n_hosts ? url->hosts[at].name : url->hosts[0].name;
    bool good = take_map(cluster, reply, asked);
    freeReplyObject(reply);
    if (!good) {
        ask_again(cluster);
        return;
    }
    drop_conn(cluster);
    cluster->redis->nodes[0]->ever = true; /* it has held what waited for the map */
    move_realms(cluster);
    /* A node that serves no slot any more and cannot be reached is not waited for, but tried. */
    for (size_t i = 0; i < cluster->redis->n_nodes; i++)
        if (cluster->redis->nodes[i]->state == SSE_NODE_DOWN) {
            bool used = false;
            for (size_t slot = 0; slot < SLOTS && !used; slot++)
                used = cluster->slots[slot] == cluster->redis->nodes[i];
            if (used) { /* the others have not agreed on a successor yet */
                uv_timer_start(&cluster->again, on_again, AGAIN_MS, 0);
                return;
            }
        }
}

static void on_ready(void *owner)
{
    cluster_t *cluster = owner;
    sse_redisconn_send(cluster->conn, SSE_STR("*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"), on_map,
                       cluster);
}

static void on_lost(void *owner, const char *why)
{
    cluster_t *cluster = owner;
    if (!cluster->conn)
        return;
    if (cluster->redis->n_nodes == 1) /* no map yet: what waits for it waits in vain */
        sse_redisnode_lose(cluster->redis->nodes[0], why);
    ask_again(cluster);
}

static void ask(cluster_t *cluster)
{
    static const sse_redisconn_events_t events = {.ready = on_ready, .lost = on_lost};
    sse_redis_t *redis = cluster->redis;
    const sse_brokerurl_t *url = &redis->url;
    if (cluster->conn || redis->stopping)
        return;
    sse_redisconn_conf_t conf;
    size_t at = cluster->next++ % (url->n_hosts + redis->n_nodes);
    sse_redisnode_t seed = {.redis = redis};
    if (at > url->n_hosts)
        seed.host = redis->nodes[at - url->n_hosts]->host,
        seed.port = redis->nodes[at - url->n_hosts]->port;
    else
        seed.host = url->hosts[at % url->n_hosts].name,
        seed.port = url->hosts[at % url->n_hosts].port;
    sse_redis_conn_conf(redis, &seed, &conf);
    conf.connect_ms = conf.reply_ms = ANSWER_MS;
    cluster->conn = sse_redisconn_open(&conf, &events, cluster);
    redis->open++;
}

void sse_rediscluster_node_lost(sse_redisnode_t *node)
{
    cluster_t *cluster = node->redis->cluster;
    if (cluster && !cluster->conn && !uv_is_active((uv_handle_t *)&cluster->again))
        uv_timer_start(&cluster->again, on_again, AGAIN_MS, 0);
}

static void on_closed(uv_handle_t *handle)
{
    cluster_t *cluster = handle->data;
    sse_redis_t *redis = cluster->redis;
    if (--cluster->timers == 0) {
        redis->cluster = NULL;
        free(cluster);
    }
    sse_redis_closed(redis);
}

void sse_rediscluster_begin(sse_redis_t *redis)
{
    cluster_t *cluster = sse_calloc(1, sizeof *cluster);
    cluster->redis = redis;
    redis->cluster = cluster;
    uv_timer_init(redis->base.env.loop, &cluster->again);
    uv_timer_init(redis->base.env.loop, &cluster->arrived);
    cluster->again.data = cluster->arrived.data = cluster;
    cluster->timers = 2;
    redis->open += 2;
    ask(cluster);
}

void sse_rediscluster_close(sse_redis_t *redis)
{
    cluster_t *cluster = redis->cluster;
    if (!cluster)
        return;
    drop_conn(cluster);
    for (sse_redisjob_t *job = cluster->waiting, *next; job; job = next) {
        next = job->next;
        job->status = APR_EOF;
        sse_redisjob_finish(job);
    }
    cluster->waiting = NULL;
    uv_close((uv_handle_t *)&cluster->again, on_closed);
    uv_close((uv_handle_t *)&cluster->arrived, on_closed);
}
