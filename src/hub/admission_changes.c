/* SPDX-License-Identifier: Apache-2.0 */
/* What is changed or revoked while a stream is only reserved, or while the broker is asked for it:
 * open streams see it through their reactor, tickets here. Control loop only. */
#include "hub/admission_impl.h"

#include "core/buf.h"
#include <stdlib.h>

void sse_admission_take_records(sse_hub_t *hub, sse_attach_t *a, sse_record_t *record,
                                sse_record_t *const *groups)
{
    sse_attach_t old = *a;
    a->record = sse_record_ref(record);
    a->groups = sse_calloc(record->n_memberships + 1, sizeof *a->groups);
    for (size_t i = 0; i < record->n_memberships; i++)
        a->groups[i] = sse_record_ref(groups[i]);
    a->current = false;
    sse_interest_attach(hub, a, true);
    sse_interest_attach(hub, &old, false);
    for (size_t i = 0; i < old.record->n_memberships; i++)
        sse_record_unref(old.groups[i]);
    free(old.groups);
    sse_record_unref(old.record);
}

static void take_group(sse_hub_t *hub, sse_attach_t *a, sse_record_t *group)
{
    size_t n = a->record->n_memberships;
    sse_record_t **groups = sse_calloc(n + 1, sizeof *groups);
    bool member = false;
    for (size_t i = 0; i < n; i++) {
        bool same = !strcmp(a->record->memberships[i].group, group->name);
        groups[i] = same ? group : a->groups[i];
        member = member || same;
    }
    if (member)
        sse_admission_take_records(hub, a, a->record, groups);
    free(groups);
}

void sse_admission_changed(sse_hub_t *hub, sse_record_t *record, sse_record_t *const *groups)
{
    for (sse_ticket_t *t = hub->admission.tickets; t; t = t->hh.next) {
        sse_attach_t *a = t->attach;
        if (strcmp(a->realm, record->realm))
            continue;
        if (t->connecting && a->user)
            t->outdated |= record->kind == SSE_CHANNEL_GROUP || !strcmp(a->user, record->name);
        if (!a->record)
            continue;
        if (record->kind == SSE_CHANNEL_GROUP)
            take_group(hub, a, record);
        else if (!strcmp(a->user, record->name))
            sse_admission_take_records(hub, a, record, groups);
    }
}

void sse_admission_reset(sse_hub_t *hub, sse_str_t realm, sse_pos_t pos)
{
    for (sse_ticket_t *t = hub->admission.tickets; t; t = t->hh.next) {
        sse_attach_t *a = t->attach;
        if (a->feed || !a->pos.epoch || (realm.n && !sse_str_eq(realm, sse_str(a->realm))))
            continue;
        a->pos = pos;
        a->cursor = pos.seq;
        a->reset = SSE_RESET_BROKER_RESET;
        a->current = false;
    }
}

void sse_admission_message(sse_hub_t *hub, sse_str_t realm)
{
    for (sse_ticket_t *t = hub->admission.tickets; t; t = t->hh.next)
        if (!t->attach->feed && sse_str_eq(realm, sse_str(t->attach->realm)))
            t->attach->current = false;
}

static bool concerns(const sse_attach_t *a, char kind, sse_str_t name)
{
    if (kind == 's')
        return a->has_session &&
               sse_str_eq(name, (sse_str_t){(const char *)a->session, sizeof a->session});
    if (kind == SSE_CHANNEL_USER)
        return a->user && sse_str_eq(name, sse_str(a->user));
    for (size_t i = 0; a->record && i < a->record->n_memberships; i++)
        if (sse_str_eq(name, sse_str(a->record->memberships[i].group)))
            return true;
    return false;
}

void sse_admission_revoked(sse_hub_t *hub, char kind, sse_str_t realm, sse_str_t name,
                           sse_end_reason_t reason)
{
    for (sse_ticket_t *t = hub->admission.tickets; t; t = t->hh.next)
        if (sse_str_eq(realm, sse_str(t->attach->realm)) && concerns(t->attach, kind, name))
            t->attach->end = (int)reason;
}
