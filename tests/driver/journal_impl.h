/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the example driver's state share: messages (journal_messages.c) and
 * records (journal_records.c). Everything is found by looking through lists: an example. */
#ifndef JOURNAL_IMPL_H
#define JOURNAL_IMPL_H

#include "journal_state.h"

typedef struct entry_t {
    sse_message_t *message;
    char *replace; /* NULL: nothing supersedes it */
    size_t replace_n;
} entry_t;

typedef struct channel_t {
    struct channel_t *next;
    sse_channel_t id; /* the name is the channel's own */
    entry_t *entries; /* ascending */
    size_t n, cap;
    uint64_t gone; /* the highest number that is no longer here */
} channel_t;

typedef struct key_t {
    struct key_t *next;
    char *id, *content; /* lines */
    size_t id_n, content_n;
    uint64_t seq;
    int64_t until; /* UNIX ms */
} pubkey_t;

typedef struct sub_t {
    struct sub_t *next;
    char *event;
    uint64_t start, expires;
    unsigned char session[SSE_SESSION_HASH_LEN]; /* zero: for good */
} sub_t;

typedef struct membership_t {
    struct membership_t *next;
    char *group;
    uint64_t start;
} membership_t;

struct state_owner_t {
    state_owner_t *next;
    sse_channel_kind_t kind;
    char *name;
    uint64_t blocked_until;
    sub_t *subs;
    membership_t *memberships;
    sse_pos_t last;
    int64_t delivered_at;
};

typedef struct session_t {
    struct session_t *next;
    unsigned char hash[SSE_SESSION_HASH_LEN];
    char *user;
    uint64_t expires;
} session_t;

typedef struct realm_t {
    struct realm_t *next;
    char *name;
    uint64_t seq;
    channel_t *channels;
    pubkey_t *keys;
    state_owner_t *owners;
    session_t *sessions;
} realm_t;

struct state_t {
    uint64_t epoch;
    int64_t count, seconds; /* SSEHistory */
    realm_t *realms;
    const sse_broker_upcalls_t *up; /* NULL: old lines are being read */
    void *hub;
};

/* Takes the realm's name off the line. */
realm_t *state_realm(state_t *s, sse_str_t *line);
channel_t *state_channel(realm_t *realm, sse_channel_t id, bool add);
/* Lets go of what is past its age or ttl. */
void state_expire(state_t *s, channel_t *channel, int64_t now);
void state_channel_empty(channel_t *channel);
state_owner_t *state_owner(realm_t *realm, sse_channel_kind_t kind, sse_str_t name, bool add);
void state_realm_free_records(realm_t *realm);

#endif
