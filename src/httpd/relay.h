/* SPDX-License-Identifier: Apache-2.0 */
/* Streams whose connection cannot leave httpd under an MPM that can suspend one (event): the hub
 * gets one end of a socket pair, and one thread of each child pumps the other ends of all its
 * relayed streams into their connections. A stream holds no thread, but httpd keeps the
 * connection's memory and counts it.
 *
 * A relayed connection passes from its worker to the relay's thread when the MPM says that it is
 * suspended. From then on only that thread touches it, and ends it by destroying its pool. */
#ifndef SSE_HTTPD_RELAY_H
#define SSE_HTTPD_RELAY_H

#include "httpd/hublink.h"

#include <httpd.h>

void sse_relay_register_hooks(void);
void sse_relay_child_init(apr_pool_t *child_pool);

/* Whether this MPM can suspend a connection. */
bool sse_relay_possible(void);

/* The head is out. Gives the hub its end under `ticket` and the connection to the relay's thread:
 * *out_rc is what the handler is to return then. On failure the connection is the caller's as
 * before. answer stays the caller's. */
apr_status_t sse_relay_start(request_rec *r, sse_answer_t *answer, uint64_t ticket, int *out_rc);

#endif
