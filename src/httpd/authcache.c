/* SPDX-License-Identifier: Apache-2.0 */
/* A table of fixed size: a key has a few places it may stand in, the oldest of which a new one
 * takes. So it never grows, and forgetting needs no sweep. */
#include "httpd/authcache.h"

#include "core/buf.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <stdlib.h>
#include <time.h>

#define SETS 512
#define WAYS 4
/* A user in very many groups is looked up each time rather than kept. */
#define ENTRY_GROUPS_MAX 256

typedef struct entry_t {
    sse_authcache_key_t key;
    uint64_t looked_up; /* 0: free */
    sse_identity_t identity;
    char *block; /* backs the identity's strings */
} entry_t;

struct sse_authcache_t {
    apr_thread_mutex_t *mutex;
    entry_t entries[SETS][WAYS];
};

static apr_status_t clear_cache(void *data)
{
    sse_authcache_t *cache = data;
    for (size_t i = 0; i < SETS * WAYS; i++)
        free(cache->entries[i / WAYS][i % WAYS].block);
    return APR_SUCCESS;
}

sse_authcache_t *sse_authcache_create(apr_pool_t *child_pool)
{
    sse_authcache_t *cache = apr_pcalloc(child_pool, sizeof(*cache));
    apr_thread_mutex_create(&cache->mutex, APR_THREAD_MUTEX_DEFAULT, child_pool);
    apr_pool_cleanup_register(child_pool, cache, clear_cache, apr_pool_cleanup_null);
    return cache;
}

uint64_t sse_authcache_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool same_key(const sse_authcache_key_t *a, const sse_authcache_key_t *b)
{
    return a->source == b->source && a->server == b->server &&
           !memcmp(a->session, b->session, sizeof(a->session));
}

/* The session's name is a digest: any of its bits are as good as others. */
static entry_t *set_of(sse_authcache_t *cache, const sse_authcache_key_t *key)
{
    return cache->entries[(key->session[0] | key->session[1] << 8) % SETS];
}

static entry_t *find(sse_authcache_t *cache, const sse_authcache_key_t *key)
{
    entry_t *set = set_of(cache, key);
    for (int i = 0; i < WAYS; i++)
        if (set[i].looked_up && same_key(&set[i].key, key))
            return &set[i];
    return NULL;
}

static void free_entry(entry_t *entry)
{
    free(entry->block);
    memset(entry, 0, sizeof(*entry));
}

static void copy_identity(const sse_identity_t *from, apr_pool_t *pool, sse_identity_t *out)
{
    *out = *from;
    out->user = apr_pstrdup(pool, from->user);
    out->detail = NULL;
    const char **groups = apr_palloc(pool, (from->n_groups + 1) * sizeof(*groups));
    for (size_t i = 0; i < from->n_groups; i++)
        groups[i] = apr_pstrdup(pool, from->groups[i]);
    out->groups = groups;
}

bool sse_authcache_get(sse_authcache_t *cache, const sse_authcache_key_t *key, int64_t max_age,
                       apr_pool_t *pool, sse_identity_t *out, uint64_t *out_looked_up)
{
    uint64_t now = sse_authcache_now();
    apr_thread_mutex_lock(cache->mutex);
    entry_t *entry = find(cache, key);
    bool good =
        entry && now - entry->looked_up < (uint64_t)max_age * 1000000 &&
        (!entry->identity.session_expires || entry->identity.session_expires > (int64_t)time(NULL));
    if (good) {
        copy_identity(&entry->identity, pool, out);
        *out_looked_up = entry->looked_up;
    } else if (entry) {
        free_entry(entry);
    }
    apr_thread_mutex_unlock(cache->mutex);
    return good;
}

/* One block for the array of groups, their names and the user's. */
static void fill_entry(entry_t *entry, const sse_identity_t *identity)
{
    size_t size = strlen(identity->user) + 1 + identity->n_groups * sizeof(char *);
    for (size_t i = 0; i < identity->n_groups; i++)
        size += strlen(identity->groups[i]) + 1;
    entry->block = sse_malloc(size);
    entry->identity = *identity;
    entry->identity.detail = NULL;
    const char **groups = (const char **)(void *)entry->block;
    char *at = entry->block + identity->n_groups * sizeof(char *);
    for (size_t i = 0; i < identity->n_groups; i++) {
        size_t n = strlen(identity->groups[i]) + 1;
        groups[i] = memcpy(at, identity->groups[i], n);
        at += n;
    }
    entry->identity.groups = groups;
    entry->identity.user = memcpy(at, identity->user, strlen(identity->user) + 1);
}

void sse_authcache_put(sse_authcache_t *cache, const sse_authcache_key_t *key,
                       const sse_identity_t *identity, uint64_t looked_up)
{
    if (identity->who != SSE_WHO_USER || identity->n_groups > ENTRY_GROUPS_MAX)
        return;
    apr_thread_mutex_lock(cache->mutex);
    entry_t *entry = find(cache, key);
    if (!entry) {
        entry = set_of(cache, key);
        for (int i = 1; i < WAYS; i++)
            if (set_of(cache, key)[i].looked_up < entry->looked_up)
                entry = &set_of(cache, key)[i];
    }
    if (entry->looked_up <= looked_up) {
        free_entry(entry);
        fill_entry(entry, identity);
        entry->key = *key;
        entry->looked_up = looked_up;
    }
    apr_thread_mutex_unlock(cache->mutex);
}

void sse_authcache_forget(sse_authcache_t *cache, const sse_authcache_key_t *key)
{
    apr_thread_mutex_lock(cache->mutex);
    entry_t *entry = find(cache, key);
    if (entry)
        free_entry(entry);
    apr_thread_mutex_unlock(cache->mutex);
}
