/* SPDX-License-Identifier: Apache-2.0 */
/* Connects that memory can answer: whose record is kept, or of whom nothing can be stored. Groups
 * that the caller names and the record lacks are taken into it here, and the store is told
 * afterwards: in the queue before everything that is published later, so that no message is stored
 * that a membership is missing for. What memory cannot answer goes to the writer. Control loop. */
#include "broker/local_impl.h"

#include "core/buf.h"

#include <stdlib.h>

/* Groups are compared one by one: with more of them the writer does it. */
#define GROUPS_HERE 64
/* The store may be told this much later. */
#define BEHIND_MS 50

typedef struct found_t {
    sse_record_t *record; /* references of its own, as of the groups */
    sse_record_t *groups[GROUPS_HERE];
    size_t n_groups;
    bool changed; /* the groups are others than before */
    bool fresh;   /* the store has nothing of the user */
} found_t;

static bool subs_good(const sse_record_t *record, const sse_job_t *job, int64_t now)
{
    for (size_t i = 0; i < record->n_subs; i++) {
        const sse_sub_t *sub = &record->subs[i];
        if (sub->session_expires && (int64_t)sub->session_expires <= now)
            return false;
        if (record->kind == SSE_CHANNEL_USER && job->session.n && job->session_expires &&
            sub->session_expires != job->session_expires &&
            !memcmp(sub->session, job->session.p, SSE_SESSION_HASH_LEN))
            return false; /* to be put off */
    }
    return true;
}

static const sse_membership_t *membership(const sse_record_t *record, sse_str_t group)
{
    for (size_t i = 0; i < record->n_memberships; i++)
        if (sse_str_eq(sse_str(record->memberships[i].group), group))
            return &record->memberships[i];
    return NULL;
}

static int by_group(const void *a, const void *b)
{
    return strcmp(((const sse_membership_t *)a)->group, ((const sse_membership_t *)b)->group);
}

/* Each name once, in the store's order. NULL when the record has exactly these. */
static sse_membership_t *others(const sse_record_t *record, const sse_job_t *job, uint64_t start,
                                size_t *out_n)
{
    size_t n = 0, known = 0;
    sse_membership_t *list = sse_calloc(job->n_names + 1, sizeof(*list));
    for (size_t i = 0; i < job->n_names; i++) {
        bool again = false;
        for (size_t k = 0; k < n && !again; k++)
            again = sse_str_eq(sse_str(list[k].group), job->names[i]);
        if (again)
            continue;
        const sse_membership_t *had = membership(record, job->names[i]);
        known += had != NULL;
        list[n].group = sse_strndup(job->names[i].p, job->names[i].n);
        list[n++].start = had ? had->start : start;
    }
    if (known == n && n == record->n_memberships) {
        for (size_t i = 0; i < n; i++)
            free(list[i].group);
        free(list);
        return NULL;
    }
    qsort(list, n, sizeof(*list), by_group);
    *out_n = n;
    return list;
}

static sse_record_t *with_memberships(const sse_record_t *from, sse_membership_t *list, size_t n)
{
    sse_record_t *r =
        sse_record_create(from->kind, sse_str(from->realm), sse_str(from->name), from->n_subs, 0);
    for (size_t i = 0; i < from->n_subs; i++) {
        r->subs[i] = from->subs[i];
        r->subs[i].event = sse_strndup(from->subs[i].event, strlen(from->subs[i].event));
    }
    r->blocked_until = from->blocked_until;
    r->memberships = list;
    r->n_memberships = n;
    return r;
}

/* The record of a group, made and kept where nothing can be stored of it. */
static sse_record_t *group_record(sse_local_t *l, sse_str_t realm, sse_str_t name)
{
    sse_record_t *group = sse_records_find(&l->records, SSE_CHANNEL_GROUP, realm, name);
    if (group || !sse_records_absent(&l->records, SSE_CHANNEL_GROUP, realm, name))
        return group;
    group = sse_record_create(SSE_CHANNEL_GROUP, realm, name, 0, 0);
    sse_records_keep(&l->records, group);
    sse_record_unref(group);
    return group;
}

static bool find_groups(sse_local_t *l, const sse_job_t *job, found_t *f, int64_t now)
{
    for (size_t i = 0; i < f->record->n_memberships; i++) {
        sse_record_t *group = group_record(l, job->realm, sse_str(f->record->memberships[i].group));
        if (!group || !subs_good(group, job, now))
            return false;
        f->groups[f->n_groups++] = sse_record_ref(group);
    }
    return true;
}

static void let_go(found_t *f)
{
    sse_record_unref(f->record);
    while (f->n_groups)
        sse_record_unref(f->groups[--f->n_groups]);
}

/* False: the writer is to be asked. On success the caller lets go of f. */
static bool look_up(sse_local_t *l, const sse_job_t *job, found_t *f)
{
    int64_t now = sse_local_now_ms() / 1000;
    sse_str_t user = job->owner.name;
    sse_record_t *record = sse_records_find(&l->records, SSE_CHANNEL_USER, job->realm, user);
    *f = (found_t){.fresh = !record};
    if (!record && !sse_records_absent(&l->records, SSE_CHANNEL_USER, job->realm, user))
        return false;
    record = record ? sse_record_ref(record)
                    : sse_record_create(SSE_CHANNEL_USER, job->realm, user, 0, 0);
    size_t n = 0;
    sse_membership_t *list = job->names_given && job->n_names <= GROUPS_HERE
                                 ? others(record, job, l->pos.seq, &n)
                                 : NULL;
    f->record = record;
    if (list) {
        f->record = with_memberships(record, list, n);
        f->changed = true;
        sse_record_unref(record);
    }
    /* A membership begins at a position; what is under way may still get one before it. */
    if (job->n_names <= GROUPS_HERE && f->record->n_memberships <= GROUPS_HERE &&
        !(f->changed && l->writes) && subs_good(f->record, job, now) && find_groups(l, job, f, now))
        return true;
    let_go(f);
    return false;
}

static void on_behind(uv_timer_t *timer)
{
    sse_local_flush(timer->data);
}

/* The answered job itself carries the groups to the store. */
static void tell_store(sse_local_t *l, sse_job_t *job, bool fresh)
{
    job->behind = true;
    job->fresh = fresh;
    job->start = l->pos.seq;
    job->life = l->records.life;
    sse_records_behind(&l->records, job->realm, job->owner.name, 1);
    if (!uv_is_active((uv_handle_t *)&l->lazy))
        uv_timer_start(&l->lazy, on_behind, BEHIND_MS, 0);
    sse_local_submit(l, job);
}

static bool answer(sse_local_t *l, sse_job_t *job)
{
    found_t f;
    if (!l->well || l->stopping)
        return false;
    if (!job->owner.name.n) {
        job->cb.connected(job->baton, APR_SUCCESS, NULL, NULL, l->pos);
        sse_job_free(job);
        return true;
    }
    if (!look_up(l, job, &f))
        return false;
    /* Who is not kept and has streams is not absent any more. */
    if (f.changed || (f.fresh && job->names_given))
        sse_records_keep(&l->records, f.record);
    if (f.fresh)
        sse_records_mark(&l->records, SSE_CHANNEL_USER, job->realm, job->owner.name);
    if (f.changed && !f.fresh)
        l->base.env.up->changed(l->base.env.hub, f.record, f.groups);
    job->cb.connected(job->baton, APR_SUCCESS, f.record, f.groups, l->pos);
    if (f.changed)
        tell_store(l, job, f.fresh);
    else
        sse_job_free(job);
    let_go(&f);
    return true;
}

void sse_local_connect_submit(sse_local_t *l, sse_job_t *job)
{
    /* Not within the call: answered, from what is known then, at the end of this turn. */
    job->next = NULL;
    *l->connects_tail = job;
    l->connects_tail = &job->next;
    uv_prepare_start(&l->flush, sse_local_on_flush);
}

void sse_local_connect_answer(sse_local_t *l)
{
    sse_job_t *list = l->connects;
    l->connects = NULL;
    l->connects_tail = &l->connects;
    for (sse_job_t *job = list, *next; job; job = next) {
        next = job->next;
        job->next = NULL;
        if (answer(l, job))
            continue;
        if (job->owner.name.n)
            sse_records_mark(&l->records, SSE_CHANNEL_USER, job->realm, job->owner.name);
        sse_local_submit(l, job);
    }
}

void sse_local_connect_behind(sse_local_t *l, sse_job_t *job)
{
    if (job->life != l->records.life)
        return;
    sse_records_behind(&l->records, job->realm, job->owner.name, -1);
    if (job->status != APR_SUCCESS &&
        !sse_records_is_behind(&l->records, job->realm, job->owner.name))
        sse_records_drop(&l->records, SSE_CHANNEL_USER, job->realm, job->owner.name);
}

void sse_local_connect_learn(sse_local_t *l, sse_job_t *job)
{
    if (!job->record || job->overlaid || !l->well ||
        sse_records_is_behind(&l->records, job->realm, job->owner.name))
        return;
    bool kept = sse_records_find(&l->records, SSE_CHANNEL_USER, job->realm, job->owner.name);
    if (!kept && !job->names_given &&
        !sse_records_came_again(&l->records, job->realm, job->owner.name))
        return;
    sse_records_keep(&l->records, job->record);
    for (size_t i = 0; i < job->n_groups; i++)
        sse_records_keep(&l->records, job->groups[i]);
}
