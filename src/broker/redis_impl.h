/* SPDX-License-Identifier: Apache-2.0 */
/* What the redis_* files share. The driver has nodes (servers with two connections each) and
 * realms; a realm lives on one node. A call becomes a job: one script on the realm's node. Control
 * loop only. */
#ifndef SSE_REDIS_IMPL_H
#define SSE_REDIS_IMPL_H

#include "broker/redis.h"
#include "broker/redis_conn.h"
#include "core/brokerurl.h"
#include <uthash.h>

typedef struct sse_redis_t sse_redis_t;
typedef struct sse_redisrealm_t sse_redisrealm_t;
typedef struct sse_redisnode_t sse_redisnode_t;
typedef struct sse_redisjob_t sse_redisjob_t;

/* ---- scripts ---- */

typedef enum sse_redisscript_t {
    SSE_SCRIPT_CHECK,
    SSE_SCRIPT_CONNECT,
    SSE_SCRIPT_CURSORS,
    SSE_SCRIPT_DISCONNECT,
    SSE_SCRIPT_FORGET,
    SSE_SCRIPT_HISTORY,
    SSE_SCRIPT_MEMBERS,
    SSE_SCRIPT_MEMBERS_CHANGE,
    SSE_SCRIPT_PRESENCE_COUNTS,
    SSE_SCRIPT_PRESENCE_LEAVE,
    SSE_SCRIPT_PRESENCE_PAGE,
    SSE_SCRIPT_PRESENCE_SET,
    SSE_SCRIPT_PRESENCE_USER,
    SSE_SCRIPT_PUBLISH,
    SSE_SCRIPT_RECORDS,
    SSE_SCRIPT_SESSION_GET,
    SSE_SCRIPT_SESSION_PUT,
    SSE_SCRIPT_SUBSCRIBE,
    SSE_SCRIPT_TRACKING,
    SSE_SCRIPT_UNSUBSCRIBE,
    SSE_SCRIPTS
} sse_redisscript_t;

sse_str_t sse_redisscript_source(sse_redisscript_t script);
const char *sse_redisscript_sha(sse_redisscript_t script); /* 40 hex digits */

/* ---- jobs ---- */

/* What Redis said, or no reply with why. reply is an array of at least three; it is freed after the
 * call. */
typedef void (*sse_redisjob_fn)(sse_redisjob_t *job, apr_status_t status, redisReply *reply);

/* Whom a call of the contract answers. */
typedef union sse_redisanswer_t {
    sse_published_fn published;
    sse_connected_fn connected;
    sse_record_fn record;
    sse_names_fn names;
    sse_done_fn done;
    sse_history_fn history;
    sse_tracking_fn tracking;
    sse_session_fn session;
    sse_presence_counts_fn counts;
    sse_presence_user_fn user;
    sse_presence_page_fn page;
} sse_redisanswer_t;

typedef struct sse_redisguest_t {
    sse_connected_fn cb;
    void *baton;
} sse_redisguest_t;

struct sse_redisjob_t {
    sse_redisjob_t *next, *prev, *reading_next;
    sse_redis_t *redis;
    sse_redisrealm_t *realm;
    sse_redisnode_t *node; /* to which it was sent */
    sse_redisscript_t script;
    sse_redisjob_fn done;
    sse_buf_t args; /* the script's own, encoded */
    size_t n_args;
    bool fenced;   /* answered when all that was published before it has been given up */
    bool internal; /* part of a node's start */
    bool waited;   /* WAIT follows it */
    unsigned tries;
    uint64_t asked; /* loop ms when it first met a slot that was under way */
    uint64_t token; /* the PING that must come back before it is sent: subscriptions stand then */
    uint64_t fence; /* the PING that must come back before it is answered */
    uint64_t floor; /* history: all messages at or below it had been given when it began */
    redisReply *reply;
    apr_status_t status;
    /* The call: */
    sse_redisanswer_t cb;
    void *baton;
    sse_redisguest_t *guests; /* others whom this connect without user answers */
    size_t n_guests, cap_guests;
    size_t n_items, max_messages;
    sse_range_t *ranges; /* names behind them in the same allocation */
    size_t n_ranges;
    size_t n_asked; /* the first ones; of the others nothing has been missed */
    size_t *places; /* of those asked for in the call; in the same allocation */
    unsigned term;  /* of the realm when it was submitted */
};

sse_redisjob_t *sse_redisjob_create(sse_redis_t *redis, sse_str_t realm, sse_redisscript_t script,
                                    sse_redisjob_fn done, void *baton);
void sse_redisjob_arg(sse_redisjob_t *job, sse_str_t arg);
void sse_redisjob_number(sse_redisjob_t *job, int64_t n);
/* One that answers a call of the contract. */
sse_redisjob_t *sse_redisanswer_job(sse_broker_t *b, sse_str_t realm, sse_redisscript_t script,
                                    sse_redisanswer_t cb, void *baton);
/* Hands the job to its realm's node; it frees itself. */
void sse_redisjob_submit(sse_redisjob_t *job);
/* Answers it and frees it; not within a call of the contract. */
void sse_redisjob_finish(sse_redisjob_t *job);
/* Frees one that was not submitted. */
void sse_redisjob_drop(sse_redisjob_t *job);
/* Answers it without a reply in a turn of its own. */
void sse_redisjob_answer_later(sse_redisjob_t *job, apr_status_t status);
void sse_redisjob_answer_waiting(sse_redis_t *redis);

/* ---- realms ---- */

typedef struct sse_redischannel_t {
    UT_hash_handle hh;
    unsigned
        term; /* the realm's, when all after `since` comes by the subscription; or an old one */
    uint64_t since; /* number */
    uint64_t last;  /* the highest number given of this channel */
    uint64_t token; /* the PING after which the subscription stands */
    size_t n;
    char key[]; /* kind, ':', name */
} sse_redischannel_t;

typedef struct sse_redisuser_t {
    UT_hash_handle hh;
    struct sse_redisuser_t *dirty_next, *leaving_next;
    bool dirty, online;
    uint32_t streams;
    size_t n;
    char name[];
} sse_redisuser_t;

struct sse_redisrealm_t {
    UT_hash_handle hh;
    sse_redis_t *redis;
    sse_redisnode_t *node;
    char *name;   /* NUL-terminated */
    char *prefix; /* of its keys: "<prefix>{<name>}:" */
    uint16_t slot;
    sse_pos_t known;               /* the highest number heard of; epoch 0: nothing yet */
    char stamp[24];                /* of the known number */
    uint64_t given;                /* all of interest at or below it has been given to the upcall */
    sse_redisjob_t *position;      /* the connect without user that is under way */
    sse_redisjob_t *next_position; /* goes when it has come back */
    sse_redischannel_t *channels;
    unsigned term;         /* counts how often subscriptions may have missed something, from 1 */
    unsigned leaving_wide; /* the realm-wide channel's SUNSUBSCRIBEs that are not confirmed yet */
    bool stray;            /* the server dropped its sharded channels: the slot went elsewhere */
    /* Messages given while histories are under way. */
    sse_message_t **recent;
    size_t n_recent, cap_recent, histories;
    sse_redisjob_t *reading; /* histories under way, by reading_next */
    /* Presence: this hub's share. */
    sse_redisuser_t *users, *dirty;
    sse_redisuser_t *leaving; /* offline, and not yet known to be saved */
    uint64_t streams;
    bool streams_dirty, told_lost, saving;
    bool moved;      /* to another node: what it knows is compared there */
    uint64_t leased; /* loop ms of the last lease */
};

/* "kind:name", as in keys. */
typedef struct sse_rediskey_t {
    size_t n;
    char p[SSE_GROUP_MAX + 2];
} sse_rediskey_t;

void sse_redisrealm_key(char kind, sse_str_t name, sse_rediskey_t *out);

/* NULL when add is false and there is none. */
sse_redisrealm_t *sse_redisrealm_get(sse_redis_t *redis, sse_str_t name, bool add);
void sse_redisrealm_free_all(sse_redis_t *redis);
/* A reply or message of the realm told its epoch and a number. */
void sse_redisrealm_heard(sse_redisrealm_t *realm, uint64_t epoch, uint64_t seq, sse_str_t stamp,
                          bool all_given);
/* What came on the channel (of the realm's own kind, after the prefix). */
void sse_redisrealm_take(sse_redisrealm_t *realm, sse_str_t payload);
void sse_redisrealm_control(sse_redisrealm_t *realm, sse_str_t payload);
void sse_redisrealm_give(sse_redisrealm_t *realm, sse_message_t *m);
void sse_redisrealm_give_record(sse_redisrealm_t *realm, sse_str_t packed);
void sse_redisrealm_reading(sse_redisrealm_t *realm, sse_redisjob_t *job, bool on);
/* Subscriptions may have missed something. */
void sse_redisrealm_doubt(sse_redisrealm_t *realm);
/* A history was read with these subscriptions in force, when the realm was at `seq`. */
void sse_redisrealm_complete(const sse_redisjob_t *job, uint64_t seq);
/* Nothing of the channel came after that number that the subscription has not told or will. */
bool sse_redisrealm_unmissed(const sse_redisrealm_t *realm, sse_channel_t channel, uint64_t after);
/* The realm that a key or channel of it names; *out_rest is what follows its prefix. */
sse_redisrealm_t *sse_redisrealm_of(sse_redis_t *redis, sse_str_t key, bool add,
                                    sse_str_t *out_rest);

/* ---- nodes ---- */

typedef enum sse_redisnode_state_t {
    SSE_NODE_DOWN, /* waits to try again */
    SSE_NODE_CONNECTING,
    SSE_NODE_CATCHING, /* both connections stand: subscribes, reads what was missed */
    SSE_NODE_READY
} sse_redisnode_state_t;

typedef struct sse_redisheld_t {
    struct sse_redisheld_t *next;
    sse_redisrealm_t *realm;
    size_t n;
    char payload[];
} sse_redisheld_t;

struct sse_redisnode_t {
    sse_redis_t *redis;
    sse_redisnode_state_t state;
    char *host; /* NULL: found out before each connect (Sentinel), or a UNIX socket */
    uint16_t port;
    bool ever, failed; /* it has been ready; its last attempt failed */
    unsigned attempts;
    sse_redisconn_t *commands, *pushes;
    unsigned conns_ready;
    uv_timer_t retry;
    char run_id[48]; /* of the server's last life */
    bool same_life;
    sse_redisjob_t *queue, **queue_tail; /* wait for a token or for the node */
    sse_redisjob_t *sent;                /* by next and prev */
    sse_redisjob_t *fenced, **fenced_tail;
    bool sharded; /* channels are of the slot's shard alone (SSUBSCRIBE, SPUBLISH) */
    /* PINGs on the pushing connection: what was said there before one has been done when it comes
     * back. */
    uint64_t pings_sent, pongs;
    uint64_t subscribed; /* the PING after the last subscription */
    bool ping_wanted;    /* at the end of this turn */
    bool recover_again;  /* a realm came while a recovery was under way */
    size_t queue_bytes;
    sse_redisheld_t *held, **held_tail;
    struct sse_redisrecovery_t *recovery;
};

sse_redisnode_t *sse_redisnode_create(sse_redis_t *redis, const char *host, uint16_t port);
void sse_redisnode_submit(sse_redisnode_t *node, sse_redisjob_t *job);
void sse_redisnode_submit_internal(sse_redisnode_t *node, sse_redisjob_t *job);
/* Subscribes or unsubscribes a channel (kind:name or "*") of a realm. */
void sse_redisnode_subscribe(sse_redisnode_t *node, sse_redisrealm_t *realm, sse_str_t channel,
                             bool on);
/* All channels of a realm's interest. */
void sse_redisnode_subscribe_realm(sse_redisnode_t *node, sse_redisrealm_t *realm);
void sse_redisnode_unsubscribe_realm(sse_redisnode_t *node, sse_redisrealm_t *realm);
void sse_redisnode_lose(sse_redisnode_t *node, const char *why);
/* Recovery is over. */
void sse_redisnode_ready(sse_redisnode_t *node);
/* Hands over the jobs of a realm that are not sent yet. */
void sse_redisnode_take_queued(sse_redisnode_t *from, sse_redisrealm_t *realm, sse_redisnode_t *to);
/* A realm came: reads what it missed. */
void sse_redisnode_again(sse_redisnode_t *node);
bool sse_redisnode_idle(const sse_redisnode_t *node);
/* Ends all its jobs with the status and closes it. */
void sse_redisnode_close(sse_redisnode_t *node);

/* Asks for a PING on the pushing connection that leaves after all that was said there; its number.
 */
uint64_t sse_redissend_ping(sse_redisnode_t *node);
void sse_redissend_pong(sse_redisnode_t *node);
void sse_redissend_queued(sse_redisnode_t *node); /* what may be sent now */
/* Answers what is queued or fenced; what is sent is answered by its connection's end. */
void sse_redissend_fail(sse_redisnode_t *node, apr_status_t status);

/* Reads what the realms of a node missed; then sse_redisnode_ready. */
void sse_redisrecovery_begin(sse_redisnode_t *node);
void sse_redisrecovery_drop(sse_redisnode_t *node);

/* ---- Sentinel ---- */

typedef struct sse_redissentinel_t sse_redissentinel_t;
typedef void (*sse_redissentinel_fn)(sse_redisnode_t *node, const char *host, uint16_t port,
                                     const char *problem);
/* Asks the Sentinels in turn where the master is; host NULL: none knows. */
sse_redissentinel_t *sse_redissentinel_ask(sse_redisnode_t *node, sse_redissentinel_fn cb);
void sse_redissentinel_cancel(sse_redissentinel_t *s);

/* ---- Cluster ---- */

uint16_t sse_rediscluster_slot(sse_str_t key); /* of a hash tag */
/* Places a realm that is new. */
sse_redisnode_t *sse_rediscluster_place(sse_redis_t *redis, uint16_t slot);
/* "MOVED slot host:port": the slot's realms go there. False: it cannot be followed. */
bool sse_rediscluster_moved(sse_redisnode_t *node, const char *what);
/* A slot is on its way ("ASK ..."): the job waits until it has arrived. False: not any longer. */
bool sse_rediscluster_wait(sse_redisjob_t *job);
/* Looks the slots up anew. */
void sse_rediscluster_node_lost(sse_redisnode_t *node);
void sse_rediscluster_begin(sse_redis_t *redis);
void sse_rediscluster_close(sse_redis_t *redis);

/* ---- the driver ---- */

struct sse_redis_t {
    sse_broker_t base;
    sse_brokerurl_t url;
    char hub[17];
    bool stopping;
    sse_done_fn stopped;
    void *stopped_baton;
    sse_redisrealm_t *realms;
    sse_redisnode_t *nodes[256];
    size_t n_nodes;
    sse_redissentinel_t *asking;
    struct sse_rediscluster_t *cluster;
    size_t next_sentinel;
    sse_broker_state_t state;
    uv_timer_t second, defer, leave, save;
    sse_redisjob_t *waiting, **waiting_tail; /* answered in the next turn */
    unsigned open;                           /* handles and connections that are not closed yet */
    uint64_t leave_by;                       /* loop ms */
    uint64_t complained;                     /* loop ms */
    bool saving_hubs;
};

apr_status_t sse_redis_create(const sse_broker_env_t *env, const char *url,
                              sse_broker_t **out_broker, char *problem);
void sse_redis_stop(sse_broker_t *b, sse_done_fn done, void *baton);
/* A node's state changed: tells the hub what that makes of the whole. */
void sse_redis_state(sse_redis_t *redis, const char *detail);
void sse_redis_closed(void *redis); /* one handle or connection less */
void sse_redis_conn_conf(const sse_redis_t *redis, const sse_redisnode_t *node,
                         sse_redisconn_conf_t *out);

/* ---- presence ---- */

void sse_redispresence_user_set(sse_broker_t *b, sse_str_t realm, sse_str_t user, uint32_t streams,
                                bool online);
void sse_redispresence_streams_set(sse_broker_t *b, sse_str_t realm, uint64_t streams);
void sse_redispresence_counts(sse_broker_t *b, sse_str_t realm, sse_presence_counts_fn cb,
                              void *baton);
void sse_redispresence_user(sse_broker_t *b, sse_str_t realm, sse_str_t user,
                            sse_presence_user_fn cb, void *baton);
void sse_redispresence_page(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_str_t after,
                            size_t limit, sse_presence_page_fn cb, void *baton);
/* Saves what changed and renews leases. */
void sse_redispresence_save(sse_redis_t *redis, bool renew);
void sse_redispresence_leave(sse_redis_t *redis);
void sse_redispresence_clear(sse_redisrealm_t *realm);

/* ---- reading what scripts wrote ---- */

bool sse_redistext_net(sse_str_t *rest, sse_str_t *out);
bool sse_redistext_number(sse_str_t *rest, uint64_t *out); /* and one byte after it */
/* A record off *packed; NULL if it is none. */
sse_record_t *sse_redistext_record(sse_str_t realm, sse_str_t *packed);
/* A user's record and those of its groups (*out_groups on malloc), or a group's. */
sse_record_t *sse_redistext_full(sse_str_t realm, sse_str_t *packed, sse_record_t ***out_groups);
void sse_redistext_full_free(sse_record_t *record, sse_record_t **groups);
/* qsort of an array of messages. */
int sse_redistext_by_number(const void *a, const void *b);
sse_message_t *sse_redistext_message(sse_str_t realm, sse_pos_t pos, sse_str_t body);
bool sse_redistext_epoch(sse_str_t hex, uint64_t *out);

#endif
