/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded broker's memory on disk: one SQLite file in WAL mode under SSEStateDir, locked by
 * its hub.
 *
 * Two faces. sse_disk_t is the writing one: it numbers messages, changes records and trims; only
 * the writer thread calls it. sse_disk_reader_t has a read-only connection of its own and serves
 * history; only the reader thread calls it.
 *
 * Statuses: APR_SUCCESS; APR_EAGAIN the disk is full, read-only or failing (nothing of the
 * transaction is kept, the caller rolls back); APR_EGENERAL the file is corrupt; others as said. */
#ifndef SSE_DISK_H
#define SSE_DISK_H

#include "broker/local_job.h"

typedef struct sse_disk_t sse_disk_t;
typedef struct sse_disk_reader_t sse_disk_reader_t;

typedef struct sse_disk_conf_t {
    const char *dir;         /* outlives the store */
    bool full;               /* SSEDurability full */
    int64_t history_count;   /* 0 or less: none is kept */
    int64_t history_seconds; /* 0 or less: none is kept */
} sse_disk_conf_t;

/* ---- the directory ---- */

/* APR_EINVAL with a sentence in problem (256 bytes): no directory, or on a network file system. */
apr_status_t sse_disk_place_check(const char *dir, char *problem);
/* Takes the directory's lock without waiting; out_fd holds it until closed or the process ends.
 * APR_EBUSY: another has it. */
apr_status_t sse_disk_place_lock(const char *dir, int *out_fd, char *problem);
/* Renames a corrupt database and its side files; out_name (64 bytes) is what it is called now. */
apr_status_t sse_disk_place_set_aside(const char *dir, char *out_name);
void sse_disk_place_path(const char *dir, const char *suffix, char *out, size_t size);

/* ---- the writing face ---- */

/* Opens or makes the database; the lock must be held. A corrupt file is set aside and a new one
 * begun (out_set_aside, 64 bytes, has its name, else ""). APR_ENOTIMPL: written by a newer version.
 * problem has a sentence for every failure. */
apr_status_t sse_disk_open(const sse_disk_conf_t *conf, sse_disk_t **out_store, char *out_set_aside,
                           char *problem);
/* Marks an orderly end. NULL is fine. */
void sse_disk_close(sse_disk_t *s);
/* Closes without a trace, for a damaged file. */
void sse_disk_abandon(sse_disk_t *s);
/* The last message's position. */
sse_pos_t sse_disk_pos(const sse_disk_t *s);
/* What SQLite said about the last failure. */
const char *sse_disk_problem(const sse_disk_t *s);

apr_status_t sse_disk_begin(sse_disk_t *s);
/* On failure the transaction is rolled back. */
apr_status_t sse_disk_commit(sse_disk_t *s);
void sse_disk_rollback(sse_disk_t *s);
/* Writes something small: is the disk well again? */
apr_status_t sse_disk_probe(sse_disk_t *s);
/* Has the log copied into the database if it has grown enough. Outside of a transaction. */
void sse_disk_checkpoint(sse_disk_t *s);
/* Grows with every row that was written. */
int64_t sse_disk_written(const sse_disk_t *s);
/* How many rows a table has; -1 on failure. For tests and diagnosis. */
int64_t sse_disk_rows(sse_disk_t *s, const char *table);
/* True when the file is found damaged. */
bool sse_disk_damaged(sse_disk_t *s);

/* Each carries out a job inside a transaction and fills in its results; now_ms is UNIX time.
 * APR_EEXIST and APR_EINVAL leave no trace; after APR_EAGAIN and APR_EGENERAL the caller must roll
 * back. */
apr_status_t sse_disk_publish(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
/* no_writes: the disk refuses writes; answer from what is known, with the groups that the caller
 * named. */
apr_status_t sse_disk_connect(sse_disk_t *s, sse_job_t *job, int64_t now_ms, bool no_writes);
apr_status_t sse_disk_subscribe(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
apr_status_t sse_disk_unsubscribe(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
apr_status_t sse_disk_record(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
/* The record as a change, though nothing has changed it. */
apr_status_t sse_disk_tell(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
apr_status_t sse_disk_members_change(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
apr_status_t sse_disk_members(sse_disk_t *s, sse_job_t *job);
apr_status_t sse_disk_forget(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
apr_status_t sse_disk_disconnect(sse_disk_t *s, sse_job_t *job, int64_t now_ms);
apr_status_t sse_disk_cursors(sse_disk_t *s, sse_job_t *job);
apr_status_t sse_disk_session_put(sse_disk_t *s, sse_job_t *job);
/* APR_NOTFOUND: there is none, or it has expired. */
apr_status_t sse_disk_session_get(sse_disk_t *s, sse_job_t *job, int64_t now_ms);

/* A bounded piece of trimming inside a transaction: about `budget` rows. *out_more: there is more
 * to do now. */
apr_status_t sse_disk_trim(sse_disk_t *s, size_t budget, int64_t now_ms, bool *out_more);
/* Housekeeping that can wait, inside a transaction: expired sessions, expired session
 * subscriptions (their owners' changes go into the job) and channels long unused. Bounded work;
 * *out_more as above. */
apr_status_t sse_disk_expire(sse_disk_t *s, sse_job_t *job, int64_t now_ms, bool *out_more);

/* ---- the reading face ---- */

apr_status_t sse_disk_reader_open(const sse_disk_conf_t *conf, sse_disk_reader_t **out_reader);
void sse_disk_reader_close(sse_disk_reader_t *r); /* NULL is fine */
apr_status_t sse_disk_reader_history(sse_disk_reader_t *r, sse_job_t *job, int64_t now_ms);
/* Into job->known: every user and group of which there is a subscription, a membership or a block.
 */
apr_status_t sse_disk_reader_known(sse_disk_reader_t *r, sse_job_t *job);
apr_status_t sse_disk_reader_tracking(sse_disk_reader_t *r, sse_job_t *job, int64_t now_ms);

#endif
