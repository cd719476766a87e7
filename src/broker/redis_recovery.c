/* SPDX-License-Identifier: Apache-2.0 */
/* After a connection came back: what each realm of the node missed. The subscriptions stand, what
 * they bring is held meanwhile. A realm's epoch and last number are checked, its channels of
 * interest read from where they broke off, its records of interest read anew; then all is given in
 * order. */
#include "broker/redis_impl.h"

#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

#define CHANNELS_PER_CALL 256
#define MESSAGES_PER_CALL 1000
#define BYTES_PER_CALL (4u * 1024 * 1024)
#define BYTES_MAX (128u * 1024 * 1024)

typedef struct sse_redisrecovery_t {
    sse_redisnode_t *node;
    unsigned waiting; /* replies */
    bool begun;
} recovery_t;

/* One realm's part; freed with its last reply. */
typedef struct part_t {
    recovery_t *recovery; /* NULL: dropped */
    sse_redisrealm_t *realm;
    unsigned waiting;
    bool gap;
    uint64_t after;
    sse_pos_t pos;
    sse_message_t **messages;
    size_t n, cap, bytes;
    char **records; /* packed */
    size_t *record_n;
    size_t n_records;
} part_t;

static void part_free(part_t *part)
{
    for (size_t i = 0; i < part->n; i++)
        sse_message_unref(part->messages[i]);
    for (size_t i = 0; i < part->n_records; i++)
        free(part->records[i]);
    free(part->messages);
    free(part->records);
    free(part->record_n);
    free(part);
}

static void finish_one(recovery_t *recovery)
{
    if (--recovery->waiting)
        return;
    sse_redisnode_t *node = recovery->node;
    bool dropped = node->recovery != recovery;
    free(recovery);
    if (dropped)
        return;
    node->recovery = NULL;
    sse_redisnode_ready(node);
}

static void give_all(part_t *part)
{
    sse_redisrealm_t *realm = part->realm;
    if (part->gap) {
        sse_log(SSE_LOG_WARNING,
                "SSE0404: messages of the realm %s passed while Redis was away and are no longer "
                "kept: its streams are told",
                realm->name);
        realm->given = part->pos.seq;
        sse_redisrealm_doubt(realm);
        realm->redis->base.env.up->reset(realm->redis->base.env.hub, realm->name, part->pos);
    } else if (part->n) {
        qsort(part->messages, part->n, sizeof *part->messages, sse_redistext_by_number);
        for (size_t i = 0; i < part->n; i++)
            if (part->messages[i]->pos.seq > realm->given)
                sse_redisrealm_give(realm, part->messages[i]);
    }
    for (size_t i = 0; i < part->n_records; i++)
        sse_redisrealm_give_record(realm, (sse_str_t){part->records[i], part->record_n[i]});
    if (part->pos.seq > realm->given)
        realm->given = part->pos.seq;
}

static void part_done(part_t *part)
{
    if (--part->waiting)
        return;
    recovery_t *recovery = part->recovery;
    if (recovery->node->recovery == recovery && recovery->node->state == SSE_NODE_CATCHING)
        give_all(part);
    part_free(part);
    finish_one(recovery);
}

static bool failed(part_t *part, apr_status_t status, const redisReply *reply, size_t elements)
{
    if (status == APR_SUCCESS && reply->elements >= elements)
        return false;
    /* The connection's loss ends the recovery; anything else is no state to go on from. */
    if (status != APR_EOF && part->recovery->node->state == SSE_NODE_CATCHING)
        sse_redisnode_lose(part->recovery->node, "what was missed cannot be read");
    return true;
}

/* ---- messages ---- */

static void ask_history(part_t *part, sse_str_t channels, size_t n, uint64_t after);

static void add_message(part_t *part, sse_message_t *m)
{
    if (part->n == part->cap) {
        part->cap = part->cap ? 2 * part->cap : 64;
        part->messages = sse_realloc(part->messages, part->cap * sizeof *part->messages);
    }
    part->messages[part->n++] = m;
    part->bytes += m->frame.n;
}

static void on_history(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    part_t *part = job->baton;
    if (failed(part, status, reply, 7)) {
        part_done(part);
        return;
    }
    const redisReply *list = reply->element[6];
    uint64_t last = 0;
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        last = (uint64_t)list->element[i]->integer;
        sse_message_t *m = sse_redistext_message(
            sse_str(part->realm->name), (sse_pos_t){part->pos.epoch, last},
            (sse_str_t){list->element[i + 1]->str, list->element[i + 1]->len});
        if (m)
            add_message(part, m);
    }
    part->gap = part->gap || reply->element[5]->elements || part->bytes > BYTES_MAX;
    if (reply->element[3]->integer && last && !part->gap)
        ask_history(part, (sse_str_t){(const char *)job->ranges, job->max_messages}, job->n_items,
                    last);
    part_done(part);
}

/* channels: netstrings; kept behind the job for the next portion. */
static void ask_history(part_t *part, sse_str_t channels, size_t n, uint64_t after)
{
    sse_redisjob_t *job = sse_redisjob_create(part->realm->redis, sse_str(part->realm->name),
                                              SSE_SCRIPT_HISTORY, on_history, part);
    job->ranges = sse_malloc(channels.n);
    memcpy(job->ranges, channels.p, channels.n);
    job->max_messages = channels.n;
    job->n_items = n;
    sse_redisjob_number(job, MESSAGES_PER_CALL);
    sse_redisjob_number(job, BYTES_PER_CALL);
    sse_redisjob_number(job, (int64_t)n);
    sse_str_t rest = channels, channel;
    while (sse_redistext_net(&rest, &channel)) {
        sse_redisjob_arg(job, channel);
        sse_redisjob_number(job, (int64_t)after);
    }
    part->waiting++;
    sse_redisnode_submit_internal(part->realm->node, job);
}

static void ask_histories(part_t *part)
{
    sse_buf_t channels = {0};
    size_t n = 0;
    for (sse_redischannel_t *c = part->realm->channels; c; c = c->hh.next) {
        sse_buf_printf(&channels, "%zu:", c->n);
        sse_buf_add(&channels, c->key, c->n);
        if (++n == CHANNELS_PER_CALL || !c->hh.next) {
            ask_history(part, sse_buf_slice(&channels), n, part->after);
            channels.n = n = 0;
        }
    }
    sse_buf_clear(&channels);
}

/* ---- records ---- */

static void on_records(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    part_t *part = job->baton;
    if (!failed(part, status, reply, 3)) {
        size_t n = reply->elements - 3;
        part->records = sse_realloc(part->records, (part->n_records + n) * sizeof(char *) + 1);
        part->record_n = sse_realloc(part->record_n, (part->n_records + n) * sizeof(size_t) + 1);
        for (size_t i = 0; i < n; i++) {
            const redisReply *one = reply->element[3 + i];
            part->records[part->n_records] = sse_strndup(one->str ? one->str : "", one->len);
            part->record_n[part->n_records++] = one->len;
        }
    }
    part_done(part);
}

static void ask_owners(part_t *part, const sse_redischannel_t **owners, size_t n)
{
    sse_redisjob_t *job = sse_redisjob_create(part->realm->redis, sse_str(part->realm->name),
                                              SSE_SCRIPT_RECORDS, on_records, part);
    sse_redisjob_number(job, 1);
    sse_redisjob_number(job, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        sse_redisjob_arg(job, (sse_str_t){owners[i]->key, 1});
        sse_redisjob_arg(job, (sse_str_t){owners[i]->key + 2, owners[i]->n - 2});
    }
    part->waiting++;
    sse_redisnode_submit_internal(part->realm->node, job);
}

static void ask_records(part_t *part)
{
    const sse_redischannel_t *owners[CHANNELS_PER_CALL];
    size_t n = 0;
    for (sse_redischannel_t *c = part->realm->channels; c; c = c->hh.next) {
        if (*c->key != 'u' && *c->key != 'g')
            continue;
        owners[n++] = c;
        if (n == CHANNELS_PER_CALL) {
            ask_owners(part, owners, n);
            n = 0;
        }
    }
    if (n)
        ask_owners(part, owners, n);
}

/* ---- the check ---- */

static void on_checked(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    part_t *part = job->baton;
    sse_redisrealm_t *realm = part->realm;
    if (!failed(part, status, reply, 4)) {
        uint64_t epoch = 0;
        sse_str_t stamp = {reply->element[2]->str, reply->element[2]->len};
        sse_redistext_epoch((sse_str_t){reply->element[0]->str, reply->element[0]->len}, &epoch);
        part->pos = (sse_pos_t){epoch, (uint64_t)reply->element[1]->integer};
        part->after = realm->given;
        bool same = epoch == realm->known.epoch;
        /* Of another epoch nothing is owed from before. */
        sse_redisrealm_heard(realm, epoch, part->pos.seq, stamp, !same);
        if (same && part->pos.seq > realm->given)
            ask_histories(part);
        ask_records(part);
    }
    part_done(part);
}

static void check(recovery_t *recovery, sse_redisrealm_t *realm)
{
    char epoch[17];
    part_t *part = sse_calloc(1, sizeof *part);
    part->recovery = recovery;
    part->realm = realm;
    part->waiting = 1;
    recovery->waiting++;
    sse_redisjob_t *job =
        sse_redisjob_create(realm->redis, sse_str(realm->name), SSE_SCRIPT_CHECK, on_checked, part);
    snprintf(epoch, sizeof epoch, "%016llx", (unsigned long long)realm->known.epoch);
    sse_redisjob_arg(job, sse_str(epoch));
    sse_redisjob_number(job, (int64_t)realm->known.seq);
    bool same_life = recovery->node->same_life && !realm->moved;
    realm->moved = false;
    sse_redisjob_arg(job, same_life ? SSE_STR("") : sse_str(realm->stamp));
    sse_redisnode_submit_internal(realm->node, job);
}

void sse_redisrecovery_begin(sse_redisnode_t *node)
{
    recovery_t *recovery = sse_calloc(1, sizeof *recovery);
    recovery->node = node;
    recovery->waiting = 1;
    node->recovery = recovery;
    for (sse_redisrealm_t *realm = node->redis->realms; realm; realm = realm->hh.next)
        if (realm->node == node && realm->known.epoch)
            check(recovery, realm);
    finish_one(recovery);
}

void sse_redisrecovery_drop(sse_redisnode_t *node)
{
    /* Its replies are failed by the connections' end and free it. */
    node->recovery = NULL;
}
