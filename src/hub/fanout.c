/* SPDX-License-Identifier: Apache-2.0 */
/* See fanout.h. */
#include "hub/fanout.h"

#include "core/json.h"
#include "core/log.h"
#include "hub/adminsock.h"
#include "hub/hub.h"
#include <stdlib.h>

struct sse_gather_t {
    uint32_t waiting, streams;
    sse_ended_fn cb;
    void *baton;
};

/* ---- messages ---- */

/* A message to users alone concerns only their reactors. */
static uint64_t concerned(sse_hub_t *hub, const sse_message_t *m)
{
    uint64_t all = hub->n_reactors == 64 ? UINT64_MAX : (1ull << hub->n_reactors) - 1;
    uint64_t mask = 0;
    for (size_t i = 0; i < m->n_targets && mask != all; i++) {
        if (m->targets[i].kind != SSE_CHANNEL_USER)
            return all;
        mask |=
            1ull << sse_hub_shard(hub, m->realm, (sse_str_t){m->targets[i].name, m->targets[i].n});
    }
    return mask;
}

static void on_message(void *ctx, sse_message_t *m)
{
    sse_hub_t *hub = ctx;
    if (hub->state != SSE_HUB_RUNNING)
        return;
    sse_admission_message(hub, m->realm);
    uint64_t mask = concerned(hub, m);
    for (uint32_t i = 0; i < hub->n_reactors; i++)
        if (mask >> i & 1)
            sse_reactor_message_post(hub->reactors[i], m);
}

static void on_changed(void *ctx, sse_record_t *record, sse_record_t *const *groups)
{
    sse_hub_t *hub = ctx;
    if (hub->state != SSE_HUB_RUNNING)
        return;
    sse_admission_changed(hub, record, groups);
    sse_str_t realm = sse_str(record->realm), name = sse_str(record->name);
    if (record->kind == SSE_CHANNEL_USER) {
        sse_reactor_record_post(sse_hub_reactor(hub, realm, name), record, groups);
        return;
    }
    for (uint32_t i = 0; i < hub->n_reactors; i++)
        sse_reactor_record_post(hub->reactors[i], record, NULL);
}

static void on_reset(void *ctx, const char *realm, sse_pos_t pos)
{
    sse_hub_t *hub = ctx;
    sse_str_t which = realm ? sse_str(realm) : SSE_STR("");
    sse_admission_reset(hub, which, pos);
    for (uint32_t i = 0; i < hub->n_reactors && hub->state == SSE_HUB_RUNNING; i++)
        sse_reactor_reset_post(hub->reactors[i], which, pos);
}

static void on_disconnect(void *ctx, const char *realm, char kind, sse_str_t name, int reason,
                          uint64_t revoked_at)
{
    sse_fanout_end(ctx, kind, sse_str(realm), name, (sse_end_reason_t)reason, NULL, NULL);
}

static void on_state(void *ctx, sse_broker_state_t state, const char *detail)
{
    sse_hub_t *hub = ctx;
    snprintf(hub->broker_detail, sizeof hub->broker_detail, "%s", detail ? detail : "");
    if (state == hub->broker_state)
        return;
    if (state == SSE_BROKER_LOST)
        sse_log(SSE_LOG_WARNING, "SSE0202: the broker is away: %s", hub->broker_detail);
    else if (state == SSE_BROKER_CONNECTED && hub->broker_state == SSE_BROKER_LOST)
        sse_log(SSE_LOG_NOTICE, "the broker is back");
    hub->broker_state = state;
    if (state != SSE_BROKER_STARTING)
        sse_hub_open(hub);
}

static void on_presence(void *ctx, const char *realm, sse_str_t user, bool online)
{
    sse_fanout_presence(ctx, sse_str(realm), user, online);
}

const sse_broker_upcalls_t sse_fanout_upcalls = {
    .message = on_message,
    .changed = on_changed,
    .reset = on_reset,
    .disconnect = on_disconnect,
    .state = on_state,
    .presence = on_presence,
};

/* ---- ends ---- */

void sse_fanout_ended(sse_gather_t *g, uint32_t streams)
{
    g->streams += streams;
    if (--g->waiting)
        return;
    g->cb(g->baton, g->streams);
    free(g);
}

void sse_fanout_end(sse_hub_t *hub, char kind, sse_str_t realm, sse_str_t name,
                    sse_end_reason_t reason, sse_ended_fn cb, void *baton)
{
    if (hub->state != SSE_HUB_RUNNING) {
        if (cb)
            cb(baton, 0);
        return;
    }
    sse_revocations_add(&hub->revocations, kind, realm, name);
    sse_admission_revoked(hub, kind, realm, name, reason);
    sse_gather_t *g = NULL;
    if (cb) {
        g = sse_calloc(1, sizeof *g);
        g->cb = cb;
        g->baton = baton;
    }
    if (kind == SSE_CHANNEL_USER) {
        if (g)
            g->waiting = 1;
        sse_reactor_end_post(sse_hub_reactor(hub, realm, name), kind, realm, name, reason, g);
        return;
    }
    if (g)
        g->waiting = hub->n_reactors;
    for (uint32_t i = 0; i < hub->n_reactors; i++)
        sse_reactor_end_post(hub->reactors[i], kind, realm, name, reason, g);
}

/* ---- presence ---- */

void sse_fanout_presence(sse_hub_t *hub, sse_str_t realm, sse_str_t user, bool online)
{
    if (hub->state != SSE_HUB_RUNNING)
        return;
    sse_buf_t json = {0}, frame = {0};
    sse_buf_cstr(&json, "{\"user\":");
    sse_json_quote(&json, user);
    sse_buf_cstr(&json, online ? ",\"online\":true}" : ",\"online\":false}");
    sse_adminsock_feed(hub->adminsock, realm, sse_buf_slice(&json));
    sse_buf_printf(&frame, "event: presence\ndata: %.*s\n\n", (int)json.n, json.p);
    sse_block_t *block = sse_block_create(sse_buf_slice(&frame), (sse_pos_t){0, 0});
    sse_reactor_feed_post(hub->reactors[0], realm, block); /* feeds live in the first */
    sse_block_unref(block);
    sse_buf_clear(&json);
    sse_buf_clear(&frame);
}
