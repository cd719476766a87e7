/* SPDX-License-Identifier: Apache-2.0 */
/* What httpd's parent makes on disk before workers exist: the state directory and admin key files.
 */
#ifndef SSE_HTTPD_STATEDIR_H
#define SSE_HTTPD_STATEDIR_H

#include "httpd/config.h"

/* Makes SSEStateDir (owner httpd's User, mode 0750) unless it exists, and checks that the hub will
 * be able to write there. APR_SUCCESS, or an error after a log line. */
apr_status_t sse_statedir_prepare(server_rec *s, const sse_global_conf_t *g, apr_pool_t *p);

/* Makes the key files that do not exist yet, each with one random key, mode 0640, group httpd's
 * Group, and reads them. */
apr_status_t sse_statedir_make_keys(server_rec *s, sse_global_conf_t *g, apr_pool_t *p);

/* The user and group that workers and hub run as: httpd's User and Group when started by root, else
 * the caller's own. */
uid_t sse_statedir_uid(void);
gid_t sse_statedir_gid(void);

#endif
