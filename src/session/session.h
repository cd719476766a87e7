/* SPDX-License-Identifier: Apache-2.0 */
/* Who is it: from a request's Cookie header to a user, by Django's rules (Django 3.2 to 6.x:
 * django/contrib/sessions/backends, django/contrib/auth/__init__.py get_user). No httpd in here:
 * the caller lends a database handle and a pool.
 *
 * A session's secrets (cookie, key) never leave this layer except as SHA-256. */
#ifndef SSE_SESSION_H
#define SSE_SESSION_H

#include "core/base.h"
#include <apr_dbd.h>
#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_time.h>

typedef enum sse_engine_t {
    SSE_ENGINE_NONE, /* httpd's own r->user: never reaches this layer */
    SSE_ENGINE_DB,
    SSE_ENGINE_CACHE,
    SSE_ENGINE_CACHED_DB,
    SSE_ENGINE_FILE,
    SSE_ENGINE_SIGNED_COOKIES,
    SSE_ENGINE_HUB
} sse_engine_t;

/* What SSEDjangoConfig's JSON says; sse_django_defaults gives Django's own defaults. Identifiers
 * are checked
 * (^[A-Za-z_][A-Za-z0-9_]*$) when read. */
typedef struct sse_django_t {
    const char *session_table;                        /* "django_session" */
    const char *user_table, *user_pk, *user_password; /* "auth_user", "id", "password" */
    const char *user_is_active; /* "is_active"; NULL: the model has no such column */
    const char *user_pk_type;   /* "int", "uuid", "str" */
    const char *membership_table, *membership_user,
        *membership_group; /* "auth_user_groups", "user_id", "group_id"; table NULL: no groups */
    const char *group_table, *group_pk, *group_name; /* "auth_group", "id", "name" */
    const char *const *backends;                     /* allowed _auth_user_backend values */
    size_t n_backends;
    const char *session_salt; /* "django.contrib.sessions.SessionStore" */
    const char *cookie_name;  /* NULL: not said */
    int64_t cookie_age;       /* seconds: 1209600 */
    bool use_tz;              /* true */
    const char *time_zone;    /* IANA name; matters with use_tz false */
    bool legacy_sha1;         /* Django 3.1/3.2: SHA-1 signatures and hashes are good too */
    bool fallback_hash;       /* Django 4.1.8+: _auth_user_hash may be made with a fallback key */
    const char *cache_prefix, *cached_db_prefix; /* whole key before the session key */
    const struct sse_zone_t *zone; /* time_zone, loaded when use_tz is false; else NULL */
} sse_django_t;

/* Fills *out with Django's defaults, allocated in pool. */
void sse_django_defaults(sse_django_t *out, apr_pool_t *pool);
/* Reads manage.py sse_config's JSON over the defaults: one object whose members are named as the
 * fields above (session_table, user_table, user_pk, user_pk_type, ... cached_db_prefix); all are
 * optional. user_is_active and membership_table may be null, backends is an array of strings. A
 * member "django" (a version, as text) is read over; any other is an error. APR_EINVAL with a
 * sentence in *out_problem naming the member, its value and what is allowed. */
apr_status_t sse_django_read(sse_str_t json, apr_pool_t *pool, sse_django_t *out,
                             const char **out_problem);

typedef struct sse_session_conf_t {
    sse_engine_t engine;
    const char *argument;    /* URL or directory of the engine; NULL if none */
    const char *cookie_name; /* effective name */
    const sse_django_t *django;
    const sse_str_t *secrets; /* SECRET_KEY, then SECRET_KEY_FALLBACKS */
    size_t n_secrets;
    struct sse_store_t *store;        /* set by sse_session_open, to be called for every engine */
    const struct sse_sqltexts_t *sql; /* the same */
} sse_session_conf_t;

/* To be called once in each process that will resolve (child_init), in a pool that lives as long as
 * the process: makes the pool of connections to the engine's cache server, for any number of
 * threads, and what keeps the log from being filled. Connects to nothing yet. APR_EINVAL when the
 * argument is not good (sse_engine_argument_problem says why). */
apr_status_t sse_session_open(sse_session_conf_t *conf, apr_pool_t *pool);

/* "db", "cache"...; APR_EINVAL for an unknown name. sse_engine_names lists them for messages. */
apr_status_t sse_engine_parse(const char *name, sse_engine_t *out_engine);
const char *sse_engine_names(void); /* "none, db, cache, cached_db, file, signed_cookies, hub" */
/* NULL, or what is wrong with the engine's argument and what is allowed. */
const char *sse_engine_argument_problem(sse_engine_t engine, const char *argument,
                                        apr_pool_t *pool);
bool sse_engine_needs_secret(sse_engine_t engine);
bool sse_engine_needs_db(sse_engine_t engine); /* reads users (and sessions) through mod_dbd */

/* The statements that the caller prepares under these labels (ap_dbd_prepare) and that
 * sse_session_resolve looks up in sse_session_db_t.prepared. Driver is mod_dbd's name: "sqlite3",
 * "pgsql", "mysql". Labels are unique per distinct SQL text. */
typedef struct sse_statement_t {
    const char *label;
    const char *sql; /* with apr_dbd's % placeholders */
} sse_statement_t;
/* APR_ENOTIMPL for a driver whose SQL is not known. */
apr_status_t sse_session_statements(const sse_session_conf_t *conf, const char *driver,
                                    apr_pool_t *pool, const sse_statement_t **out_statements,
                                    size_t *out_n);

/* What is wrong with mod_dbd's DBDParams for this driver, or NULL. *out_fatal: nothing can work
 * with them (the SQLite file is missing or none: the driver would make an empty database);
 * otherwise a warning (no time-out, so that a look-up could wait for ever). */
const char *sse_session_dbparams_problem(const char *driver, const char *params, apr_pool_t *pool,
                                         bool *out_fatal);

/* A database connection on loan (mod_dbd's ap_dbd_t has the same three). */
typedef struct sse_session_db_t {
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_hash_t *prepared; /* label -> apr_dbd_prepared_t* */
} sse_session_db_t;

typedef enum sse_who_t {
    SSE_WHO_USER,
    SSE_WHO_ANONYMOUS,  /* no cookie, no session, an expired one, or one that Django would not take
                         */
    SSE_WHO_UNAVAILABLE /* a store did not answer, or answered garbage: will pass */
} sse_who_t;

typedef struct sse_identity_t {
    sse_who_t who;
    const char *user;          /* the pk as Django writes it */
    const char *const *groups; /* names */
    size_t n_groups;
    bool groups_known; /* read from Django's tables */
    bool has_session;
    unsigned char session[SSE_SESSION_HASH_LEN]; /* SHA-256 of the session key (of the cookie's
                                                    value for signed_cookies) */
    int64_t session_expires;                     /* UNIX seconds; 0 = unknown */
    const char *detail; /* why not a user, for the debug log; holds no secret */
} sse_identity_t;

typedef struct sse_session_request_t {
    const char *cookie_header; /* NULL: none */
    apr_time_t now;
    /* Lends a connection, NULL when there is none within the caller's time limit. Called at most
     * once, only when needed. */
    const sse_session_db_t *(*db)(void *baton);
    void *db_baton;
    /* Engine hub: asks the hub for a mirrored session (PUT /sessions/KEY). APR_SUCCESS with its
     * user, allocated in pool, and its end in UNIX seconds; APR_NOTFOUND when there is none;
     * anything else counts as unavailable. May be NULL with other engines. */
    apr_status_t (*hub)(void *baton, const unsigned char session[SSE_SESSION_HASH_LEN],
                        apr_pool_t *pool, const char **out_user, int64_t *out_expires);
    void *hub_baton;
} sse_session_request_t;

/* The name of the session that a Cookie header speaks of, without asking any store: what a cache of
 * look-ups is keyed by. False when the header has no cookie that could be a session. */
bool sse_session_name(const sse_session_conf_t *conf, const char *cookie_header, apr_pool_t *pool,
                      unsigned char out_session[SSE_SESSION_HASH_LEN]);

/* Always fills *out, allocated in pool. Never logs a cookie or a key. */
void sse_session_resolve(const sse_session_conf_t *conf, const sse_session_request_t *req,
                         apr_pool_t *pool, sse_identity_t *out);

#endif
