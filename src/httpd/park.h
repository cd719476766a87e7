/* SPDX-License-Identifier: Apache-2.0 */
/* A stream whose socket cannot be given away (HTTP/2, TLS that nothing else can carry): the worker
 * itself carries the hub's bytes to the client. It costs a thread for as long as the stream is
 * open, so the hub grants a number of them. */
#ifndef SSE_HTTPD_PARK_H
#define SSE_HTTPD_PARK_H

#include "httpd/hublink.h"

#include <httpd.h>

/* Writes the head, hands one end of a socket pair to the hub under `ticket` and pumps until either
 * side ends. answer is done with before the pumping begins. What the handler is to return. */
int sse_park_stream(request_rec *r, sse_answer_t *answer, uint64_t ticket);

#endif
