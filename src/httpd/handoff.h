/* SPDX-License-Identifier: Apache-2.0 */
/* From a request whose head is to be written by httpd to a socket that the hub owns. Runs in the
 * request's worker thread. */
#ifndef SSE_HTTPD_HANDOFF_H
#define SSE_HTTPD_HANDOFF_H

#include "httpd/hublink.h"

#include <httpd.h>

/* How the stream of this request would best be carried: the client's socket itself where nothing
 * between httpd's filters and the network changes bytes but TLS that can be handed over, a relay
 * where a connection can be suspended, else a thread. Looks at the client's input once; to be
 * called once a request. */
void sse_handoff_register_hooks(void);

sse_carriage_t sse_handoff_choose(request_rec *r);

/* Sets the head of an event stream and that the connection ends with it. */
void sse_handoff_set_head(request_rec *r);

/* Writes the head and gives the hub the client's socket, or a socket of its own that httpd pumps
 * on, under `ticket`. What the handler is to return, for a parked stream when it is over. The
 * ticket is given back when the head could not be written. answer stays the caller's, but may be
 * done with. */
int sse_handoff_stream(request_rec *r, sse_answer_t *answer, uint64_t ticket,
                       sse_carriage_t carriage);

/* Writes a whole event-stream response of bytes at hand. */
int sse_handoff_send(request_rec *r, sse_str_t body);

/* The same for a fault that will pass while the hub cannot say so itself: a long jittered retry and
 * stream-end "unavailable". */
int sse_handoff_send_unavailable(request_rec *r);

#endif
