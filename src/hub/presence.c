/* SPDX-License-Identifier: Apache-2.0 */
/* Hash tables by name; pages are cut by one pass with a heap of the page's size, so the table needs
 * no order of its own. */
#include "hub/presence.h"

#include "core/buf.h"
#include <stdlib.h>
#include <time.h>

sse_presence_realm_t *sse_presence_realm(const sse_presence_t *p, sse_str_t realm)
{
    sse_presence_realm_t *found;
    HASH_FIND(hh, p->realms, realm.p, realm.n, found);
    return found;
}

static sse_presence_realm_t *get_realm(sse_presence_t *p, sse_str_t name)
{
    sse_presence_realm_t *realm = sse_presence_realm(p, name);
    if (!realm) {
        realm = sse_calloc(1, sizeof *realm + name.n + 1);
        memcpy(realm->name, name.p, name.n);
        sse_nametable_init(&realm->users, offsetof(sse_present_t, user));
        HASH_ADD_KEYPTR(hh, p->realms, realm->name, name.n, realm);
    }
    return realm;
}

static void drop_empty(sse_presence_t *p, sse_presence_realm_t *realm)
{
    if (realm->users.count || realm->streams || realm->told)
        return;
    HASH_DELETE(hh, p->realms, realm);
    free(realm);
}

void sse_presence_stream(sse_presence_t *p, sse_str_t name, int difference)
{
    sse_presence_realm_t *realm = get_realm(p, name);
    realm->streams += (uint64_t)(int64_t)difference;
    drop_empty(p, realm);
}

static sse_present_t *find_user(const sse_presence_realm_t *realm, sse_str_t user)
{
    return (sse_present_t *)sse_nametable_find(&realm->users, user);
}

static sse_present_t *get_user(sse_presence_realm_t *realm, sse_str_t user)
{
    sse_present_t *present = find_user(realm, user);
    if (!present) {
        present = sse_calloc(1, offsetof(sse_present_t, user) + user.n + 1);
        memcpy(present->user, user.p, user.n);
        present->since = (int64_t)time(NULL);
        sse_nametable_add(&realm->users, &present->link, user.n);
    }
    return present;
}

/* Drops a user that nothing makes online. True when that was so. */
static bool drop_user(sse_presence_realm_t *realm, sse_present_t *present)
{
    if (present->by_streams || present->polls)
        return false;
    sse_nametable_remove(&realm->users, &present->link);
    free(present);
    return true;
}

bool sse_presence_user(sse_presence_t *p, sse_str_t realm_name, sse_str_t user, uint32_t streams,
                       bool online)
{
    sse_presence_realm_t *realm = get_realm(p, realm_name);
    sse_present_t *present = find_user(realm, user);
    bool changed = online && !present;
    if (online)
        present = get_user(realm, user);
    if (present) {
        present->streams = streams;
        present->by_streams = online;
        changed = drop_user(realm, present) || changed;
    }
    drop_empty(p, realm);
    return changed;
}

bool sse_presence_poll(sse_presence_t *p, sse_str_t realm_name, sse_str_t user, int difference)
{
    sse_presence_realm_t *realm = get_realm(p, realm_name);
    sse_present_t *present = find_user(realm, user);
    bool changed = !present && difference > 0;
    if (changed)
        present = get_user(realm, user);
    if (present) {
        present->polls += (uint32_t)difference;
        changed = drop_user(realm, present) || changed;
    }
    drop_empty(p, realm);
    return changed;
}

const sse_present_t *sse_presence_find(const sse_presence_t *p, sse_str_t realm_name,
                                       sse_str_t user)
{
    const sse_presence_realm_t *realm = sse_presence_realm(p, realm_name);
    return realm ? find_user(realm, user) : NULL;
}

/* ---- pages ---- */

static int compare(sse_str_t a, sse_str_t b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

static int by_name(const void *a, const void *b)
{
    const sse_present_t *x = *(const sse_present_t *const *)a,
                        *y = *(const sse_present_t *const *)b;
    return compare((sse_str_t){x->user, x->link.n}, (sse_str_t){y->user, y->link.n});
}

typedef struct page_t {
    const sse_present_t **heap; /* a max-heap by name */
    size_t n, limit;
    sse_str_t after;
    bool more;
} page_t;

static void sift_down(page_t *page)
{
    const sse_present_t **h = page->heap;
    for (size_t i = 0;;) {
        size_t big = i, l = 2 * i + 1, r = l + 1;
        if (l < page->n && by_name(&h[l], &h[big]) > 0)
            big = l;
        if (r < page->n && by_name(&h[r], &h[big]) > 0)
            big = r;
        if (big == i)
            return;
        const sse_present_t *swap = h[i];
        h[i] = h[big];
        h[big] = swap;
        i = big;
    }
}

static void offer(page_t *page, const sse_present_t *user)
{
    if (compare((sse_str_t){user->user, user->link.n}, page->after) <= 0 && page->after.n)
        return;
    const sse_present_t **h = page->heap;
    if (page->n < page->limit) {
        size_t i = page->n++;
        h[i] = user;
        while (i && by_name(&h[i], &h[(i - 1) / 2]) > 0) {
            const sse_present_t *swap = h[i];
            h[i] = h[(i - 1) / 2];
            h[(i - 1) / 2] = swap;
            i = (i - 1) / 2;
        }
        return;
    }
    page->more = true;
    if (by_name(&user, &h[0]) < 0) {
        h[0] = user;
        sift_down(page);
    }
}

void sse_presence_page(const sse_presence_t *p, sse_str_t realm_name, const sse_str_t *only,
                       size_t n_only, sse_str_t after, size_t limit,
                       const sse_present_t ***out_users, size_t *out_n, bool *out_more)
{
    const sse_presence_realm_t *realm = sse_presence_realm(p, realm_name);
    page_t page = {sse_calloc(limit ? limit : 1, sizeof(sse_present_t *)), 0, limit, after, false};
    if (realm && only) {
        for (size_t i = 0; i < n_only; i++) {
            const sse_present_t *user = find_user(realm, only[i]);
            if (user)
                offer(&page, user);
        }
    } else if (realm) {
        for (const sse_namelink_t *l = NULL; (l = sse_nametable_next(&realm->users, l));)
            offer(&page, (const sse_present_t *)l);
    }
    qsort(page.heap, page.n, sizeof *page.heap, by_name);
    *out_users = page.heap;
    *out_n = page.n;
    *out_more = page.more;
}

void sse_presence_clear(sse_presence_t *p)
{
    while (p->realms) {
        sse_presence_realm_t *realm = p->realms;
        while (realm->users.count) {
            sse_namelink_t *user = sse_nametable_next(&realm->users, NULL);
            sse_nametable_remove(&realm->users, user);
            free(user); /* the link is its first member */
        }
        HASH_DELETE(hh, p->realms, realm);
        free(realm);
    }
}
