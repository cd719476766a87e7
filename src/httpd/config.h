/* SPDX-License-Identifier: Apache-2.0 */
/* What the directives say: one server-wide record, owned by the configuration pool of the main
 * server, and one record a directory section, merged by httpd for each request. Written while httpd
 * reads its configuration, never afterwards; any thread may read. */
#ifndef SSE_HTTPD_CONFIG_H
#define SSE_HTTPD_CONFIG_H

#include "core/crypto.h"
#include "core/hubconf.h"
#include "session/session.h"

#include <httpd.h>

#include <http_config.h>
#include <http_log.h>

APLOG_USE_MODULE(sse);
extern module AP_MODULE_DECLARE_DATA sse_module;

#define SSE_HANDLER_STREAM "sse-stream"
#define SSE_HANDLER_ADMIN "sse-admin"

/* Lines of a file that was read while httpd was still root: SSESecretKeyFile or SSEAdminKeyFile. */
typedef struct sse_lines_t {
    const char *path;
    const sse_str_t *line;
    size_t n;
} sse_lines_t;

/* SSEAdminKeyFile or the default file: SHA-256 of each key, so that keys of any length compare in
 * constant time. */
typedef struct sse_adminkeys_t {
    const char *path;
    unsigned char (*digest)[SSE_DIGEST_MAX];
    size_t n; /* 0 until post_config when the file has to be made */
} sse_adminkeys_t;

typedef struct sse_global_conf_t {
    sse_hubconf_t hub;         /* numbers only; its strings are filled in when the hub is started */
    const char *broker;        /* "local" or a URL, `file:` resolved */
    const char *state_dir;     /* absolute */
    const char *hub_program;   /* absolute */
    const char *driver_dir;    /* absolute */
    const char *admin_socket;  /* absolute; NULL: none */
    bool admin_socket_default; /* no directive asked for it */
    int admin_socket_mode;
    gid_t admin_socket_group; /* (gid_t)-1: httpd's Group */
    const char *durability;
    bool tls_handoff;
    bool parked_set;               /* SSEParkedStreams was given */
    sse_adminkeys_t *default_keys; /* <SSEStateDir>/admin.key; NULL while no location uses it */
    apr_array_header_t *new_keys;  /* sse_adminkeys_t*: files that do not exist yet */
    int64_t longest_cache;         /* seconds: the largest SSESessionCache */
} sse_global_conf_t;

typedef struct sse_dir_conf_t {
    const char *realm; /* NULL: not said */
    int engine;        /* sse_engine_t; -1: not said */
    const char *engine_name;
    const char *engine_argument;
    const char *cookie_name;
    const sse_django_t *django;
    const char *django_path;
    const sse_lines_t *secrets;
    int64_t session_cache;                   /* seconds; -1: not said */
    int anonymous;                           /* 0, 1; -1: not said */
    const apr_array_header_t *allow_events;  /* const char* patterns */
    const apr_array_header_t *allow_origins; /* const char*, normalised */
    sse_adminkeys_t *keys;
} sse_dir_conf_t;

void *sse_config_create_server(apr_pool_t *p, server_rec *s);
void *sse_config_merge_server(apr_pool_t *p, void *base, void *add);
void *sse_config_create_dir(apr_pool_t *p, char *dir);
void *sse_config_merge_dir(apr_pool_t *p, void *base, void *add);

/* The server-wide record of the main server. */
sse_global_conf_t *sse_config_global(void);

/* Effective values. */
const sse_dir_conf_t *sse_config_of(const request_rec *r);
const char *sse_config_realm(const sse_dir_conf_t *d);
sse_engine_t sse_config_engine(const sse_dir_conf_t *d);
int64_t sse_config_session_cache(const sse_dir_conf_t *d);

/* Lines of a file of at most 64 KiB: no empty ones, CR at the end dropped. NULL with a sentence in
 * *out_problem ("cannot be read: Permission denied") otherwise. */
const sse_lines_t *sse_config_read_lines(apr_pool_t *p, const char *path, const char **out_problem);
/* Reads keys (lines that do not begin with '#') into *keys; NULL or a sentence about what is wrong.
 */
const char *sse_config_read_keys(apr_pool_t *p, sse_adminkeys_t *keys);

#endif
