/* SPDX-License-Identifier: Apache-2.0 */
/* Records of users and groups: filled once by a driver, then immutable and shared by reference
 * count. */
#include "broker/broker.h"
#include "core/buf.h"

#include <stdlib.h>

sse_record_t *sse_record_create(sse_channel_kind_t kind, sse_str_t realm, sse_str_t name,
                                size_t n_subs, size_t n_memberships)
{
    sse_record_t *r = sse_calloc(1, sizeof(*r));
    atomic_init(&r->refs, 1);
    r->kind = kind;
    r->realm = sse_strndup(realm.p, realm.n);
    r->name = sse_strndup(name.p, name.n);
    r->n_subs = n_subs;
    r->subs = n_subs ? sse_calloc(n_subs, sizeof(*r->subs)) : NULL;
    r->n_memberships = n_memberships;
    r->memberships = n_memberships ? sse_calloc(n_memberships, sizeof(*r->memberships)) : NULL;
    return r;
}

sse_record_t *sse_record_ref(sse_record_t *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void sse_record_unref(sse_record_t *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < r->n_subs; i++)
        free(r->subs[i].event);
    for (size_t i = 0; i < r->n_memberships; i++)
        free(r->memberships[i].group);
    free(r->subs);
    free(r->memberships);
    free(r->realm);
    free(r->name);
    free(r);
}
