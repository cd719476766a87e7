/* SPDX-License-Identifier: Apache-2.0 */
/* From a request whose head is to be written by httpd to a socket that the hub owns. Runs in the
 * request's worker thread. */
#ifndef SSE_HTTPD_HANDOFF_H
#define SSE_HTTPD_HANDOFF_H

#include "httpd/hublink.h"

#include <httpd.h>

/* True when the client's socket itself can be given away: HTTP/1.x, nothing between httpd's filters
 * and the network that changes bytes. */
bool sse_handoff_possible(const request_rec *r);

/* Takes every filter off the response that could change or hold its body (compression,
 * substitution, caching, ranges); what makes or edits the head stays. */
void sse_handoff_strip_filters(request_rec *r);

/* Sets the head of an event stream and that the connection ends with it. */
void sse_handoff_set_head(request_rec *r);

/* Writes the head and hands the socket to the hub under `ticket`. What the handler is to return.
 * The ticket is given back when the head could not be written. answer stays the caller's. */
int sse_handoff_stream(request_rec *r, sse_answer_t *answer, uint64_t ticket);

/* Writes a whole event-stream response of bytes at hand. */
int sse_handoff_send(request_rec *r, sse_str_t body);

/* The same for a fault that will pass while the hub cannot say so itself: a long jittered retry and
 * stream-end "unavailable". */
int sse_handoff_send_unavailable(request_rec *r);

#endif
