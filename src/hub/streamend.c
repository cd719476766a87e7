/* SPDX-License-Identifier: Apache-2.0 */
/* When and how streams end, and how soon clients should come back: crowds are spread. */
#include "hub/reactor_impl.h"

#include "core/buf.h"
#include "core/crypto.h"
#include "core/log.h"
#include "hub/tlsrecord.h"
#include <arpa/inet.h>

/* Seconds that an ending stream gets for its last bytes. */
#define END_LINGER 5
/* The widest spread of a crowd. */
#define SPREAD_MS_MAX 60000

/* ---- small parts ---- */

/* Spreads crowds, guards nothing: xorshift64*, seeded once a thread. */
uint32_t sse_streamend_random(uint32_t n)
{
    static _Thread_local uint64_t x;
    while (!x)
        sse_crypto_random(&x, sizeof x);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    uint32_t out = (uint32_t)(x * 2685821657736338717u >> 32);
    return n ? out % n : 0;
}

/* Milliseconds over which the streams of this hub should spread when they all come back: about a
 * thousand a second. */
uint32_t sse_streamend_crowd_ms(const sse_reactor_t *r)
{
    unsigned long long n = atomic_load_explicit(r->conf.host_streams, memory_order_relaxed);
    return n > SPREAD_MS_MAX ? SPREAD_MS_MAX : (uint32_t)n;
}

uint32_t sse_streamend_open_retry(const sse_reactor_t *r)
{
    uint32_t jitter = r->conf.retry / 2;
    if (jitter < sse_streamend_crowd_ms(r))
        jitter = sse_streamend_crowd_ms(r);
    return r->conf.retry + sse_streamend_random(jitter + 1);
}

/* Milliseconds until the stream has been idle for a heartbeat. */
static uint32_t until_heartbeat(const sse_reactor_t *r, const sse_stream_t *s)
{
    uint32_t idle = (uint32_t)uv_now(&r->loop) - s->written_at;
    uint64_t wanted = (uint64_t)r->conf.heartbeat * 1000;
    return wanted > idle ? (uint32_t)(wanted - idle) : 0;
}

void sse_streamend_arm(sse_reactor_t *r, sse_stream_t *s)
{
    uint32_t due = s->end_at;
    if (r->conf.heartbeat && s->state != SSE_STREAM_ENDING) {
        uint32_t heartbeat = r->now + (until_heartbeat(r, s) + 999) / 1000;
        due = heartbeat < due ? heartbeat : due;
    }
    if (due != UINT32_MAX)
        sse_wheel_set(&r->wheel, &s->timer, due);
}

static void format_address(const sse_stream_t *s, char out[INET6_ADDRSTRLEN])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!memcmp(s->address, mapped, sizeof mapped))
        inet_ntop(AF_INET, s->address + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, s->address, out, INET6_ADDRSTRLEN);
}

/* ---- ends ---- */

static uint32_t end_retry(sse_reactor_t *r, sse_end_reason_t reason)
{
    uint32_t retry;
    switch (reason) {
    case SSE_END_MAX_AGE: /* back within a second or so, unless a crowd is */
        return 100 + sse_streamend_random(900 + sse_streamend_crowd_ms(r) / 10);
    case SSE_END_SHUTDOWN:
        return r->conf.retry / 3 +
               sse_streamend_random(r->conf.retry / 2 + sse_streamend_crowd_ms(r) + 1);
    case SSE_END_UNAVAILABLE:
    case SSE_END_BUSY:
        return 2 * r->conf.retry +
               sse_streamend_random(2 * r->conf.retry + sse_streamend_crowd_ms(r) + 1);
    case SSE_END_EXPIRED:
        retry = r->conf.retry > SSE_EXPIRED_RETRY_MS ? r->conf.retry : SSE_EXPIRED_RETRY_MS;
        return retry + sse_streamend_random(retry / 2 + 1);
    default:
        return 0;
    }
}

void sse_streamend_begin(sse_reactor_t *r, sse_stream_t *s, sse_end_reason_t reason)
{
    if (s->state == SSE_STREAM_ENDING)
        return;
    /* What is queued goes out first, so the position at the end is the last one queued. */
    uint64_t seq = s->last_seq;
    if (reason == SSE_END_SLOW) {
        char address[INET6_ADDRSTRLEN];
        format_address(s, address);
        sse_log(
            SSE_LOG_NOTICE,
            "SSE0210: ended the stream of user '%.*s' at %s, which did not read: %zu bytes unsent",
            s->user ? (int)s->user->name_len : 1, s->user ? s->user->key + 1 : "-", address,
            sse_outq_bytes(s->outq));
        s->pending = NULL;
        sse_outq_drop_unsent(&s->outq, s->tls ? sse_tlsrecord_begun(s->tls) : 0);
        atomic_fetch_add_explicit(&r->stats.ended_slow, 1, memory_order_relaxed);
        seq = s->sent_seq;
        if (!sse_outq_last(s->outq, s->realm->epoch, &seq) && s->untold)
            sse_streamflow_tell_reset(r, s, seq, SSE_RESET_BROKER_RESET, NULL, 0);
    }
    sse_buf_t out = {0};
    uint32_t retry = end_retry(r, reason);
    if (retry || s->state == SSE_STREAM_OPENING)
        sse_render_retry(&out, retry ? retry : sse_streamend_open_retry(r));
    /* The end's position would hide from the client that something is gone. */
    if (s->state == SSE_STREAM_OPENING && s->reset)
        sse_render_reset(&out, (sse_pos_t){s->realm->epoch, seq}, s->reset - 1, NULL, 0);
    sse_render_end(&out, (sse_pos_t){s->feed ? 0 : s->realm->epoch, seq}, reason);
    sse_streamio_block(r, s, sse_buf_slice(&out), (sse_pos_t){0, 0});
    sse_buf_clear(&out);
    s->state = SSE_STREAM_ENDING;
    s->end_reason = reason;
    s->end_at = r->now + END_LINGER;
    sse_streamend_arm(r, s);
}

void sse_streamend_due(sse_reactor_t *r, sse_stream_t *s)
{
    if (r->now >= s->end_at) {
        if (s->state == SSE_STREAM_ENDING)
            sse_streamio_close(r, s);
        else
            sse_streamend_begin(r, s, s->end_reason);
        return;
    }
    if (s->state != SSE_STREAM_ENDING && s->state != SSE_STREAM_OPENING && r->conf.heartbeat &&
        !until_heartbeat(r, s)) {
        s->written_at = (uint32_t)uv_now(&r->loop);
        if (!s->outq) {
            sse_outq_block(&s->outq, sse_block_ref(r->heartbeat));
            sse_streamio_dirty(r, s);
        }
    }
    sse_streamend_arm(r, s);
}

typedef struct ending_t {
    sse_reactor_t *r;
    sse_end_reason_t reason;
    uint32_t n;
} ending_t;

static void end_one(void *baton, sse_stream_t *s)
{
    ending_t *e = baton;
    if (s->state == SSE_STREAM_ENDING)
        return;
    sse_streamend_begin(e->r, s, e->reason);
    e->n++;
}

uint32_t sse_streamend_matching(sse_reactor_t *r, char kind, sse_str_t realm_name, sse_str_t name,
                                sse_end_reason_t reason)
{
    const sse_node_realm_t *realm = sse_subindex_realm(&r->index, realm_name);
    ending_t e = {r, reason, 0};
    if (!realm)
        return 0;
    if (kind == SSE_CHANNEL_USER) {
        sse_subindex_visit(realm, (sse_channel_t){SSE_CHANNEL_USER, name}, end_one, &e);
    } else if (kind == SSE_CHANNEL_GROUP) {
        sse_subindex_visit(realm, (sse_channel_t){SSE_CHANNEL_GROUP, name}, end_one, &e);
    } else if (name.n == SSE_SESSION_HASH_LEN) {
        for (sse_stream_t *s = *sse_streamuser_session_bucket(r, (const unsigned char *)name.p); s;
             s = s->session_next)
            if (s->realm == realm && !memcmp(s->session, name.p, sizeof s->session))
                end_one(&e, s);
    }
    return e.n;
}
