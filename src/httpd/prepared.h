/* SPDX-License-Identifier: Apache-2.0 */
/* What is prepared on a connection that mod_dbd lends. By hand and not by ap_dbd_prepare: mod_dbd
 * would give up every connection, other modules' too, while one of our tables does not exist yet.
 * Called by the thread that has the connection on loan. */
#ifndef SSE_HTTPD_PREPARED_H
#define SSE_HTTPD_PREPARED_H

#include "session/session.h"

#include <mod_dbd.h>

/* Prepares those of the statements that the connection does not have yet, under their labels.
 * *out_reused: it had one of them. False when the database refuses, *out_error being its words. */
bool sse_prepared_ensure(ap_dbd_t *dbd, const sse_statement_t *statements, size_t n,
                         bool *out_reused, const char **out_error);

/* A query has failed: a connection that its driver made anew knows nothing of what was prepared.
 * Takes all our statements off the connection, so that they are prepared anew. False, and nothing
 * is done, when that was done lately and has not helped. */
bool sse_prepared_drop(ap_dbd_t *dbd);
/* The connection has been closed under it: what was prepared is gone. */
void sse_prepared_lost(ap_dbd_t *dbd);
/* A query has been answered: dropping is of use again. */
void sse_prepared_proven(ap_dbd_t *dbd);

#endif
