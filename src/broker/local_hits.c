/* SPDX-License-Identifier: Apache-2.0 */
/* Merging of several channels' histories. */
#include "broker/local_hits.h"

#include "core/buf.h"

#include <stdlib.h>

void sse_hits_clear(sse_hits_t *hits)
{
    free(hits->v);
    memset(hits, 0, sizeof(*hits));
}

void sse_hits_add(sse_hits_t *hits, uint64_t seq, size_t range)
{
    if (hits->n == hits->cap) {
        hits->cap = hits->cap ? 2 * hits->cap : 64;
        hits->v = sse_realloc(hits->v, hits->cap * sizeof(*hits->v));
    }
    hits->v[hits->n++] = (sse_hit_t){seq, range};
}

void sse_hits_cut(sse_hits_t *hits)
{
    if (hits->n && hits->v[hits->n - 1].seq < hits->bound)
        hits->bound = hits->v[hits->n - 1].seq;
}

static int compare(const void *a, const void *b)
{
    const sse_hit_t *x = a, *y = b;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return (x->range > y->range) - (x->range < y->range);
}

void sse_hits_sort(sse_hits_t *hits)
{
    if (hits->n > 1)
        qsort(hits->v, hits->n, sizeof(*hits->v), compare);
}

size_t sse_hits_count(const sse_hits_t *hits)
{
    size_t n = 0;
    for (size_t i = 0; i < hits->n; i++)
        n += i == 0 || hits->v[i].seq != hits->v[i - 1].seq;
    return n;
}

void sse_hits_gap(sse_job_t *job, size_t range, uint64_t seq)
{
    job->gaps[range] = true;
    if (seq > job->gap_end)
        job->gap_end = seq;
}

apr_status_t sse_hits_load(sse_hits_t *hits, sse_job_t *job, int64_t now_ms, sse_hits_get_fn get,
                           void *baton, uint64_t *out_last)
{
    sse_hits_sort(hits);
    for (size_t i = 0, next; i < hits->n && hits->v[i].seq <= hits->bound; i = next) {
        uint64_t seq = hits->v[i].seq;
        next = i + 1;
        while (next < hits->n && hits->v[next].seq == seq)
            next++;
        if (job->n_messages == job->max_messages ||
            (job->loaded_bytes >= job->max_bytes && job->n_messages)) {
            job->more = true;
            return APR_SUCCESS;
        }
        sse_message_t *m;
        apr_status_t status = get(baton, seq, &m);
        if (status != APR_SUCCESS && status != APR_NOTFOUND)
            return status;
        *out_last = seq;
        if (status == APR_NOTFOUND)
            continue;
        if (m->expires && m->expires <= now_ms) {
            for (size_t k = i; k < next; k++)
                sse_hits_gap(job, hits->v[k].range, seq);
            sse_message_unref(m);
            continue;
        }
        job->loaded_bytes += m->frame.n;
        job->messages[job->n_messages++] = m;
    }
    return APR_SUCCESS;
}
