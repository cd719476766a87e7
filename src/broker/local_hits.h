/* SPDX-License-Identifier: Apache-2.0 */
/* Merging of several channels' histories: sequence numbers found in them, sorted, each turned into
 * a message once, under the limits of a history job. Serves the reader thread (from the store) and
 * the control loop (from memory); no state of its own. */
#ifndef SSE_LOCAL_HITS_H
#define SSE_LOCAL_HITS_H

#include "broker/local_job.h"

typedef struct sse_hit_t {
    uint64_t seq;
    size_t range; /* index of the range it was found in */
} sse_hit_t;

/* Zero-initialising the struct is initialisation enough, but for `bound`. */
typedef struct sse_hits_t {
    sse_hit_t *v;
    size_t n, cap;
    uint64_t bound; /* the hits are complete up to here; begin with UINT64_MAX */
} sse_hits_t;

void sse_hits_clear(sse_hits_t *hits);
void sse_hits_add(sse_hits_t *hits, uint64_t seq, size_t range);
/* There may be more in a range after its last hit. */
void sse_hits_cut(sse_hits_t *hits);
void sse_hits_sort(sse_hits_t *hits);
/* Of sorted hits: how many messages they are. */
size_t sse_hits_count(const sse_hits_t *hits);

/* Something of a range is gone, up to seq. */
void sse_hits_gap(sse_job_t *job, size_t range, uint64_t seq);

/* A reference to a message. APR_NOTFOUND if it is not there (superseded); any other failure ends
 * the loading. */
typedef apr_status_t (*sse_hits_get_fn)(void *baton, uint64_t seq, sse_message_t **out_message);

/* Sorts the hits and appends their messages to the job until one of its limits (then `more`) or the
 * bound is reached; messages past their ttl are gaps. *out_last: the last number dealt with,
 * untouched if none was. */
apr_status_t sse_hits_load(sse_hits_t *hits, sse_job_t *job, int64_t now_ms, sse_hits_get_fn get,
                           void *baton, uint64_t *out_last);

#endif
