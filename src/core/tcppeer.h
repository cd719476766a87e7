/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the client at the other end of a TCP connection is still there. The kernel gives up one
 * that leaves bytes unacknowledged (TCP_USER_TIMEOUT), but would count a client that answers and
 * only has no room as one of these. Such a client is slow, not gone: for it the kernel's limit is
 * lifted, and its answers are looked at here. No state but the caller's. Any thread. */
#ifndef SSE_TCPPEER_H
#define SSE_TCPPEER_H

#include "core/base.h"

/* From now on the connection fails when bytes stay unacknowledged for so long. 0 changes nothing;
 * nor is anything done to a descriptor that is no TCP connection. */
void sse_tcppeer_limit(int fd, uint32_t seconds);

/* Once a second, while bytes wait in the socket: false when the client is gone. *stalled is the
 * caller's to keep for the connection, false at first: the kernel's limit is lifted. */
bool sse_tcppeer_there(int fd, uint32_t seconds, bool *stalled);

/* The client has taken everything: the kernel's limit holds again. */
void sse_tcppeer_taken(int fd, uint32_t seconds, bool *stalled);

/* Bytes that the socket holds for a client that has not acknowledged them; -1 if that cannot be
 * told. */
int sse_tcppeer_unacknowledged(int fd);

#endif
