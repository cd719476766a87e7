/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of sockets between the hub and a stream that httpd still carries. Any thread. */
#ifndef SSE_HTTPD_SOCKETPAIR_H
#define SSE_HTTPD_SOCKETPAIR_H

#include "core/base.h"

/* A stream pair, close-on-exec, non-blocking; [1] is the hub's end. What the hub may write ahead is
 * kept short, so that a slow client is the hub's to see. */
apr_status_t sse_socketpair_open(int out_fds[2]);

#endif
