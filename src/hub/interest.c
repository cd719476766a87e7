/* SPDX-License-Identifier: Apache-2.0 */
/* A table of counts. */
#include "hub/interest.h"

#include "core/buf.h"
#include "hub/hub.h"
#include <stdlib.h>

typedef struct sse_interest_entry_t {
    UT_hash_handle hh;
    uint32_t holders;
    char key[]; /* realm, NUL, kind, name */
} sse_interest_entry_t;

#define KEY_MAX (SSE_REALM_MAX + 2 + SSE_GROUP_MAX)

bool sse_interest_wanted(const sse_hub_t *hub)
{
    return hub->broker && hub->broker->driver->interest;
}

/* 0: no such channel can be. */
static size_t make_key(sse_str_t realm, sse_channel_t channel, char out[KEY_MAX])
{
    if (realm.n > SSE_REALM_MAX || channel.name.n > SSE_GROUP_MAX)
        return 0;
    size_t n = realm.n;
    memcpy(out, realm.p, n);
    out[n++] = '\0';
    out[n++] = (char)channel.kind;
    if (channel.name.n)
        memcpy(out + n, channel.name.p, channel.name.n);
    return n + channel.name.n;
}

void sse_interest_change(sse_hub_t *hub, sse_str_t realm, sse_channel_t channel, bool on)
{
    char key[KEY_MAX];
    size_t n = make_key(realm, channel, key);
    if (!sse_interest_wanted(hub) || !n)
        return;
    sse_interest_entry_t *entry;
    HASH_FIND(hh, hub->interest.entries, key, n, entry);
    if (on && !entry) {
        entry = sse_calloc(1, sizeof *entry + n);
        memcpy(entry->key, key, n);
        HASH_ADD_KEYPTR(hh, hub->interest.entries, entry->key, n, entry);
        hub->broker->driver->interest(hub->broker, realm, channel, true);
    }
    if (on) {
        entry->holders++;
    } else if (entry && --entry->holders == 0) {
        HASH_DELETE(hh, hub->interest.entries, entry);
        free(entry);
        hub->broker->driver->interest(hub->broker, realm, channel, false);
    }
}

bool sse_interest_held(const sse_hub_t *hub, sse_str_t realm, sse_channel_t channel)
{
    char key[KEY_MAX];
    sse_interest_entry_t *entry = NULL;
    size_t n = make_key(realm, channel, key);
    if (n)
        HASH_FIND(hh, hub->interest.entries, key, n, entry);
    return entry != NULL;
}

static void change(sse_hub_t *hub, const sse_attach_t *a, sse_channel_kind_t kind, const char *name,
                   bool on)
{
    sse_interest_change(hub, sse_str(a->realm), (sse_channel_t){kind, sse_str(name)}, on);
}

void sse_interest_attach(sse_hub_t *hub, const sse_attach_t *a, bool on)
{
    if (!sse_interest_wanted(hub) || a->feed)
        return;
    change(hub, a, SSE_CHANNEL_BROADCAST, NULL, on);
    for (size_t i = 0; i < a->n_events; i++)
        change(hub, a, SSE_CHANNEL_EVENT, a->events[i], on);
    if (!a->record)
        return;
    change(hub, a, SSE_CHANNEL_USER, a->user, on);
    for (size_t i = 0; i < a->record->n_subs; i++)
        change(hub, a, SSE_CHANNEL_EVENT, a->record->subs[i].event, on);
    for (size_t i = 0; i < a->record->n_memberships; i++) {
        change(hub, a, SSE_CHANNEL_GROUP, a->record->memberships[i].group, on);
        for (size_t k = 0; k < a->groups[i]->n_subs; k++)
            change(hub, a, SSE_CHANNEL_EVENT, a->groups[i]->subs[k].event, on);
    }
}

void sse_interest_clear(sse_hub_t *hub)
{
    while (hub->interest.entries) {
        sse_interest_entry_t *entry = hub->interest.entries;
        HASH_DELETE(hh, hub->interest.entries, entry);
        free(entry);
    }
}
