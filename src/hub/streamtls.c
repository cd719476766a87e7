/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of streams whose TLS connection the hub holds: streamio.c's work with a record around
 * them. A queue waits as plaintext; what is in it by the time the socket has room goes into as few
 * records as it fits in, one at a time, and stays in the queue until its record is out. */
#include "hub/reactor_impl.h"

#include "hub/tlsrecord.h"

/* Messages of 64 bytes and more fill a record. */
#define PIECES_MAX 256

/* Sends what is left of the record under way, or a new one. Plaintext bytes that are out for good,
 * 0 when the record is not finished, -1 when the connection is over. */
static ssize_t send_record(sse_reactor_t *r, sse_stream_t *s, const struct iovec *plain, size_t n)
{
    struct iovec wire;
    if (sse_tlsrecord_seal(r->sealer, s->tls, SSE_TLS_APPLICATION_DATA, plain, n, &wire) !=
        APR_SUCCESS)
        return -1;
    ssize_t sent = sse_streamio_send(r, s, &wire, 1);
    return sent < 0 ? -1 : (ssize_t)sse_tlsrecord_sent(s->tls, (size_t)sent);
}

/* One message, nothing queued: no allocation while the socket has room. */
static bool flush_pending(sse_reactor_t *r, sse_stream_t *s)
{
    sse_message_t *m = s->pending;
    s->pending = NULL;
    if (!s->blocked && m->frame.n <= sse_tlsrecord_max_fragment(s->tls)) {
        struct iovec plain = {(char *)m->frame.p, m->frame.n};
        ssize_t done = send_record(r, s, &plain, 1);
        if (done < 0)
            return false;
        if (done) {
            s->sent_seq = m->pos.seq;
            s->moved = true;
            return true;
        }
    }
    sse_outq_message(&s->outq, m, SSE_OUTQ_LIVE);
    return true;
}

static bool flush_queue(sse_reactor_t *r, sse_stream_t *s)
{
    while (s->outq && !s->blocked) {
        struct iovec plain[PIECES_MAX];
        size_t n = sse_outq_peek(s->outq, plain, PIECES_MAX);
        ssize_t done = send_record(r, s, plain, n);
        if (done < 0)
            return false;
        if (done)
            sse_streamio_took(s, (size_t)done);
    }
    return true;
}

bool sse_streamtls_flush(sse_reactor_t *r, sse_stream_t *s)
{
    if (s->pending && !flush_pending(r, s))
        return false;
    if (!flush_queue(r, s))
        return false;
    if (sse_tlsrecord_spent(s->tls))
        sse_streamend_begin(r, s, SSE_END_MAX_AGE);
    return true;
}

void sse_streamtls_attach(sse_reactor_t *r, sse_stream_t *s, struct sse_tlsrecord_t *tls)
{
    if (!r->sealer)
        r->sealer = sse_tlssealer_create();
    s->tls = tls;
}

void sse_streamtls_close(sse_reactor_t *r, sse_stream_t *s)
{
    static char close_notify[] = {1, 0};
    struct iovec plain = {close_notify, sizeof close_notify}, wire;
    /* In the middle of a record there is no place for an alert. */
    if (!sse_tlsrecord_begun(s->tls) && !s->blocked &&
        sse_tlsrecord_seal(r->sealer, s->tls, SSE_TLS_ALERT, &plain, 1, &wire) == APR_SUCCESS)
        sse_streamio_send(r, s, &wire, 1);
    sse_tlsrecord_destroy(s->tls);
    s->tls = NULL;
}
