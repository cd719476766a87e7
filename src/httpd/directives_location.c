/* SPDX-License-Identifier: Apache-2.0 */
/* The directives of a stream or admin location. Runs in httpd's parent while it reads its
 * configuration, still as root: secrets and keys are read here and never again. */
#include "httpd/directives.h"

#include "core/name.h"
#include "httpd/origin.h"

#include <apr_lib.h>
#include <apr_strings.h>

const char *sse_directive_realm(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_dir_conf_t *d = cfg;
    const char *problem = sse_name_realm_problem(sse_str(value));
    if (problem)
        return apr_psprintf(cmd->pool, "SSERealm: \"%s\" %s", value, problem);
    d->realm = value;
    return NULL;
}

const char *sse_directive_session(cmd_parms *cmd, void *cfg, const char *engine,
                                  const char *argument)
{
    sse_dir_conf_t *d = cfg;
    sse_engine_t parsed;
    if (sse_engine_parse(engine, &parsed) != APR_SUCCESS)
        return apr_psprintf(cmd->pool, "SSESession: the engine \"%s\" is unknown; allowed are %s",
                            engine, sse_engine_names());
    const char *problem = sse_engine_argument_problem(parsed, argument, cmd->pool);
    if (problem)
        return apr_psprintf(cmd->pool, "SSESession %s: %s", engine, problem);
    d->engine = (int)parsed;
    d->engine_name = engine;
    d->engine_argument = argument;
    return NULL;
}

const char *sse_directive_django_config(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_dir_conf_t *d = cfg;
    const char *problem = "is not a path";
    const char *path = ap_server_root_relative(cmd->pool, value);
    const sse_lines_t *lines = path ? sse_config_read_lines(cmd->pool, path, &problem) : NULL;
    if (!lines)
        return apr_psprintf(cmd->pool, "SSEDjangoConfig: %s %s", value, problem);
    /* Lines are separated by what is white space in JSON too. */
    sse_str_t last = lines->line[lines->n - 1];
    sse_str_t json = {lines->line[0].p, (size_t)(last.p + last.n - lines->line[0].p)};
    sse_django_t *django = apr_pcalloc(cmd->pool, sizeof(*django));
    sse_django_defaults(django, cmd->pool);
    if (sse_django_read(json, cmd->pool, django, &problem) != APR_SUCCESS)
        return apr_psprintf(cmd->pool, "SSEDjangoConfig: %s: %s", path, problem);
    d->django = django;
    d->django_path = path;
    return NULL;
}

const char *sse_directive_session_cookie(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_dir_conf_t *d = cfg;
    for (const char *c = value; *c; c++)
        if (!apr_isalnum(*c) && !strchr("!#$%&'*+-.^_`|~", *c))
            return apr_psprintf(cmd->pool,
                                "SSESessionCookie: \"%s\" is not a cookie name (letters, digits "
                                "and !#$%%&'*+-.^_`|~)",
                                value);
    if (!*value)
        return "SSESessionCookie: the name is empty";
    d->cookie_name = value;
    return NULL;
}

const char *sse_directive_secret_key_file(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_dir_conf_t *d = cfg;
    const char *problem = "is not a path";
    const char *path = ap_server_root_relative(cmd->pool, value);
    const sse_lines_t *lines = path ? sse_config_read_lines(cmd->pool, path, &problem) : NULL;
    if (!lines)
        return apr_psprintf(cmd->pool, "SSESecretKeyFile: %s %s", value, problem);
    d->secrets = lines;
    return NULL;
}

const char *sse_directive_session_cache(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_dir_conf_t *d = cfg;
    sse_global_conf_t *g = sse_config_global();
    const char *problem =
        sse_directive_parse_number(cmd->pool, value, 0, 3600, "seconds", &d->session_cache);
    if (problem)
        return apr_pstrcat(cmd->pool, "SSESessionCache: ", problem, NULL);
    if (d->session_cache > g->longest_cache)
        g->longest_cache = d->session_cache;
    return NULL;
}

const char *sse_directive_anonymous(cmd_parms *cmd, void *cfg, int on)
{
    sse_dir_conf_t *d = cfg;
    d->anonymous = on ? 1 : 0;
    return NULL;
}

const char *sse_directive_allow_events(cmd_parms *cmd, void *cfg, int argc, char *const argv[])
{
    sse_dir_conf_t *d = cfg;
    if (!argc)
        return "SSEAllowEvents takes one or more patterns";
    apr_array_header_t *patterns = apr_array_make(cmd->pool, argc, sizeof(const char *));
    for (int i = 0; i < argc; i++) {
        const char *problem = sse_name_pattern_problem(sse_str(argv[i]));
        if (problem)
            return apr_psprintf(cmd->pool, "SSEAllowEvents: the pattern \"%s\" %s", argv[i],
                                problem);
        *(const char **)apr_array_push(patterns) = argv[i];
    }
    d->allow_events = patterns;
    return NULL;
}

const char *sse_directive_allow_origin(cmd_parms *cmd, void *cfg, int argc, char *const argv[])
{
    sse_dir_conf_t *d = cfg;
    if (!argc)
        return "SSEAllowOrigin takes one or more origins";
    apr_array_header_t *origins = apr_array_make(cmd->pool, argc, sizeof(const char *));
    for (int i = 0; i < argc; i++) {
        const char *origin = sse_origin_normalize(argv[i], cmd->pool);
        if (!origin)
            return apr_psprintf(cmd->pool,
                                "SSEAllowOrigin: \"%s\" is not an origin; allowed are http:// or "
                                "https://, a host and a port if it is not the scheme's own, "
                                "nothing after it, no *",
                                argv[i]);
        *(const char **)apr_array_push(origins) = origin;
    }
    d->allow_origins = origins;
    return NULL;
}

const char *sse_directive_admin_key_file(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_dir_conf_t *d = cfg;
    sse_adminkeys_t *keys = apr_pcalloc(cmd->pool, sizeof(*keys));
    keys->path = ap_server_root_relative(cmd->pool, value);
    if (!keys->path)
        return apr_psprintf(cmd->pool, "SSEAdminKeyFile: \"%s\" is not a path", value);

    apr_finfo_t info;
    apr_status_t rv = apr_stat(&info, keys->path, APR_FINFO_TYPE, cmd->pool);
    if (APR_STATUS_IS_ENOENT(rv)) {
        const char *dir = ap_make_dirstr_parent(cmd->pool, keys->path);
        if (apr_stat(&info, dir, APR_FINFO_TYPE, cmd->pool) != APR_SUCCESS)
            return apr_psprintf(cmd->pool,
                                "SSEAdminKeyFile: %s does not exist, and its directory does not "
                                "either",
                                value);
        *(sse_adminkeys_t **)apr_array_push(sse_config_global()->new_keys) = keys;
    } else {
        const char *problem = sse_config_read_keys(cmd->pool, keys);
        if (problem)
            return apr_psprintf(cmd->pool, "SSEAdminKeyFile: %s %s", value, problem);
    }
    d->keys = keys;
    return NULL;
}
