/* SPDX-License-Identifier: Apache-2.0 */
/* The directives of docs/directives.md. A handler returns NULL or a sentence that names the value
 * and what is allowed; httpd puts the file, the line and the directive's name before it. */
#ifndef SSE_HTTPD_DIRECTIVES_H
#define SSE_HTTPD_DIRECTIVES_H

#include "httpd/config.h"

extern const command_rec sse_directives[];

/* directives_server.c: server-wide; cfg is not used. */
const char *sse_directive_number(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_broker(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_state_dir(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_hub_program(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_driver_dir(cmd_parms *cmd, void *cfg, const char *value);
/* NULL, or why the driver of SSEBroker's scheme cannot be loaded; once all directives were read. */
const char *sse_directive_driver_problem(apr_pool_t *p, const sse_global_conf_t *g);
const char *sse_directive_admin_socket(cmd_parms *cmd, void *cfg, const char *path,
                                       const char *mode, const char *group);
const char *sse_directive_durability(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_history(cmd_parms *cmd, void *cfg, const char *count,
                                  const char *seconds);
const char *sse_directive_tls_handoff(cmd_parms *cmd, void *cfg, int on);

/* directives_location.c: cfg is the section's sse_dir_conf_t. */
const char *sse_directive_realm(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_session(cmd_parms *cmd, void *cfg, const char *engine,
                                  const char *argument);
const char *sse_directive_django_config(cmd_parms *cmd, void *cfg, const char *path);
const char *sse_directive_session_cookie(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_secret_key_file(cmd_parms *cmd, void *cfg, const char *path);
const char *sse_directive_session_cache(cmd_parms *cmd, void *cfg, const char *value);
const char *sse_directive_anonymous(cmd_parms *cmd, void *cfg, int on);
const char *sse_directive_allow_events(cmd_parms *cmd, void *cfg, int argc, char *const argv[]);
const char *sse_directive_allow_origin(cmd_parms *cmd, void *cfg, int argc, char *const argv[]);
const char *sse_directive_admin_key_file(cmd_parms *cmd, void *cfg, const char *path);

/* A whole number from min to max; NULL, or a sentence. */
const char *sse_directive_parse_number(apr_pool_t *p, const char *value, int64_t min, int64_t max,
                                       const char *unit, int64_t *out);

/* A whole-number directive of the hub's configuration (info of sse_directive_number). */
typedef struct sse_number_t {
    size_t offset; /* in sse_hubconf_t */
    int64_t min, max;
    const char *unit; /* for the message: "seconds" */
} sse_number_t;

#endif
