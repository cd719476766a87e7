/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk_* files share. */
#ifndef SSE_DISK_IMPL_H
#define SSE_DISK_IMPL_H

#include "broker/disk.h"
#include "broker/disk_sql.h"
#include "core/buf.h"

#include <uthash.h>

/* What the writer remembers of a channel; dropped at rollback and when there are too many. */
typedef struct sse_disk_channel_t {
    UT_hash_handle hh;
    int64_t id;
    uint32_t since; /* messages since it was last put up for trimming */
    size_t key_n;
    char key[]; /* kind, realm, NUL, name */
} sse_disk_channel_t;

typedef struct sse_disk_copier_t sse_disk_copier_t;

struct sse_disk_t {
    sse_sql_t sql;
    sse_disk_conf_t conf;
    char problem[256];
    uint64_t epoch;
    uint64_t seq;       /* last number given out */
    uint64_t saved_seq; /* as it stands in the file */
    int log_pages;      /* in the log, as of the last commit */
    int log_copied;     /* when copying was asked for last */
    sse_disk_copier_t *copier;
    int64_t probe;
    sse_disk_channel_t *channels;
    int64_t *dirty; /* ids of channels that may be over their count, a ring of power-of-two size */
    size_t dirty_head, dirty_n, dirty_cap;
    int64_t swept;         /* the channel sweep's place */
    int64_t next_sweep_ms; /* when the next sweep begins */
};

void sse_disk_copier_start(sse_disk_t *s);
void sse_disk_copier_stop(sse_disk_t *s); /* fine if there is none */

/* Keeps SQLite's words and returns sse_sql_status(rc). */
apr_status_t sse_disk_fail(sse_disk_t *s, int rc);

/* The channel's id. add: made if there is none, else *out_id 0. */
apr_status_t sse_disk_channel_id(sse_disk_t *s, sse_str_t realm, sse_channel_t channel, bool add,
                                 int64_t *out_id);
/* As above, and counts one message for trimming. */
apr_status_t sse_disk_channel_count(sse_disk_t *s, sse_str_t realm, sse_channel_t channel,
                                    int64_t *out_id);
void sse_disk_channels_clear(sse_disk_t *s);
void sse_disk_dirty_push(sse_disk_t *s, int64_t id);

/* Targets as they stand in a message's row. */
void sse_disk_targets_pack(const sse_channel_t *channels, size_t n, sse_buf_t *out);
/* Takes the first one off *packed; false at the end. */
bool sse_disk_targets_next(sse_str_t *packed, sse_channel_t *out_channel);

/* Removes a message from all its channels and adds their number to *work. gone: they are marked
 * trimmed (it was not superseded). */
apr_status_t sse_disk_message_remove(sse_disk_t *s, uint64_t seq, bool gone, int64_t now_ms,
                                     size_t *work);

/* Removes mirrored sessions: one; those of a user; those that ran out, at most `limit`. */
apr_status_t sse_disk_session_delete(sse_disk_t *s, sse_str_t realm, sse_str_t session);
apr_status_t sse_disk_session_forget(sse_disk_t *s, sse_str_t realm, sse_str_t user);
apr_status_t sse_disk_session_expire(sse_disk_t *s, int64_t now_ms, size_t limit);

/* Removes a session's subscriptions; its owners' changes go into the job. */
apr_status_t sse_disk_session_end(sse_disk_t *s, sse_job_t *job, sse_str_t realm, sse_str_t session,
                                  int64_t now_ms);

/* Reads a record; expired session subscriptions are left out. NULL with *out_rc set on failure. */
sse_record_t *sse_disk_record_load(sse_sql_t *sql, int *out_rc, sse_str_t realm,
                                   sse_channel_t owner, int64_t now_ms);

/* A user's memberships while they are gathered. */
typedef struct sse_disk_groups_t {
    sse_membership_t *groups;
    size_t n, cap;
} sse_disk_groups_t;

int sse_disk_groups_load(sse_sql_t *sql, sse_str_t realm, sse_str_t user, sse_disk_groups_t *out);
void sse_disk_groups_add(sse_disk_groups_t *list, sse_str_t name, uint64_t start);
/* The records of a user's groups, in the order of its memberships; *out_groups is on malloc, NULL
 * if there are none. */
apr_status_t sse_disk_record_groups(sse_disk_t *s, const sse_record_t *user, int64_t now_ms,
                                    sse_record_t ***out_groups);
/* Puts the record as it is now into the job, as a change to tell. */
apr_status_t sse_disk_record_tell(sse_disk_t *s, sse_job_t *job, sse_str_t realm,
                                  sse_channel_t owner, int64_t now_ms);
/* The job's own record as a result, and as a change if it is one. */
apr_status_t sse_disk_record_answer(sse_disk_t *s, sse_job_t *job, bool changed, int64_t now_ms);
/* The users of the job's group; *out_users is on malloc, the names in the job's arena. */
apr_status_t sse_disk_members_list(sse_disk_t *s, sse_job_t *job, sse_str_t **out_users,
                                   size_t *out_n);
/* Takes a user into or out of the job's group; tells its record if that changed anything. */
apr_status_t sse_disk_member_set(sse_disk_t *s, sse_job_t *job, sse_str_t user, bool in,
                                 int64_t now_ms);

#endif
