/* SPDX-License-Identifier: Apache-2.0 */
/* What the scripts' replies mean to who called: each becomes the contract's answer. Control loop.
 */
#include "broker/redis_impl.h"
#include <stdlib.h>

static sse_str_t str_at(const redisReply *reply, size_t i)
{
    if (i >= reply->elements || reply->element[i]->type != REDIS_REPLY_STRING)
        return SSE_STR_NONE;
    return (sse_str_t){reply->element[i]->str, reply->element[i]->len};
}

static int64_t int_at(const redisReply *reply, size_t i)
{
    return i < reply->elements && reply->element[i]->type == REDIS_REPLY_INTEGER
               ? reply->element[i]->integer
               : 0;
}

/* The list at i as strings, on malloc; false: there is none. */
static bool strs_at(const redisReply *reply, size_t i, sse_str_t **out_strs, size_t *out_n)
{
    if (i >= reply->elements || reply->element[i]->type != REDIS_REPLY_ARRAY)
        return false;
    const redisReply *list = reply->element[i];
    *out_strs = sse_calloc(list->elements + 1, sizeof(sse_str_t));
    *out_n = list->elements;
    for (size_t k = 0; k < list->elements; k++)
        (*out_strs)[k] = str_at(list, k);
    return true;
}

static uint64_t epoch_of(const redisReply *reply)
{
    uint64_t epoch = 0;
    sse_redistext_epoch(str_at(reply, 0), &epoch);
    return epoch;
}

static bool same_epoch(const sse_redisjob_t *job, const redisReply *reply)
{
    return epoch_of(reply) == job->realm->known.epoch;
}

static void on_published(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    if (status != APR_SUCCESS) {
        job->cb.published(job->baton, status, NULL, 0, 0);
        return;
    }
    if (sse_str_eq(str_at(reply, 3), SSE_STR("clash"))) {
        job->cb.published(job->baton, APR_EEXIST, NULL, 0, (size_t)int_at(reply, 4) - 1);
        return;
    }
    const redisReply *list = reply->elements > 4 ? reply->element[4] : NULL;
    if (!list || list->elements != 2 * job->n_items) {
        job->cb.published(job->baton, APR_EAGAIN, NULL, 0, 0);
        return;
    }
    sse_published_t *results = sse_calloc(job->n_items + 1, sizeof *results);
    for (size_t i = 0; i < job->n_items; i++)
        results[i] = (sse_published_t){{epoch_of(reply), (uint64_t)int_at(list, 2 * i)},
                                       int_at(list, 2 * i + 1) != 0};
    job->cb.published(job->baton, APR_SUCCESS, results, job->n_items, 0);
    free(results);
}

/* ---- history ---- */

/* Is the message of one of the job's ranges from `first` on? */
static bool wanted(const sse_redisjob_t *job, size_t first, size_t end, const sse_message_t *m)
{
    for (size_t i = 0; i < m->n_targets; i++)
        for (size_t k = first; k < end; k++)
            if (job->ranges[k].channel.kind == m->targets[i].kind &&
                job->ranges[k].after < m->pos.seq &&
                sse_str_eq(job->ranges[k].channel.name,
                           (sse_str_t){m->targets[i].name, m->targets[i].n}))
                return true;
    return false;
}

/* Messages given since the call belong to the answer, too: those of channels that Redis was asked
 * for after its answer was made, all of the others, up to where the answer ends. */
static size_t join_recent(const sse_redisjob_t *job, uint64_t seen, uint64_t end,
                          sse_message_t **messages, size_t n)
{
    const sse_redisrealm_t *realm = job->realm;
    size_t first = realm->n_recent, all = n, kept = 0;
    while (first && realm->recent[first - 1]->pos.seq >= job->floor)
        first--;
    for (; first < realm->n_recent && realm->recent[first]->pos.seq <= end; first++) {
        sse_message_t *m = realm->recent[first];
        if ((m->pos.seq > seen && wanted(job, 0, job->n_asked, m)) ||
            wanted(job, job->n_asked, job->n_ranges, m))
            messages[all++] = sse_message_ref(m);
    }
    if (all > n && n)
        qsort(messages, all, sizeof *messages, sse_redistext_by_number);
    for (size_t i = 0; i < all; i++) {
        if (kept && messages[kept - 1]->pos.seq == messages[i]->pos.seq)
            sse_message_unref(messages[i]);
        else
            messages[kept++] = messages[i];
    }
    return kept;
}

/* No reply: Redis had not to be asked. */
static void on_history(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    if (status == APR_SUCCESS && reply && (reply->elements < 7 || !same_epoch(job, reply)))
        status = APR_EAGAIN;
    if (status != APR_SUCCESS) {
        job->cb.history(job->baton, status, NULL);
        return;
    }
    sse_redisrealm_t *realm = job->realm;
    sse_history_t h = {.pos = {realm->known.epoch, realm->given}};
    size_t n_list = reply ? reply->element[6]->elements : 0, n = 0;
    uint64_t seen = reply ? (uint64_t)int_at(reply, 1) : 0;
    sse_message_t **messages = sse_calloc(n_list / 2 + realm->n_recent + 1, sizeof *messages);
    for (size_t i = 0; i + 1 < n_list; i += 2) {
        const redisReply *list = reply->element[6];
        sse_message_t *m = sse_redistext_message(
            sse_str(realm->name), (sse_pos_t){realm->known.epoch, (uint64_t)int_at(list, i)},
            str_at(list, i + 1));
        if (m)
            messages[n++] = m;
    }
    size_t *gaps = sse_calloc(job->n_asked + 1, sizeof *gaps);
    if (reply) {
        const redisReply *list = reply->element[5];
        h.more = int_at(reply, 3) != 0;
        h.gap_end = (uint64_t)int_at(reply, 4);
        for (size_t i = 0; i < list->elements && i < job->n_asked; i++) {
            uint64_t asked = (uint64_t)int_at(list, i);
            if (asked < job->n_asked)
                gaps[h.n_gaps++] = job->places[asked];
        }
        sse_redisrealm_complete(job, seen);
    }
    uint64_t end = !h.more ? UINT64_MAX : n ? messages[n - 1]->pos.seq : 0;
    n = join_recent(job, seen, end, messages, n);
    h.messages = messages;
    h.n_messages = n;
    h.gaps = gaps;
    job->cb.history(job->baton, APR_SUCCESS, &h);
    for (size_t i = 0; i < n; i++)
        sse_message_unref(messages[i]);
    free(messages);
    free(gaps);
}

/* ---- records ---- */

static void on_connected(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_pos_t pos = {job->realm->known.epoch, job->realm->given};
    sse_record_t *user = NULL, **groups = NULL;
    if (status == APR_SUCCESS && !same_epoch(job, reply))
        status = APR_EAGAIN;
    if (status == APR_SUCCESS) {
        sse_str_t packed = str_at(reply, 3);
        if (packed.n)
            user = sse_redistext_full(sse_str(job->realm->name), &packed, &groups);
        if (packed.n && !user)
            status = APR_EAGAIN;
    }
    sse_redisrealm_t *realm = job->realm;
    if (job == realm->position) {
        realm->position = realm->next_position;
        realm->next_position = NULL;
        if (realm->position)
            sse_redisjob_submit(realm->position);
    }
    job->cb.connected(job->baton, status, user, groups, pos);
    for (size_t i = 0; i < job->n_guests; i++)
        job->guests[i].cb(job->guests[i].baton, status, user, groups, pos);
    if (user)
        sse_redistext_full_free(user, groups);
}

static void on_record(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_record_t *record = NULL;
    if (status == APR_SUCCESS && sse_str_eq(str_at(reply, 3), SSE_STR("limit"))) {
        status = APR_EINVAL;
    } else if (status == APR_SUCCESS) {
        sse_str_t packed = str_at(reply, job->script == SSE_SCRIPT_RECORDS ? 3 : 4);
        record = sse_redistext_record(sse_str(job->realm->name), &packed);
        if (!record)
            status = APR_EAGAIN;
    }
    job->cb.record(job->baton, status, record);
    sse_record_unref(record);
}

/* ---- the rest ---- */

static void on_done(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    job->cb.done(job->baton, status);
}

static void on_members(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_str_t *names = NULL;
    size_t n = 0;
    if (status == APR_SUCCESS && !strs_at(reply, 3, &names, &n))
        status = APR_EAGAIN;
    job->cb.names(job->baton, status, names, n);
    free(names);
}

static void on_tracking(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_tracking_t t = {0};
    if (status != APR_SUCCESS) {
        job->cb.tracking(job->baton, status, NULL);
        return;
    }
    sse_redistext_epoch(str_at(reply, 3), &t.last.epoch);
    t.last.seq = (uint64_t)int_at(reply, 4);
    t.delivered_at = int_at(reply, 5);
    t.pending = (uint64_t)int_at(reply, 6);
    job->cb.tracking(job->baton, APR_SUCCESS, &t);
}

static void on_session(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    uint64_t expires = status == APR_SUCCESS ? (uint64_t)int_at(reply, 3) : 0;
    if (status == APR_SUCCESS && !expires)
        status = APR_NOTFOUND;
    job->cb.session(job->baton, status, status == APR_SUCCESS ? str_at(reply, 4) : SSE_STR_NONE,
                    expires);
}

static void on_counts(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    bool ok = status == APR_SUCCESS;
    job->cb.counts(job->baton, status, ok ? (uint64_t)int_at(reply, 3) : 0,
                   ok ? (uint64_t)int_at(reply, 4) : 0, ok ? (uint64_t)int_at(reply, 5) : 0);
}

static void on_user(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    bool ok = status == APR_SUCCESS;
    job->cb.user(job->baton, status, ok && int_at(reply, 3), ok ? (uint64_t)int_at(reply, 4) : 0,
                 ok ? int_at(reply, 5) : 0);
}

static void on_page(sse_redisjob_t *job, apr_status_t status, redisReply *reply)
{
    sse_str_t *users = NULL;
    size_t n = 0;
    if (status == APR_SUCCESS && !strs_at(reply, 4, &users, &n))
        status = APR_EAGAIN;
    job->cb.page(job->baton, status, users, n, n && int_at(reply, 3));
    free(users);
}

/* ---- which is whose ---- */

/* fenced: what the answer reflects is a state of records, or of what has been given. */
static const struct {
    sse_redisjob_fn done;
    bool fenced;
} answers[SSE_SCRIPTS] = {
    [SSE_SCRIPT_CONNECT] = {on_connected, true},
    [SSE_SCRIPT_CURSORS] = {on_done, false},
    [SSE_SCRIPT_DISCONNECT] = {on_done, true},
    [SSE_SCRIPT_FORGET] = {on_done, true},
    [SSE_SCRIPT_HISTORY] = {on_history, true},
    [SSE_SCRIPT_MEMBERS] = {on_members, false},
    [SSE_SCRIPT_MEMBERS_CHANGE] = {on_done, true},
    [SSE_SCRIPT_PRESENCE_COUNTS] = {on_counts, false},
    [SSE_SCRIPT_PRESENCE_PAGE] = {on_page, false},
    [SSE_SCRIPT_PRESENCE_USER] = {on_user, false},
    [SSE_SCRIPT_PUBLISH] = {on_published, false},
    [SSE_SCRIPT_RECORDS] = {on_record, true},
    [SSE_SCRIPT_SESSION_GET] = {on_session, false},
    [SSE_SCRIPT_SESSION_PUT] = {on_done, false},
    [SSE_SCRIPT_SUBSCRIBE] = {on_record, true},
    [SSE_SCRIPT_TRACKING] = {on_tracking, false},
    [SSE_SCRIPT_UNSUBSCRIBE] = {on_record, true},
};

sse_redisjob_t *sse_redisanswer_job(sse_broker_t *b, sse_str_t realm, sse_redisscript_t script,
                                    sse_redisanswer_t cb, void *baton)
{
    sse_redisjob_t *job =
        sse_redisjob_create((sse_redis_t *)b, realm, script, answers[script].done, baton);
    job->cb = cb;
    job->fenced = answers[script].fenced;
    return job;
}
