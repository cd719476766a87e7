/* SPDX-License-Identifier: Apache-2.0 */
/* Two tables, so that a crowd of users does not push out the groups they have in common. A table
 * that is full lets go of its oldest record that was not asked for since it last came up. */
#include "broker/local_records.h"

#include "core/buf.h"

#include <stdlib.h>
#include <uthash.h>

#define USERS_MAX 16384
#define GROUPS_MAX 4096
#define SEEN_BITS (1u << 19)

struct sse_kept_t {
    UT_hash_handle hh;
    sse_record_t *record;
    uint32_t behind;
    bool used;
    char key[]; /* realm, NUL, name */
};

typedef struct owner_key_t {
    char bytes[SSE_REALM_MAX + 1 + SSE_GROUP_MAX];
    size_t n;
} owner_key_t;

static bool make_key(sse_str_t realm, sse_str_t name, owner_key_t *out)
{
    out->n = realm.n + 1 + name.n;
    if (realm.n > SSE_REALM_MAX || name.n > SSE_GROUP_MAX)
        return false;
    memcpy(out->bytes, realm.p, realm.n);
    out->bytes[realm.n] = 0;
    if (name.n)
        memcpy(out->bytes + realm.n + 1, name.p, name.n);
    return true;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(sse_channel_kind_t kind, sse_str_t realm, sse_str_t name)
{
    uint64_t hash = (14695981039346656037u ^ (unsigned char)kind) * 1099511628211u;
    for (size_t i = 0; i < realm.n; i++)
        hash = (hash ^ (unsigned char)realm.p[i]) * 1099511628211u;
    hash *= 1099511628211u;
    for (size_t i = 0; i < name.n; i++)
        hash = (hash ^ (unsigned char)name.p[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

/* ---- what is known ---- */

static bool get_bit(const unsigned char *bits, uint64_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

static void set_bit(unsigned char *bits, uint64_t i)
{
    bits[i / 8] |= (unsigned char)(1u << (i % 8));
}

#define KNOWN_BITS (SSE_RECORDS_KNOWN_BYTES * 8ull)

void sse_records_mark_in(unsigned char *known, sse_channel_kind_t kind, sse_str_t realm,
                         sse_str_t name)
{
    uint64_t hash = hash_of(kind, realm, name);
    set_bit(known, hash % KNOWN_BITS);
    set_bit(known, (hash >> 32) % KNOWN_BITS);
}

void sse_records_mark(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm, sse_str_t name)
{
    if (!rs->known)
        rs->known = sse_calloc(1, SSE_RECORDS_KNOWN_BYTES);
    sse_records_mark_in(rs->known, kind, realm, name);
}

void sse_records_known(sse_records_t *rs, const unsigned char *bits)
{
    if (!rs->known)
        rs->known = sse_calloc(1, SSE_RECORDS_KNOWN_BYTES);
    for (size_t i = 0; i < SSE_RECORDS_KNOWN_BYTES; i++)
        if (bits[i]) /* a page that nothing is in stays untouched */
            rs->known[i] |= bits[i];
    rs->known_whole = true;
}

bool sse_records_absent(const sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm,
                        sse_str_t name)
{
    uint64_t hash = hash_of(kind, realm, name);
    return rs->known_whole && !(get_bit(rs->known, hash % KNOWN_BITS) &&
                                get_bit(rs->known, (hash >> 32) % KNOWN_BITS));
}

bool sse_records_came_again(sse_records_t *rs, sse_str_t realm, sse_str_t user)
{
    uint64_t bit = hash_of(SSE_CHANNEL_USER, realm, user) % SEEN_BITS;
    if (!rs->seen)
        rs->seen = sse_calloc(1, SEEN_BITS / 8);
    bool again = get_bit(rs->seen, bit);
    set_bit(rs->seen, bit);
    return again;
}

void sse_records_tick(sse_records_t *rs)
{
    free(rs->seen);
    rs->seen = NULL;
}

/* ---- what is kept ---- */

static sse_kept_t **table_of(sse_records_t *rs, sse_channel_kind_t kind)
{
    return kind == SSE_CHANNEL_USER ? &rs->users : &rs->groups;
}

static sse_kept_t *find(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm, sse_str_t name)
{
    owner_key_t key;
    sse_kept_t *kept = NULL;
    if (make_key(realm, name, &key))
        HASH_FIND(hh, *table_of(rs, kind), key.bytes, key.n, kept);
    return kept;
}

static void let_go(sse_kept_t **table, sse_kept_t *kept)
{
    HASH_DEL(*table, kept);
    sse_record_unref(kept->record);
    free(kept);
}

/* Its streams may go on: it is not absent because it is not kept. */
static void make_room(sse_records_t *rs, sse_channel_kind_t kind)
{
    sse_kept_t **table = table_of(rs, kind);
    unsigned max = kind == SSE_CHANNEL_USER ? USERS_MAX : GROUPS_MAX;
    for (unsigned tries = 0; HASH_COUNT(*table) >= max && tries < max; tries++) {
        sse_kept_t *oldest = *table;
        if (oldest->used || oldest->behind) {
            oldest->used = false;
            HASH_DEL(*table, oldest);
            HASH_ADD_KEYPTR(hh, *table, oldest->key, oldest->hh.keylen, oldest);
            continue;
        }
        sse_records_mark(rs, kind, sse_str(oldest->record->realm), sse_str(oldest->record->name));
        let_go(table, oldest);
    }
}

sse_record_t *sse_records_find(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm,
                               sse_str_t name)
{
    sse_kept_t *kept = find(rs, kind, realm, name);
    if (!kept)
        return NULL;
    kept->used = true;
    return kept->record;
}

static void replace(sse_kept_t *kept, sse_record_t *record)
{
    sse_record_t *old = kept->record;
    kept->record = sse_record_ref(record);
    sse_record_unref(old);
}

void sse_records_keep(sse_records_t *rs, sse_record_t *record)
{
    sse_str_t realm = sse_str(record->realm), name = sse_str(record->name);
    sse_kept_t *kept = find(rs, record->kind, realm, name);
    owner_key_t key;
    if (kept) {
        replace(kept, record);
        return;
    }
    if (!make_key(realm, name, &key))
        return;
    make_room(rs, record->kind);
    kept = sse_calloc(1, sizeof(*kept) + key.n);
    memcpy(kept->key, key.bytes, key.n);
    kept->record = sse_record_ref(record);
    HASH_ADD_KEYPTR(hh, *table_of(rs, record->kind), kept->key, key.n, kept);
}

void sse_records_changed(sse_records_t *rs, sse_record_t *record)
{
    sse_kept_t *kept = find(rs, record->kind, sse_str(record->realm), sse_str(record->name));
    if (kept)
        replace(kept, record);
}

void sse_records_drop(sse_records_t *rs, sse_channel_kind_t kind, sse_str_t realm, sse_str_t name)
{
    sse_kept_t *kept = find(rs, kind, realm, name);
    sse_records_mark(rs, kind, realm, name);
    if (kept)
        let_go(table_of(rs, kind), kept);
}

void sse_records_behind(sse_records_t *rs, sse_str_t realm, sse_str_t user, int difference)
{
    sse_kept_t *kept = find(rs, SSE_CHANNEL_USER, realm, user);
    if (kept)
        kept->behind += (uint32_t)difference;
}

bool sse_records_is_behind(sse_records_t *rs, sse_str_t realm, sse_str_t user)
{
    sse_kept_t *kept = find(rs, SSE_CHANNEL_USER, realm, user);
    return kept && kept->behind;
}

/* ---- the end ---- */

static void clear_table(sse_records_t *rs, sse_channel_kind_t kind)
{
    sse_kept_t **table = table_of(rs, kind), *kept, *next;
    HASH_ITER (hh, *table, kept, next) {
        sse_records_mark(rs, kind, sse_str(kept->record->realm), sse_str(kept->record->name));
        let_go(table, kept);
    }
}

void sse_records_forget_all(sse_records_t *rs)
{
    clear_table(rs, SSE_CHANNEL_USER);
    clear_table(rs, SSE_CHANNEL_GROUP);
    rs->life++;
}

void sse_records_clear(sse_records_t *rs)
{
    sse_records_forget_all(rs);
    free(rs->known);
    free(rs->seen);
    rs->known = rs->seen = NULL;
    rs->known_whole = false;
}
