/* SPDX-License-Identifier: Apache-2.0 */
/* A table by kind, realm and name; uthash keeps insertion order, and a renewed entry is added anew,
 * so the oldest come first. */
#include "hub/revocations.h"

#include "core/buf.h"
#include <stdlib.h>
#include <time.h>
#include <uthash.h>

typedef struct sse_revocation_t {
    UT_hash_handle hh;
    uint64_t at;
    char key[]; /* kind, realm, NUL, name */
} sse_revocation_t;

#define KEY_MAX (2 + SSE_REALM_MAX + SSE_GROUP_MAX)

uint64_t sse_revocations_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static size_t make_key(char kind, sse_str_t realm, sse_str_t name, char *key)
{
    size_t n = 0;
    if (realm.n > SSE_REALM_MAX || name.n > SSE_GROUP_MAX)
        return 0;
    key[n++] = kind;
    memcpy(key + n, realm.p, realm.n);
    n += realm.n;
    key[n++] = '\0';
    memcpy(key + n, name.p, name.n);
    return n + name.n;
}

static sse_revocation_t *find(const sse_revocations_t *r, const char *key, size_t n)
{
    sse_revocation_t *found;
    HASH_FIND(hh, r->all, key, n, found);
    return found;
}

void sse_revocations_add(sse_revocations_t *r, char kind, sse_str_t realm, sse_str_t name)
{
    char key[KEY_MAX];
    size_t n = make_key(kind, realm, name, key);
    if (!n)
        return;
    sse_revocation_t *entry = find(r, key, n);
    if (entry) {
        HASH_DELETE(hh, r->all, entry);
    } else {
        entry = sse_malloc(sizeof *entry + n);
        memcpy(entry->key, key, n);
    }
    entry->at = sse_revocations_clock();
    HASH_ADD_KEYPTR(hh, r->all, entry->key, n, entry);
}

bool sse_revocations_stale(const sse_revocations_t *r, char kind, sse_str_t realm, sse_str_t name,
                           uint64_t looked_up)
{
    char key[KEY_MAX];
    size_t n = make_key(kind, realm, name, key);
    const sse_revocation_t *entry = n ? find(r, key, n) : NULL;
    return entry && looked_up && looked_up <= entry->at;
}

void sse_revocations_expire(sse_revocations_t *r)
{
    uint64_t now = sse_revocations_clock();
    while (r->all && r->all->at + r->memory < now) {
        sse_revocation_t *oldest = r->all;
        HASH_DELETE(hh, r->all, oldest);
        free(oldest);
    }
}

void sse_revocations_clear(sse_revocations_t *r)
{
    while (r->all) {
        sse_revocation_t *first = r->all;
        HASH_DELETE(hh, r->all, first);
        free(first);
    }
}
