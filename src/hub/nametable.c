/* SPDX-License-Identifier: Apache-2.0 */
/* Chains in a power of two of buckets, doubled when there are as many entries as buckets. Clients
 * choose names, so the hash begins with a random seed. */
#include "hub/nametable.h"

#include "core/buf.h"
#include "core/crypto.h"
#include <stdlib.h>

#define BUCKETS_MIN 8

void sse_nametable_init(sse_nametable_t *t, size_t offset)
{
    *t = (sse_nametable_t){.offset = (uint32_t)offset};
    sse_crypto_random(&t->seed, sizeof t->seed);
}

static uint32_t hash_of(const sse_nametable_t *t, sse_str_t name)
{
    uint64_t h = t->seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.n; i++)
        h = (h ^ (unsigned char)name.p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return (uint32_t)(h * 0x9e3779b97f4a7c15u >> 32);
}

static sse_namelink_t **bucket(const sse_nametable_t *t, uint32_t hash)
{
    return &t->buckets[hash & (t->n_buckets - 1)];
}

static const char *name_of(const sse_nametable_t *t, const sse_namelink_t *link)
{
    return (const char *)link + t->offset;
}

sse_namelink_t *sse_nametable_find(const sse_nametable_t *t, sse_str_t name)
{
    if (!t->count)
        return NULL;
    uint32_t hash = hash_of(t, name);
    sse_namelink_t *link = *bucket(t, hash);
    while (link && (link->hash != hash || link->n != name.n ||
                    (name.n && memcmp(name_of(t, link), name.p, name.n))))
        link = link->next;
    return link;
}

static void grow(sse_nametable_t *t)
{
    uint32_t n_old = t->n_buckets;
    sse_namelink_t **old = t->buckets;
    t->n_buckets = n_old ? n_old * 2 : BUCKETS_MIN;
    t->buckets = sse_calloc(t->n_buckets, sizeof *t->buckets);
    for (uint32_t i = 0; i < n_old; i++) {
        while (old[i]) {
            sse_namelink_t *link = old[i];
            old[i] = link->next;
            sse_namelink_t **to = bucket(t, link->hash);
            link->next = *to;
            *to = link;
        }
    }
    free(old);
}

void sse_nametable_add(sse_nametable_t *t, sse_namelink_t *link, size_t n)
{
    if (t->count == t->n_buckets)
        grow(t);
    link->n = (uint32_t)n;
    link->hash = hash_of(t, (sse_str_t){name_of(t, link), n});
    sse_namelink_t **to = bucket(t, link->hash);
    link->next = *to;
    *to = link;
    t->count++;
}

void sse_nametable_remove(sse_nametable_t *t, sse_namelink_t *link)
{
    sse_namelink_t **at = bucket(t, link->hash);
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    if (--t->count)
        return;
    free(t->buckets);
    t->buckets = NULL;
    t->n_buckets = 0;
}

sse_namelink_t *sse_nametable_next(const sse_nametable_t *t, const sse_namelink_t *link)
{
    if (link && link->next)
        return link->next;
    uint32_t i = link ? (link->hash & (t->n_buckets - 1)) + 1 : 0;
    while (i < t->n_buckets && !t->buckets[i])
        i++;
    return i < t->n_buckets ? t->buckets[i] : NULL;
}
