/* SPDX-License-Identifier: Apache-2.0 */
/* The stores that session tests read: a SQLite database through apr_dbd, a redis-server and a
 * memcached of their own, directories, and a configuration over them. One world a test program;
 * everything is under one temporary directory and gone with it. */
#ifndef SSE_SESSION_WORLD_H
#define SSE_SESSION_WORLD_H

#include "session/session.h"
#include <sys/types.h>

typedef struct world_t {
    apr_pool_t *pool;      /* of the program */
    apr_pool_t *test_pool; /* emptied by world_reset */
    const char *dir;
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    pid_t redis, memcached; /* 0: not started */
    int redis_port, memcached_port;
    sse_session_db_t db;        /* prepared by world_resolve for each configuration */
    sse_django_t django;        /* for tests to change */
    bool keep_statements;       /* resolve with those that the last call prepared */
    const char *before_resolve; /* SQL run after the statements were prepared */
    bool db_away;               /* lend no connection */
    int prepared;               /* statements so far */
    int db_lent;                /* how often one was asked for */
} world_t;

/* Makes directory and empty database. */
void world_open(world_t *w);
void world_close(world_t *w);

/* Each starts its server on a free loopback port and returns when it answers. */
void world_start_redis(world_t *w);
void world_start_memcached(world_t *w);
/* Stops the process and waits for it. */
void world_stop(pid_t *pid);

/* SQL that must succeed. */
void world_sql(world_t *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A text as a literal for world_sql, quoted. */
const char *world_quote(world_t *w, const char *text);

/* SET key value [PX ms]; ms 0 = without end. */
void world_redis_set(world_t *w, const char *key, sse_str_t value, int64_t ms);
void world_redis_flush(world_t *w);
/* Any command without blanks in its arguments. */
void world_redis_command(world_t *w, const char *command);
void world_memcached_set(world_t *w, const char *key, sse_str_t value, int64_t seconds);
void world_memcached_flush(world_t *w);

/* Writes dir/name with that time of modification (UNIX seconds). */
void world_file(world_t *w, const char *subdir, const char *name, sse_str_t content, int64_t mtime);
/* "<md5 of the key>.djcache" */
const char *world_md5_name(world_t *w, const char *key);
/* The path of a subdirectory, made and emptied. */
const char *world_subdir(world_t *w, const char *name);

/* Prepares conf's statements on the database and resolves, in the test pool. */
void world_resolve(world_t *w, const sse_session_conf_t *conf, const char *cookie_header,
                   apr_time_t now, sse_identity_t *out);

/* A free TCP port on loopback below 32768. */
int world_free_port(void);

#endif
