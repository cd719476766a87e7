/* SPDX-License-Identifier: Apache-2.0 */
/* The listening admin socket: made by httpd's parent, inherited by each hub, kept over restarts
 * while its directive says the same. A lock file beside it keeps two httpd instances apart. */
#ifndef SSE_HTTPD_ADMINLISTEN_H
#define SSE_HTTPD_ADMINLISTEN_H

#include "httpd/config.h"

typedef struct sse_adminlisten_t {
    int fd;      /* -1: no socket */
    int lock_fd; /* -1: none */
    char path[108];
    int mode;
    gid_t group;
} sse_adminlisten_t;

/* Makes *sock what g says, from what it is. On failure there is no socket and a log line says why;
 * without a directive that asked for the socket the failure is a warning and APR_SUCCESS. */
apr_status_t sse_adminlisten_open(sse_adminlisten_t *sock, server_rec *s,
                                  const sse_global_conf_t *g, apr_pool_t *p);
/* Closes and removes socket and lock; fine when there is none. */
void sse_adminlisten_close(sse_adminlisten_t *sock);

#endif
