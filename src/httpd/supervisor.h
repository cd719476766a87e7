/* SPDX-License-Identifier: Apache-2.0 */
/* The hub's keeper in httpd's parent: starts it, starts it again when it dies, ends it with httpd.
 *
 * What must outlive a restart of httpd (the rendezvous, the admin socket) lives in the process
 * pool; the rest goes with the configuration. */
#ifndef SSE_HTTPD_SUPERVISOR_H
#define SSE_HTTPD_SUPERVISOR_H

#include "httpd/config.h"

/* pre_config hook: from here on nothing that the parent forks, for whichever module, inherits the
 * hub's ends that a restart left open. */
int sse_supervisor_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);

/* post_config hook, run last: disk, sockets and hub. Does nothing in the first of the two rounds at
 * httpd's start. */
int sse_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                               server_rec *s);

/* monitor hook, which the parent runs about every ten seconds: starts a hub where the last attempt
 * could not even fork. */
int sse_supervisor_monitor(apr_pool_t *p, server_rec *s);

/* The workers' end of the rendezvous; -1 before post_config. */
int sse_supervisor_rendezvous(void);

#endif
