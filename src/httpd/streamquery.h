/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a stream: which events, from which position. No httpd in here, no I/O. */
#ifndef SSE_HTTPD_STREAMQUERY_H
#define SSE_HTTPD_STREAMQUERY_H

#include "core/base.h"
#include <apr_pools.h>

#define SSE_LAST_ID_MAX 255

typedef struct sse_streamquery_t {
    sse_str_t events[SSE_STREAM_EVENTS_MAX]; /* good names, each once */
    size_t n_events;
    sse_str_t last_id; /* of lastEventId or last_event_id, the last one that is not empty; cut to
                          SSE_LAST_ID_MAX */
    bool resume_user;
} sse_streamquery_t;

/* Reads `args` (NULL: none). Unknown parameters are passed over. APR_EINVAL with a sentence for the
 * client in *out_problem: a bad event name, too many events, another resume than "user", broken
 * escapes in one of ours. */
apr_status_t sse_streamquery_parse(const char *args, apr_pool_t *p, sse_streamquery_t *out,
                                   const char **out_problem);

#endif
