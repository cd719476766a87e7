/* SPDX-License-Identifier: Apache-2.0 */
/* Giving a live TLS connection of mod_ssl away: the worker writes the head, takes out what seals
 * the next record, and leaves the connection so that httpd never writes to it again. Built with
 * mod_ssl's hooks where their header is there (tls.c), else every connection is refused
 * (tls_absent.c). Whether mod_ssl is loaded shows at run time. Runs in the request's worker thread.
 *
 * The commit point is the message to the hub: before it httpd owns the connection and may go on
 * with it in another way, after it it must not write. */
#ifndef SSE_HTTPD_TLS_H
#define SSE_HTTPD_TLS_H

#include "core/tlsstate.h"

#include <httpd.h>

/* A hand-off under way; lives in the request's pool. */
typedef struct sse_tls_hand_t sse_tls_hand_t;

void sse_tls_register_hooks(void);

/* Why the request's connection cannot be handed over; NULL when, so far, it can. */
const char *sse_tls_problem(request_rec *r);

/* Before the head is written. */
sse_tls_hand_t *sse_tls_begin(request_rec *r);
/* After it was, and httpd holds nothing of it back. `tail` is how it ends. On failure the
 * connection is httpd's as before; *out is wiped by the caller in any case. */
apr_status_t sse_tls_finish(sse_tls_hand_t *hand, sse_str_t tail, sse_tlsstate_t *out);
/* The hub has the connection: OpenSSL will not write to it any more. Its session stays good for
 * resumption. */
void sse_tls_let_go(sse_tls_hand_t *hand);

#endif
