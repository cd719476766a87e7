/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the Sentinels, one after the other, where the master is. Each attempt has a connection of
 * its own. */
#include "broker/redis_impl.h"
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MS 2000

struct sse_redissentinel_t {
    sse_redisnode_t *node;
    sse_redissentinel_fn cb;
    sse_redisconn_t *conn;
    size_t left; /* Sentinels not asked yet */
    char problem[256];
};

static void ask_next(sse_redissentinel_t *s);

static void finish(sse_redissentinel_t *s, const char *host, uint16_t port)
{
    sse_redisnode_t *node = s->node;
    sse_redissentinel_fn cb = s->cb;
    char problem[256];
    snprintf(problem, sizeof problem, "%s", s->problem);
    node->redis->asking = NULL;
    free(s);
    cb(node, host, port, problem);
}

static void drop_conn(sse_redissentinel_t *s)
{
    sse_redisconn_t *conn = s->conn;
    s->conn = NULL;
    if (conn)
        sse_redisconn_close(conn, sse_redis_closed, s->node->redis);
}

static void on_address(void *baton, redisReply *reply)
{
    sse_redissentinel_t *s = baton;
    if (!reply)
        return; /* on_lost goes on */
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING) {
        char host[256];
        long port = strtol(reply->element[1]->str, NULL, 10);
        snprintf(host, sizeof host, "%s", reply->element[0]->str);
        freeReplyObject(reply);
        drop_conn(s);
        finish(s, host, (uint16_t)port);
        return;
    }
    snprintf(s->problem, sizeof s->problem, "the Sentinels know no master \"%.100s\"",
             s->node->redis->url.master);
    freeReplyObject(reply);
    drop_conn(s);
    ask_next(s);
}

static void on_ready(void *owner)
{
    sse_redissentinel_t *s = owner;
    sse_buf_t out = {0};
    sse_redisconn_args(&out, 3);
    sse_redisconn_arg(&out, SSE_STR("SENTINEL"));
    sse_redisconn_arg(&out, SSE_STR("get-master-addr-by-name"));
    sse_redisconn_arg(&out, sse_str(s->node->redis->url.master));
    sse_redisconn_send(s->conn, sse_buf_slice(&out), on_address, s);
    sse_buf_clear(&out);
}

static void on_lost(void *owner, const char *why)
{
    sse_redissentinel_t *s = owner;
    if (!s->conn)
        return;
    snprintf(s->problem, sizeof s->problem, "no Sentinel answers: %.200s", why);
    drop_conn(s);
    ask_next(s);
}

static void ask_next(sse_redissentinel_t *s)
{
    static const sse_redisconn_events_t events = {.ready = on_ready, .lost = on_lost};
    sse_redis_t *redis = s->node->redis;
    const sse_brokerurl_t *url = &redis->url;
    if (!s->left) {
        finish(s, NULL, 0);
        return;
    }
    s->left--;
    const sse_brokerurl_host_t *host = &url->hosts[redis->next_sentinel % url->n_hosts];
    redis->next_sentinel++;
    sse_redisconn_conf_t conf;
    sse_redis_conn_conf(redis, s->node, &conf);
    conf.host = host->name;
    conf.port = host->port;
    conf.user = url->sentinel_user;
    conf.password = url->sentinel_password;
    conf.db = 0;
    conf.connect_ms = conf.reply_ms = ANSWER_MS;
    s->conn = sse_redisconn_open(&conf, &events, s);
    redis->open++;
}

sse_redissentinel_t *sse_redissentinel_ask(sse_redisnode_t *node, sse_redissentinel_fn cb)
{
    sse_redissentinel_t *s = sse_calloc(1, sizeof *s);
    s->node = node;
    s->cb = cb;
    s->left = node->redis->url.n_hosts;
    ask_next(s);
    return s;
}

void sse_redissentinel_cancel(sse_redissentinel_t *s)
{
    drop_conn(s);
    s->node->redis->asking = NULL;
    free(s);
}
