/* SPDX-License-Identifier: Apache-2.0 */
/* The users and sessions behind a reactor's streams: who has how many, who is in the grace after
 * the last one. */
#include "hub/reactor_impl.h"

#include "core/buf.h"
#include <stdlib.h>

/* ---- users ---- */

static void tell_user(sse_reactor_t *r, const sse_node_t *user, bool online)
{
    sse_notice_t *n = sse_reactor_notice(r, SSE_NOTICE_USER, user->realm, user);
    n->streams = user->n_streams;
    n->online = online;
    sse_reactor_notice_post(r, n);
}

void sse_streamuser_join(sse_reactor_t *r, sse_stream_t *s, sse_node_t *user)
{
    s->user = user;
    s->user_prev = user->newest;
    if (user->newest)
        user->newest->user_next = s;
    else
        user->oldest = s;
    user->newest = s;
    user->n_streams++;
    tell_user(r, user, true);
    r->joined = true;
}

/* Grace after the last stream; longer where the server itself sent the client away for a while. */
static void linger(sse_reactor_t *r, sse_node_t *user, const sse_stream_t *last)
{
    user->offline_at = r->now + r->conf.presence_grace;
    if (last->state == SSE_STREAM_ENDING && !sse_end_reason_final(last->end_reason)) {
        uint32_t retry = r->conf.retry;
        if (last->end_reason == SSE_END_EXPIRED && retry < SSE_EXPIRED_RETRY_MS)
            retry = SSE_EXPIRED_RETRY_MS;
        user->offline_at += (retry + retry / 2 + sse_streamend_crowd_ms(r) + 999) / 1000;
    }
    if (r->n_lingering == r->cap_lingering) {
        r->cap_lingering = r->cap_lingering ? r->cap_lingering * 2 : 16;
        r->lingering = sse_realloc(r->lingering, r->cap_lingering * sizeof(sse_node_t *));
    }
    if (!user->lingers)
        r->lingering[r->n_lingering++] = user;
    user->lingers = true;
}

void sse_streamuser_leave(sse_reactor_t *r, sse_stream_t *s)
{
    sse_node_t *user = s->user;
    *(s->user_prev ? &s->user_prev->user_next : &user->oldest) = s->user_next;
    *(s->user_next ? &s->user_next->user_prev : &user->newest) = s->user_prev;
    user->n_streams--;
    s->user = NULL;
    if (!user->n_streams)
        linger(r, user, s);
    tell_user(r, user, true);
}

void sse_streamuser_linger(sse_reactor_t *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_lingering; i++) {
        sse_node_t *user = r->lingering[i];
        if (!user->n_streams && r->now < user->offline_at) {
            r->lingering[kept++] = user;
            continue;
        }
        user->lingers = false;
        if (user->n_streams)
            continue;
        tell_user(r, user, false);
        atomic_fetch_sub_explicit(&r->stats.users, 1, memory_order_relaxed);
        sse_subindex_user_free(&r->index, user);
    }
    r->n_lingering = kept;
}

/* ---- sessions ---- */

sse_stream_t **sse_streamuser_session_bucket(sse_reactor_t *r, const unsigned char *session)
{
    uint32_t hash;
    memcpy(&hash, session, sizeof hash);
    return &r->sessions[hash & (r->session_buckets - 1)];
}

void sse_streamuser_join_session(sse_reactor_t *r, sse_stream_t *s)
{
    if (r->n_streams > r->session_buckets) {
        sse_stream_t **old = r->sessions;
        uint32_t n = r->session_buckets;
        r->session_buckets = n * 2;
        r->sessions = sse_calloc(r->session_buckets, sizeof(sse_stream_t *));
        for (uint32_t i = 0; i < n; i++) {
            while (old[i]) {
                sse_stream_t *moved = old[i];
                old[i] = moved->session_next;
                sse_stream_t **to = sse_streamuser_session_bucket(r, moved->session);
                moved->session_next = *to;
                *to = moved;
            }
        }
        free(old);
    }
    sse_stream_t **bucket = sse_streamuser_session_bucket(r, s->session);
    s->session_next = *bucket;
    *bucket = s;
}

void sse_streamuser_leave_session(sse_reactor_t *r, sse_stream_t *s)
{
    sse_stream_t **link = sse_streamuser_session_bucket(r, s->session);
    while (*link != s)
        link = &(*link)->session_next;
    *link = s->session_next;
}
