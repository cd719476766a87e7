/* SPDX-License-Identifier: Apache-2.0 */
/* The broker contract: what joins hubs together and what remembers. The hub speaks only to this;
 * `local` and `redis` are built in, others are shared objects (sse_broker_driver symbol) loaded by
 * URL scheme.
 *
 * Threads. Every function below is called on the hub's control loop, and every callback and upcall
 * is made on it. A callback never runs inside the call that asked for it; it runs exactly once,
 * also when the broker is stopped (APR_EOF). Strings given to a call need live only during the
 * call; strings in results only during the callback.
 *
 * Order. Inside a realm sequence numbers grow in the order in which messages are accepted.
 * `message` upcalls of a realm come in that order. A record that a `changed` upcall or a callback
 * gives reflects all changes accepted before it.
 *
 * Errors. APR_SUCCESS; APR_EAGAIN the broker is away or its store refuses writes (nothing was
 * accepted, or the outcome is open: repeat with a key); APR_EEXIST a key was used with another
 * content; APR_EINVAL; APR_EOF stopping. */
#ifndef SSE_BROKER_H
#define SSE_BROKER_H

#include "broker/message.h"
#include "core/base.h"
#include "core/eventid.h"
#include "core/hubconf.h"
#include <uv.h>

/* ---- channels ---- */

typedef enum sse_channel_kind_t {
    SSE_CHANNEL_EVENT = 'e',
    SSE_CHANNEL_USER = 'u',
    SSE_CHANNEL_GROUP = 'g',
    SSE_CHANNEL_BROADCAST = 'b'
} sse_channel_kind_t;

/* One line of messages with its own history; the realm is given beside it. */
typedef struct sse_channel_t {
    sse_channel_kind_t kind;
    sse_str_t name; /* empty for broadcasts */
} sse_channel_t;

/* ---- publishing ---- */

typedef struct sse_publish_t {
    sse_str_t event;
    sse_str_t data; /* what becomes the data lines: JSON text, or a raw string's characters */
    bool raw;       /* data is a string's own characters (kept for GET history) */
    const sse_channel_t *channels; /* where it goes: users and groups, or one event, or broadcast */
    size_t n_channels;             /* 0: to nobody; it gets an id all the same */
    sse_str_t key;                 /* idempotency; empty: none */
    sse_str_t replace;             /* supersede; empty: none */
    uint32_t ttl;                  /* seconds; 0: SSEHistory's */
} sse_publish_t;

typedef struct sse_published_t {
    sse_pos_t pos;
    bool repeated; /* the key was known: pos is the first one's and nothing is delivered */
} sse_published_t;

/* results has n entries on success. On APR_EEXIST `bad` is the item whose key clashed. */
typedef void (*sse_published_fn)(void *baton, apr_status_t status, const sse_published_t *results,
                                 size_t n, size_t bad);

/* ---- records: what the broker remembers of a user or a group ---- */

typedef struct sse_sub_t {
    char *event;    /* NUL-terminated */
    uint64_t start; /* nothing at or before this sequence number is owed */
    unsigned char session[SSE_SESSION_HASH_LEN]; /* all zero: until removed */
    uint64_t session_expires;                    /* UNIX seconds; 0 = unknown */
} sse_sub_t;

typedef struct sse_membership_t {
    char *group;
    uint64_t start;
} sse_membership_t;

/* Immutable once made, reference-counted with atomics: control loop and reactors share it. One
 * event may stand in `subs` twice: for good and for a session; the earliest start counts. */
typedef struct sse_record_t {
    atomic_uint refs;
    sse_channel_kind_t kind; /* USER or GROUP */
    char *realm;
    char *name;
    uint64_t blocked_until; /* UNIX seconds; POST /disconnect with "for" */
    size_t n_subs;
    sse_sub_t *subs;
    size_t n_memberships; /* users only */
    sse_membership_t *memberships;
} sse_record_t;

SSE_API sse_record_t *sse_record_create(sse_channel_kind_t kind, sse_str_t realm, sse_str_t name,
                                        size_t n_subs, size_t n_memberships);
SSE_API sse_record_t *sse_record_ref(sse_record_t *r);
SSE_API void sse_record_unref(sse_record_t *r); /* NULL is fine */

/* user: the user's record; groups: one record for each of its memberships, in their order; pos: the
 * realm's position: all messages at or below it have been given to the `message` upcall or belong
 * to no channel of interest. The callee takes its own references. */
typedef void (*sse_connected_fn)(void *baton, apr_status_t status, sse_record_t *user,
                                 sse_record_t *const *groups, sse_pos_t pos);
typedef void (*sse_record_fn)(void *baton, apr_status_t status, sse_record_t *record);
typedef void (*sse_names_fn)(void *baton, apr_status_t status, const sse_str_t *names, size_t n);
typedef void (*sse_done_fn)(void *baton, apr_status_t status);

/* ---- history ---- */

typedef struct sse_range_t {
    sse_channel_t channel;
    uint64_t after; /* exclusive */
} sse_range_t;

typedef struct sse_history_t {
    sse_message_t *const *messages; /* ascending, each once; callee takes its own references */
    size_t n_messages;
    bool more;          /* cut at the limit: ask again after the last one's sequence number */
    sse_pos_t pos;      /* without `more`: complete up to here; every later message comes by the
                           `message` upcall after this callback */
    const size_t *gaps; /* ascending indexes of ranges of which something after `after` is gone:
                           trimmed by count or age, past its ttl, forgotten; a message that a newer
                           one superseded is no gap */
    size_t n_gaps;
    uint64_t gap_end; /* the highest sequence number known to be gone */
} sse_history_t;

typedef void (*sse_history_fn)(void *baton, apr_status_t status, const sse_history_t *history);

/* ---- tracking ---- */

typedef struct sse_cursor_t {
    sse_str_t user;
    sse_pos_t last;       /* the last message that the network took for the user */
    int64_t delivered_at; /* UNIX ms */
} sse_cursor_t;

typedef struct sse_tracking_t {
    sse_pos_t last;       /* epoch 0: nothing was ever delivered */
    int64_t delivered_at; /* UNIX ms; 0: never */
    uint64_t pending;     /* messages after `last` in the user's subscriptions, its groups' and
                             directed ones, each once; broadcasts do not count */
} sse_tracking_t;

typedef void (*sse_tracking_fn)(void *baton, apr_status_t status, const sse_tracking_t *tracking);

/* ---- sessions and presence ---- */

typedef void (*sse_session_fn)(void *baton, apr_status_t status, sse_str_t user, uint64_t expires);
typedef void (*sse_presence_counts_fn)(void *baton, apr_status_t status, uint64_t streams,
                                       uint64_t users, uint64_t hubs);
/* since: UNIX seconds, 0 when offline. A user in its grace is online with 0 streams. */
typedef void (*sse_presence_user_fn)(void *baton, apr_status_t status, bool online,
                                     uint64_t streams, int64_t since);
typedef void (*sse_presence_page_fn)(void *baton, apr_status_t status, const sse_str_t *users,
                                     size_t n, bool more);

/* ---- upcalls: what the broker tells the hub ---- */

typedef enum sse_broker_state_t {
    SSE_BROKER_STARTING,
    SSE_BROKER_CONNECTED,
    SSE_BROKER_LOST
} sse_broker_state_t;

typedef struct sse_broker_upcalls_t {
    /* A message to fan out; the callee takes its own reference. */
    void (*message)(void *hub, sse_message_t *message);
    /* A record changed (here or on another hub). For a user `groups` are the records of its
     * memberships, in their order (as in sse_connected_fn); for a group NULL. Records of users and
     * groups without a stream here may be left out. */
    void (*changed)(void *hub, sse_record_t *record, sse_record_t *const *groups);
    /* Positions of another epoch were lost or stepped back: every stream of the realm (NULL: of
     * all) is told broker-reset. */
    void (*reset)(void *hub, const char *realm, sse_pos_t pos);
    /* Another hub's `disconnect`: end the streams of a user ('u'), group ('g') or session ('s'). */
    void (*disconnect)(void *hub, const char *realm, char kind, sse_str_t name, int reason,
                       uint64_t revoked_at);
    void (*state)(void *hub, sse_broker_state_t state, const char *detail);
    /* A user came online or went offline, over all hubs. Only from drivers with presence. */
    void (*presence)(void *hub, const char *realm, sse_str_t user, bool online);
} sse_broker_upcalls_t;

/* ---- the driver's side ---- */

typedef struct sse_broker_t sse_broker_t; /* each driver embeds it as its first member */

typedef struct sse_broker_env_t {
    uv_loop_t *loop;
    const sse_hubconf_t *conf;
    const sse_broker_upcalls_t *up;
    void *hub; /* first argument of the upcalls */
} sse_broker_env_t;

/* A driver of its own is a shared object sse_broker_<scheme>.so in the driver directory
 * (SSEDriverDir) that defines sse_broker_driver and may call what is marked SSE_API; this header
 * and those that it includes, core/buf.h and core/log.h are installed for it. The number grows with
 * every change of one of them. */
#define SSE_BROKER_ABI 1

typedef struct sse_broker_driver_t {
    int abi;            /* SSE_BROKER_ABI */
    const char *scheme; /* "local", "redis" */

    /* Allocates and begins to start; connected is told by `state`. APR_EINVAL with a sentence in
     * problem (256 bytes) for a bad URL or an unusable store. */
    apr_status_t (*create)(const sse_broker_env_t *env, const char *url, sse_broker_t **out_broker,
                           char *problem);
    /* Ends every pending call with APR_EOF, flushes, closes all handles, then calls done and frees.
     */
    void (*stop)(sse_broker_t *b, sse_done_fn done, void *baton);

    void (*publish)(sse_broker_t *b, sse_str_t realm, const sse_publish_t *items, size_t n,
                    sse_published_fn cb, void *baton);

    /* A user's stream is about to open. groups non-NULL: the user's groups are exactly these from
     * now on (new ones begin at the current position). session: SSE_SESSION_HASH_LEN bytes or
     * empty; session_expires (UNIX seconds, 0 = unknown) refreshes the user's subscriptions of that
     * session. user empty: anonymous, only the position is wanted (user record NULL). */
    void (*connect)(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                    size_t n_groups, sse_str_t session, uint64_t session_expires,
                    sse_connected_fn cb, void *baton);

    void (*history)(sse_broker_t *b, sse_str_t realm, const sse_range_t *ranges, size_t n_ranges,
                    size_t max_messages, size_t max_bytes, sse_history_fn cb, void *baton);

    /* kind USER or GROUP. session: SSE_SESSION_HASH_LEN bytes or empty. The record in force
     * afterwards. unsubscribe without session removes both kinds. */
    void (*subscribe)(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                      const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                      void *baton);
    void (*unsubscribe)(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                        const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                        void *baton);
    void (*record)(sse_broker_t *b, sse_str_t realm, sse_channel_t owner, sse_record_fn cb,
                   void *baton);

    /* Membership. replace: the members are exactly `add`. */
    void (*members_change)(sse_broker_t *b, sse_str_t realm, sse_str_t group, bool replace,
                           const sse_str_t *add, size_t n_add, const sse_str_t *remove,
                           size_t n_remove, sse_done_fn cb, void *baton);
    void (*members)(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_names_fn cb,
                    void *baton);
    /* Forget a user (subscriptions, memberships, directed messages, tracking), a group, or an
     * event's history. */
    void (*forget)(sse_broker_t *b, sse_str_t realm, sse_channel_t what, sse_done_fn cb,
                   void *baton);

    /* Tell every other hub (by its `disconnect` upcall; the calling hub ends its own streams
     * itself): kind 'u', 'g' or 's' (name: the session hash, raw). until: UNIX seconds until which
     * new streams of the user are refused (blocked_until of its record), 0 = not. A session's end
     * also ends its subscriptions (`changed` upcalls). */
    void (*disconnect)(sse_broker_t *b, sse_str_t realm, char kind, sse_str_t name, int reason,
                       uint64_t until, sse_done_fn cb, void *baton);

    /* Interest; NULL: every message and change comes by the upcalls anyhow. The hub has (on) or no
     * longer has (off) a stream that carries the channel: one `on` before the first such stream
     * reads history, one `off` after the last. Messages of channels without interest and changes of
     * users and groups without may be left out of the upcalls. No callback: history() asked for
     * after `on` joins the upcalls without a hole. Kept over a lost and regained connection.
     * Changes come by `changed` in their place among the messages of the realm: a message accepted
     * after a change is given after it. */
    void (*interest)(sse_broker_t *b, sse_str_t realm, sse_channel_t channel, bool on);

    /* Tracking: sets what the network last took for users, as given (a cursor may step back). */
    void (*cursors)(sse_broker_t *b, sse_str_t realm, const sse_cursor_t *cursors, size_t n,
                    sse_done_fn cb, void *baton);
    void (*tracking)(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_tracking_fn cb,
                     void *baton);

    /* Sessions that the application mirrors (SSESession hub). session: SSE_SESSION_HASH_LEN bytes;
     * expires: UNIX seconds. session_get: APR_NOTFOUND when there is none or it has expired.
     * disconnect 's' deletes it. */
    void (*session_put)(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_str_t user,
                        uint64_t expires, sse_done_fn cb, void *baton);
    void (*session_get)(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_session_fn cb,
                        void *baton);

    /* Presence over all hubs; all five NULL: the hub's own view is the whole. A hub's share runs
     * out by itself when the hub dies. */
    /* This hub's streams of a user; offline: none, and its grace is over. Every hub is told by the
     * `presence` upcall when the user came online or went offline as a whole. */
    void (*presence_user_set)(sse_broker_t *b, sse_str_t realm, sse_str_t user, uint32_t streams,
                              bool online);
    /* This hub's streams of the realm, anonymous ones included. */
    void (*presence_streams_set)(sse_broker_t *b, sse_str_t realm, uint64_t streams);
    void (*presence_counts)(sse_broker_t *b, sse_str_t realm, sse_presence_counts_fn cb,
                            void *baton);
    void (*presence_user)(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_presence_user_fn cb,
                          void *baton);
    /* Online users in byte order above `after`, at most `limit`; of one group when group is not
     * empty. */
    void (*presence_page)(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_str_t after,
                          size_t limit, sse_presence_page_fn cb, void *baton);
} sse_broker_driver_t;

struct sse_broker_t {
    const sse_broker_driver_t *driver;
    sse_broker_env_t env;
};

/* Defined by a shared object; the hub itself has none. */
SSE_API extern const sse_broker_driver_t sse_broker_driver;

/* ---- the hub's side ---- */

/* Finds the driver of the URL's scheme ("local" alone is the embedded one) and creates it. */
apr_status_t sse_broker_create(const sse_broker_env_t *env, const char *url,
                               sse_broker_t **out_broker, char *problem);

#endif
