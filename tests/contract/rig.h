/* SPDX-License-Identifier: Apache-2.0 */
/* What the contract tests stand on: a broker of any driver on a loop of its own, a log of its
 * upcalls, and each call of the contract as a function that runs the loop until the answer is
 * there. Written against the vtable alone; what a driver needs around it (a directory, a server) is
 * its world's. */
#ifndef SSE_CONTRACT_RIG_H
#define SSE_CONTRACT_RIG_H

#include "../unit/cmocka_all.h"
#include "broker/broker.h"
#include "core/buf.h"

/* What stands behind a driver in one program. */
typedef struct world_t {
    char *url;        /* what SSEBroker would say */
    char *state_dir;  /* a directory of the program's own */
    char *driver_dir; /* SSEDriverDir; NULL: the driver is built in */
    /* Makes both anew: a test failed and its broker still runs. NULL where that does no harm. */
    void (*renew)(void);
} world_t;

extern world_t world;

typedef struct rig_t {
    uv_loop_t loop;
    uv_timer_t watchdog;
    sse_hubconf_t conf;
    sse_broker_t *broker;

    /* ---- upcalls, in order ---- */
    sse_message_t **messages;
    size_t n_messages, cap_messages;
    sse_record_t **changes; /* the records told by `changed` */
    size_t *change_at;      /* how many messages had come before it */
    size_t n_changes, cap_changes;
    sse_broker_state_t state;
    char detail[256];
    unsigned resets;
    bool others;          /* there is another hub: it may disconnect */
    unsigned disconnects; /* told, and the last one */
    char disconnect_kind, disconnect_realm[80], disconnect_name[80];
    size_t disconnect_name_n;
    int disconnect_reason;
    uint64_t disconnect_at;
    struct {
        char user[32];
        bool online;
    } presences[64];
    size_t n_presences;
    struct {
        bool online;
        uint64_t streams, users, hubs;
        int64_t since;
        char page[256]; /* names, a blank after each */
    } presence;         /* the last answer about it */
    unsigned callbacks; /* answers of all kinds */

    /* ---- the last answer ---- */
    bool answered;
    apr_status_t status;
    sse_published_t *published;
    size_t n_published, bad;
    sse_record_t *record;
    sse_record_t **groups;
    size_t n_groups;
    sse_pos_t pos;
    char **names;
    size_t n_names;
    sse_message_t **history;
    size_t n_history;
    bool more;
    size_t gaps[64];
    size_t n_gaps;
    uint64_t gap_end;
    sse_tracking_t tracking;
    char session_user[256];
    uint64_t session_expires;
} rig_t;

/* SSEHistory of the brokers that rig_start makes: 1000 and 3600 unless a test says otherwise. */
extern int64_t rig_history_count, rig_history_seconds;
/* SSEDurability likewise. */
extern const char *rig_durability;

/* A broker in state CONNECTED. */
rig_t *rig_start(void);
/* Creates it and runs until the state is `state`. */
rig_t *rig_start_until(sse_broker_state_t state);
/* Stops the broker in an orderly way; every pending call has been answered. */
void rig_stop(rig_t *r);
/* Frees the rig of a broker that is stopped. */
void rig_dispose(rig_t *r);

/* Runs the loop until *flag; fails the test after ten seconds. */
void rig_wait(rig_t *r, const bool *flag);
void rig_wait_messages(rig_t *r, size_t n);
void rig_wait_state(rig_t *r, sse_broker_state_t state);
/* Runs the loop for so long. */
void rig_run_ms(rig_t *r, unsigned ms);

/* What every test of the suites is set up with. */
int rig_set_up(void **state);
#define contract_test(f) cmocka_unit_test_setup(f, rig_set_up)

/* A realm that no other test of this program or another run uses. */
sse_str_t rig_realm(void);

#define EVENT(n) ((sse_channel_t){SSE_CHANNEL_EVENT, sse_str(n)})
#define USER(n) ((sse_channel_t){SSE_CHANNEL_USER, sse_str(n)})
#define GROUP(n) ((sse_channel_t){SSE_CHANNEL_GROUP, sse_str(n)})
#define BROADCAST ((sse_channel_t){SSE_CHANNEL_BROADCAST, SSE_STR_NONE})
#define NO_SESSION SSE_STR_NONE

/* Tells a driver that wants to know. */
void rig_interest(rig_t *r, sse_str_t realm, sse_channel_t channel, bool on);

/* ---- calls that wait for their answer; it stands in the rig afterwards ---- */

apr_status_t rig_publish(rig_t *r, sse_str_t realm, const sse_publish_t *items, size_t n);
/* One message to one channel; returns its sequence number. */
uint64_t rig_send(rig_t *r, sse_str_t realm, sse_channel_t channel, const char *data);
apr_status_t rig_connect(rig_t *r, sse_str_t realm, const char *user, const char *const *groups,
                         size_t n_groups);
apr_status_t rig_connect_session(rig_t *r, sse_str_t realm, const char *user, sse_str_t session,
                                 uint64_t expires);
apr_status_t rig_history(rig_t *r, sse_str_t realm, const sse_range_t *ranges, size_t n,
                         size_t max_messages, size_t max_bytes);
apr_status_t rig_history_of(rig_t *r, sse_str_t realm, sse_channel_t channel, uint64_t after);
apr_status_t rig_subscribe(rig_t *r, sse_str_t realm, sse_channel_t owner, const char *event,
                           sse_str_t session);
apr_status_t rig_unsubscribe(rig_t *r, sse_str_t realm, sse_channel_t owner, const char *event,
                             sse_str_t session);
apr_status_t rig_record(rig_t *r, sse_str_t realm, sse_channel_t owner);
apr_status_t rig_members_change(rig_t *r, sse_str_t realm, const char *group, bool replace,
                                const char *const *add, size_t n_add, const char *const *remove,
                                size_t n_remove);
apr_status_t rig_members(rig_t *r, sse_str_t realm, const char *group);
apr_status_t rig_forget(rig_t *r, sse_str_t realm, sse_channel_t what);
apr_status_t rig_disconnect(rig_t *r, sse_str_t realm, char kind, sse_str_t name, uint64_t until);
apr_status_t rig_cursor(rig_t *r, sse_str_t realm, const char *user, sse_pos_t last,
                        int64_t delivered_at);
apr_status_t rig_tracking(rig_t *r, sse_str_t realm, const char *user);
apr_status_t rig_session_put(rig_t *r, sse_str_t realm, sse_str_t session, const char *user,
                             uint64_t expires);
apr_status_t rig_session_get(rig_t *r, sse_str_t realm, sse_str_t session);

/* Does the record have this subscription (session empty: for good)? Its start through *start if not
 * NULL. */
bool rig_subscribed(const sse_record_t *record, const char *event, sse_str_t session,
                    uint64_t *start);
bool rig_member(const sse_record_t *record, const char *group, uint64_t *start);
/* The last change told of this owner; NULL if there was none. */
sse_record_t *rig_last_change(rig_t *r, sse_channel_t owner);

/* ---- the suites ---- */

int contract_publish_tests(void);
int contract_history_tests(void);
int contract_records_tests(void);
int contract_life_tests(void);
/* Of drivers that join several hubs and have presence. lease_ms: after which a dead hub's share is
 * gone. */
int contract_hubs_tests(unsigned lease_ms);

#endif
