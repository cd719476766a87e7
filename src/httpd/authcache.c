/* SPDX-License-Identifier: Apache-2.0 */
/* A table of fixed size: a key has a few places it may stand in, the oldest of which a new one
 * takes. So it never grows, and forgetting needs no sweep. Each set of places has a lock that is
 * held for a copy of a kilobyte at most; who finds it taken goes without the memory, and who finds
 * its holder dead clears the set. */
#include "httpd/authcache.h"

#include <apr_strings.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SETS 2048
#define WAYS 4
#define ENTRY_SIZE 1024
/* How often a lock is tried before the memory is done without. */
#define TRIES 200

typedef struct entry_head_t {
    sse_authcache_key_t key;
    uint64_t looked_up; /* 0: free */
    int64_t session_expires;
    unsigned char session[SSE_SESSION_HASH_LEN];
    uint16_t n_groups;
    bool groups_known, has_session;
} entry_head_t;

/* The user's name and those of the groups follow each other, each with its NUL. */
typedef struct entry_t {
    entry_head_t head;
    char names[ENTRY_SIZE - sizeof(entry_head_t)];
} entry_t;

typedef struct set_t {
    atomic_int holder; /* pid; 0: nobody */
    entry_t entries[WAYS];
} set_t;

struct sse_authcache_t {
    set_t sets[SETS];
};

static apr_status_t unmap(void *data)
{
    munmap(data, sizeof(sse_authcache_t));
    return APR_SUCCESS;
}

sse_authcache_t *sse_authcache_create(apr_pool_t *pool)
{
    void *cache = mmap(NULL, sizeof(sse_authcache_t), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (cache == MAP_FAILED)
        return NULL;
    apr_pool_cleanup_register(pool, cache, unmap, apr_pool_cleanup_null);
    return cache;
}

uint64_t sse_authcache_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A child that died in the middle may have left half an entry. */
static bool take_from_dead(set_t *set, int holder)
{
    if (!holder || kill(holder, 0) == 0 || errno != ESRCH ||
        !atomic_compare_exchange_strong(&set->holder, &holder, (int)getpid()))
        return false;
    memset(set->entries, 0, sizeof(set->entries));
    return true;
}

static bool lock_set(set_t *set)
{
    int holder = 0, self = (int)getpid();
    for (unsigned i = 0; i < TRIES; i++) {
        holder = 0;
        if (atomic_compare_exchange_weak_explicit(&set->holder, &holder, self, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    }
    return take_from_dead(set, holder);
}

static void unlock_set(set_t *set)
{
    atomic_store_explicit(&set->holder, 0, memory_order_release);
}

static bool same_key(const sse_authcache_key_t *a, const sse_authcache_key_t *b)
{
    return a->server == b->server && !memcmp(a->session, b->session, sizeof(a->session)) &&
           !memcmp(a->source, b->source, sizeof(a->source));
}

/* The session's name is a digest: any of its bits are as good as others. Locked; NULL: go without.
 */
static set_t *take_set(sse_authcache_t *cache, const sse_authcache_key_t *key)
{
    if (!cache)
        return NULL;
    set_t *set = &cache->sets[(key->session[0] | key->session[1] << 8) % SETS];
    return lock_set(set) ? set : NULL;
}

static entry_t *find(set_t *set, const sse_authcache_key_t *key)
{
    for (int i = 0; i < WAYS; i++)
        if (set->entries[i].head.looked_up && same_key(&set->entries[i].head.key, key))
            return &set->entries[i];
    return NULL;
}

static void read_entry(const entry_t *entry, apr_pool_t *pool, sse_identity_t *out)
{
    const entry_head_t *head = &entry->head;
    size_t size = 0;
    for (unsigned i = 0; i <= head->n_groups; i++)
        size += strlen(entry->names + size) + 1;
    const char *names = apr_pmemdup(pool, entry->names, size);
    const char **groups = apr_palloc(pool, (head->n_groups + 1) * sizeof(*groups));
    *out = (sse_identity_t){.who = SSE_WHO_USER,
                            .user = names,
                            .groups = groups,
                            .n_groups = head->n_groups,
                            .groups_known = head->groups_known,
                            .has_session = head->has_session,
                            .session_expires = head->session_expires};
    memcpy(out->session, head->session, sizeof(out->session));
    for (unsigned i = 0; i < head->n_groups; i++) {
        names += strlen(names) + 1;
        groups[i] = names;
    }
}

bool sse_authcache_get(sse_authcache_t *cache, const sse_authcache_key_t *key, int64_t max_age,
                       apr_pool_t *pool, sse_identity_t *out, uint64_t *out_looked_up)
{
    uint64_t now = sse_authcache_now();
    set_t *set = take_set(cache, key);
    if (!set)
        return false;
    entry_t *entry = find(set, key);
    bool good = entry && (int64_t)(now - entry->head.looked_up) < max_age * 1000000 &&
                (!entry->head.session_expires || entry->head.session_expires > (int64_t)time(NULL));
    if (good) {
        read_entry(entry, pool, out);
        *out_looked_up = entry->head.looked_up;
    } else if (entry) {
        entry->head.looked_up = 0;
    }
    unlock_set(set);
    return good;
}

static bool fits(const sse_identity_t *identity)
{
    size_t size = strlen(identity->user) + 1;
    for (size_t i = 0; i < identity->n_groups && size <= sizeof(((entry_t *)0)->names); i++)
        size += strlen(identity->groups[i]) + 1;
    return size <= sizeof(((entry_t *)0)->names);
}

static void write_entry(entry_t *entry, const sse_authcache_key_t *key,
                        const sse_identity_t *identity, uint64_t looked_up)
{
    entry->head = (entry_head_t){.key = *key,
                                 .looked_up = looked_up,
                                 .session_expires = identity->session_expires,
                                 .n_groups = (uint16_t)identity->n_groups,
                                 .groups_known = identity->groups_known,
                                 .has_session = identity->has_session};
    memcpy(entry->head.session, identity->session, sizeof(identity->session));
    char *at = entry->names;
    size_t n = strlen(identity->user) + 1;
    memcpy(at, identity->user, n);
    for (size_t i = 0; i < identity->n_groups; i++) {
        at += n;
        n = strlen(identity->groups[i]) + 1;
        memcpy(at, identity->groups[i], n);
    }
}

void sse_authcache_put(sse_authcache_t *cache, const sse_authcache_key_t *key,
                       const sse_identity_t *identity, uint64_t looked_up)
{
    if (identity->who != SSE_WHO_USER || !fits(identity))
        return;
    set_t *set = take_set(cache, key);
    if (!set)
        return;
    entry_t *entry = find(set, key);
    if (!entry) {
        entry = &set->entries[0];
        for (int i = 1; i < WAYS; i++)
            if (set->entries[i].head.looked_up < entry->head.looked_up)
                entry = &set->entries[i];
    }
    if (entry->head.looked_up <= looked_up)
        write_entry(entry, key, identity, looked_up);
    unlock_set(set);
}

void sse_authcache_forget(sse_authcache_t *cache, const sse_authcache_key_t *key)
{
    set_t *set = take_set(cache, key);
    if (!set)
        return;
    entry_t *entry = find(set, key);
    if (entry)
        entry->head.looked_up = 0;
    unlock_set(set);
}
