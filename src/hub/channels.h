/* SPDX-License-Identifier: Apache-2.0 */
/* The hub's ends of the workers' channels (core/wire.h): reads requests, hands them to admission
 * and routes, sends the answers. A worker that breaks the protocol or goes away loses its channel,
 * nothing else. Control loop only. */
#ifndef SSE_CHANNELS_H
#define SSE_CHANNELS_H

struct sse_hub_t;
typedef struct sse_channels_t sse_channels_t;

sse_channels_t *sse_channels_create(struct sse_hub_t *hub);
/* Begins to listen on conf.rendezvous_fd (none if -1); what workers sent before waits there. */
void sse_channels_listen(sse_channels_t *channels);
/* Closes every channel; answers still owed are dropped. The struct lives until the loop has run
 * once more. */
void sse_channels_close(sse_channels_t *channels);
void sse_channels_free(sse_channels_t *channels);
unsigned sse_channels_count(const sse_channels_t *channels);

#endif
