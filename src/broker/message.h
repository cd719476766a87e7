/* SPDX-License-Identifier: Apache-2.0 */
/* A message as it is fanned out: immutable, rendered once, shared by reference count between the
 * control loop, the reactors and every stream's queue. */
#ifndef SSE_MESSAGE_H
#define SSE_MESSAGE_H

#include "core/base.h"
#include "core/eventid.h"
#include <stdatomic.h>

struct sse_channel_t;

typedef struct sse_message_target_t {
    uint32_t kind; /* sse_channel_kind_t */
    uint32_t n;    /* bytes of the name */
    const char *name;
} sse_message_target_t;

/* One allocation; every pointer points into it. */
typedef struct sse_message_t {
    atomic_uint refs;
    sse_pos_t pos;
    int64_t published; /* UNIX ms */
    int64_t expires;   /* UNIX ms; 0: by the channel's history only */
    bool raw;
    sse_str_t realm;
    sse_str_t event;
    sse_str_t data; /* as given to publish; a slice of its own, kept for GET history */
    size_t n_targets;
    const sse_message_target_t *targets; /* the channels it went to */
    sse_str_t frame;                     /* the rendered block */
} sse_message_t;

/* Renders and copies; one reference, the caller's. Target `i` is channels[i]. */
SSE_API sse_message_t *sse_message_create(sse_pos_t pos, sse_str_t realm, sse_str_t event,
                                          sse_str_t data, bool raw, int64_t published,
                                          int64_t expires, const struct sse_channel_t *channels,
                                          size_t n_channels);
SSE_API sse_message_t *sse_message_ref(sse_message_t *m);
SSE_API void sse_message_unref(sse_message_t *m); /* NULL is fine */

#endif
