/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL and MariaDB servers of a test's own, under the world's directory, and the world's
 * database handle on them. */
#ifndef SSE_SESSION_DBSERVER_H
#define SSE_SESSION_DBSERVER_H

#include "session_world.h"

typedef struct dbserver_t {
    pid_t pid;
    const char *driver; /* apr_dbd's */
    const char *params; /* for apr_dbd_open */
} dbserver_t;

/* Makes an empty cluster, starts the server and puts w->driver and w->handle on it. */
void dbserver_start_postgres(world_t *w, dbserver_t *s);
void dbserver_start_mariadb(world_t *w, dbserver_t *s);
/* Puts w's handle on the server (again), as another user if `params` is not NULL. */
void dbserver_use(world_t *w, const dbserver_t *s, const char *params);
void dbserver_stop(world_t *w, dbserver_t *s);

#endif
