/* SPDX-License-Identifier: Apache-2.0 */
/* A stream whose socket cannot be given away (HTTP/2, TLS that nothing else can carry): the worker
 * itself carries the hub's bytes to the client. It costs a thread for as long as the stream is
 * open, so the hub grants a number of them. */
#ifndef SSE_HTTPD_PARK_H
#define SSE_HTTPD_PARK_H

#include <httpd.h>

/* The head is out, `hub` is httpd's end of a socket pair: pumps until either side ends. hub stays
 * the caller's. What the handler is to return. */
int sse_park_pump(request_rec *r, int hub);

#endif
