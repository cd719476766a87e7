/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks: from a request to an identity, by the location's SSESession. Any worker thread; waits
 * are bounded by the session store's time-outs and by the number of look-ups a child has under way.
 */
#ifndef SSE_HTTPD_AUTHN_H
#define SSE_HTTPD_AUTHN_H

#include "httpd/config.h"

typedef struct sse_caller_t {
    sse_identity_t identity;
    uint64_t
        looked_up; /* CLOCK_MONOTONIC microseconds before the store was asked; 0: no store was */
} sse_caller_t;

/* Before the children are forked: what they share. */
int sse_authn_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void sse_authn_child_init(apr_pool_t *child_pool, server_rec *s);

/* Fills *out, in r->pool. `fresh`: past the memory of earlier look-ups. */
void sse_authn_identify(request_rec *r, const sse_dir_conf_t *conf, bool fresh, sse_caller_t *out);

#endif
