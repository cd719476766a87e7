/* SPDX-License-Identifier: Apache-2.0 */
/* Presence: this hub's share of each realm, told in batches and renewed before its lease runs out.
 * What was not heard of for a lease is told whole again. */
#include "broker/redis_impl.h"
#include <stdlib.h>
#include <time.h>

#define REDIS(b) ((sse_redis_t *)(b))
#define USERS_PER_CALL 1000
#define SAVE_MS 10

static void mark(sse_redisrealm_t *realm, sse_redisuser_t *user)
{
    if (user->dirty)
        return;
    user->dirty = true;
    user->dirty_next = realm->dirty;
    realm->dirty = user;
}

static void save_soon(sse_redis_t *redis);

void sse_redispresence_clear(sse_redisrealm_t *realm)
{
    sse_redisuser_t *user, *next;
    HASH_ITER (hh, realm->users, user, next) {
        HASH_DEL(realm->users, user);
        free(user);
    }
}

void sse_redispresence_user_set(sse_broker_t *b, sse_str_t realm_name, sse_str_t name,
                                uint32_t streams, bool online)
{
    sse_redis_t *redis = REDIS(b);
    if (redis->stopping)
        return;
    sse_redisrealm_t *realm = sse_redisrealm_get(redis, realm_name, true);
    sse_redisuser_t *user;
    HASH_FIND(hh, realm->users, name.p, name.n, user);
    if (!user) {
        user = sse_calloc(1, sizeof *user + name.n + 1);
        user->n = name.n;
        memcpy(user->name, name.p, name.n);
        HASH_ADD_KEYPTR(hh, realm->users, user->name, name.n, user);
    }
    user->online = online;
    user->streams = streams;
    mark(realm, user);
    save_soon(redis);
}

void sse_redispresence_streams_set(sse_broker_t *b, sse_str_t realm_name, uint64_t streams)
{
    sse_redis_t *redis = REDIS(b);
    if (redis->stopping)
        return;
    sse_redisrealm_t *realm = sse_redisrealm_get(redis, realm_name, true);
    realm->streams = streams;
    realm->streams_dirty = true;
    save_soon(redis);
}

/* ---- saving ---- */

/* All of the share, anew. */
static void mark_all(sse_redisrealm_t *realm)
{
    for (sse_redisuser_t *user = realm->users; user; user = user->hh.next)
        mark(realm, user);
    realm->streams_dirty = true;
}

static void on_saved(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_redisrealm_t *realm = job->realm;
    realm->saving = false;
    while (realm->leaving) {
        sse_redisuser_t *user = realm->leaving;
        realm->leaving = user->leaving_next;
        if (status == APR_SUCCESS && !user->online && !user->dirty) {
            HASH_DEL(realm->users, user);
            free(user);
        }
    }
    if (status != APR_SUCCESS) {
        realm->told_lost = true;
        return;
    }
    bool known = reply->elements > 3 && reply->element[3]->integer;
    if (!known && realm->leased)
        mark_all(realm);
    realm->leased = uv_now(realm->redis->base.env.loop);
    if (realm->dirty || realm->streams_dirty)
        save_soon(realm->redis);
}

static void save(sse_redisrealm_t *realm)
{
    size_t n = 0;
    sse_redisjob_t *job = sse_redisjob_create(realm->redis, sse_str(realm->name),
                                              SSE_SCRIPT_PRESENCE_SET, on_saved, NULL);
    if (realm->told_lost)
        mark_all(realm);
    realm->told_lost = false;
    sse_redisjob_number(job, (int64_t)realm->redis->url.lease * 1000);
    sse_redisjob_number(job, realm->streams_dirty ? (int64_t)realm->streams : -1);
    realm->streams_dirty = false;
    for (sse_redisuser_t *u = realm->dirty; u && n < USERS_PER_CALL; u = u->dirty_next)
        n++;
    sse_redisjob_number(job, (int64_t)n);
    for (; n; n--) {
        sse_redisuser_t *user = realm->dirty;
        realm->dirty = user->dirty_next;
        user->dirty = false;
        sse_redisjob_arg(job, (sse_str_t){user->name, user->n});
        sse_redisjob_number(job, user->online ? (int64_t)user->streams : -1);
        if (!user->online) {
            user->leaving_next = realm->leaving;
            realm->leaving = user;
        }
    }
    realm->saving = true;
    sse_redisjob_submit(job);
}

static void on_hubs(void *baton, redisReply *reply)
{
    sse_redis_t *redis = baton;
    redis->saving_hubs = false;
    if (reply)
        freeReplyObject(reply);
}

/* The hubs of all realms: a set by when their leases end. */
static void renew_hub(sse_redis_t *redis)
{
    sse_redisnode_t *node = redis->nodes[0];
    if (!node || node->state != SSE_NODE_READY || redis->saving_hubs ||
        redis->url.kind == SSE_BROKERURL_CLUSTER)
        return;
    sse_buf_t out = {0}, key = {0}, score = {0};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    sse_buf_printf(&key, "%shubs", redis->url.prefix);
    sse_buf_printf(&score, "%lld", (long long)now.tv_sec + redis->url.lease);
    sse_redisconn_args(&out, 4);
    sse_redisconn_arg(&out, SSE_STR("ZADD"));
    sse_redisconn_arg(&out, sse_buf_slice(&key));
    sse_redisconn_arg(&out, sse_buf_slice(&score));
    sse_redisconn_arg(&out, sse_str(redis->hub));
    redis->saving_hubs = true;
    sse_redisconn_send(node->commands, sse_buf_slice(&out), on_hubs, redis);
    sse_buf_clear(&out);
    sse_buf_clear(&key);
    sse_buf_clear(&score);
}

void sse_redispresence_save(sse_redis_t *redis, bool renew)
{
    uint64_t now = uv_now(redis->base.env.loop);
    if (redis->stopping)
        return;
    if (renew)
        renew_hub(redis);
    for (sse_redisrealm_t *realm = redis->realms; realm; realm = realm->hh.next) {
        if (realm->saving || realm->node->state != SSE_NODE_READY)
            continue;
        bool due = (realm->users || realm->streams || realm->channels) &&
                   now - realm->leased >= (uint64_t)redis->url.lease * 1000 / 3;
        if (realm->dirty || realm->streams_dirty || realm->told_lost || due)
            save(realm);
    }
}

static void on_save(uv_timer_t *timer)
{
    sse_redispresence_save(timer->data, false);
}

static void save_soon(sse_redis_t *redis)
{
    if (!uv_is_active((uv_handle_t *)&redis->save))
        uv_timer_start(&redis->save, on_save, SAVE_MS, 0);
}

static void on_left(sse_redisjob_t *job, apr_status_t status, redisReply *reply) {}

void sse_redispresence_leave(sse_redis_t *redis)
{
    for (sse_redisrealm_t *realm = redis->realms; realm; realm = realm->hh.next)
        if (realm->leased && realm->node->state == SSE_NODE_READY)
            sse_redisjob_submit(sse_redisjob_create(redis, sse_str(realm->name),
                                                    SSE_SCRIPT_PRESENCE_LEAVE, on_left, NULL));
    sse_redisnode_t *node = redis->nodes[0];
    if (!node || node->state != SSE_NODE_READY || redis->url.kind == SSE_BROKERURL_CLUSTER)
        return;
    sse_buf_t out = {0}, key = {0};
    sse_buf_printf(&key, "%shubs", redis->url.prefix);
    sse_redisconn_args(&out, 3);
    sse_redisconn_arg(&out, SSE_STR("ZREM"));
    sse_redisconn_arg(&out, sse_buf_slice(&key));
    sse_redisconn_arg(&out, sse_str(redis->hub));
    sse_redisconn_send(node->commands, sse_buf_slice(&out), NULL, NULL);
    sse_buf_clear(&out);
    sse_buf_clear(&key);
}

/* ---- asking ---- */

/* The answer has what was set before. */
static sse_redisjob_t *ask(sse_broker_t *b, sse_str_t realm, sse_redisscript_t script,
                           sse_redisanswer_t cb, void *baton)
{
    sse_redispresence_save(REDIS(b), false);
    return sse_redisanswer_job(b, realm, script, cb, baton);
}

#define ASK(script, member)                                                                        \
    ask(b, realm, SSE_SCRIPT_PRESENCE_##script, (sse_redisanswer_t){.member = cb}, baton)

void sse_redispresence_counts(sse_broker_t *b, sse_str_t realm, sse_presence_counts_fn cb,
                              void *baton)
{
    sse_buf_t key = {0};
    if (REDIS(b)->url.kind != SSE_BROKERURL_CLUSTER)
        sse_buf_printf(&key, "%shubs", REDIS(b)->url.prefix);
    sse_redisjob_t *job = ASK(COUNTS, counts);
    sse_redisjob_arg(job, sse_buf_slice(&key));
    sse_buf_clear(&key);
    sse_redisjob_submit(job);
}

void sse_redispresence_user(sse_broker_t *b, sse_str_t realm, sse_str_t user,
                            sse_presence_user_fn cb, void *baton)
{
    sse_redisjob_t *job = ASK(USER, user);
    sse_redisjob_arg(job, user);
    sse_redisjob_submit(job);
}

void sse_redispresence_page(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_str_t after,
                            size_t limit, sse_presence_page_fn cb, void *baton)
{
    sse_redisjob_t *job = ASK(PAGE, page);
    sse_redisjob_arg(job, group);
    sse_redisjob_arg(job, after);
    sse_redisjob_number(job, (int64_t)limit);
    sse_redisjob_submit(job);
}
