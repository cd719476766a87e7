/* SPDX-License-Identifier: Apache-2.0 */
/* The server-wide directives. Runs in httpd's parent while it reads its configuration. */
#include "httpd/directives.h"

#include "core/brokerurl.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <grp.h>
#include <sys/un.h>

static const char *const broker_schemes[] = {"redis://", "rediss://", "redis+unix://",
                                             "redis+sentinel://", "redis+cluster://"};

/* Sets *out_global, or returns why the directive may not stand here. */
static const char *server_wide(cmd_parms *cmd, sse_global_conf_t **out_global)
{
    const char *problem = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (!problem)
        *out_global = sse_config_global();
    return problem;
}

const char *sse_directive_parse_number(apr_pool_t *p, const char *value, int64_t min, int64_t max,
                                       const char *unit, int64_t *out)
{
    char *end;
    errno = 0;
    apr_int64_t n = apr_strtoi64(value, &end, 10);
    if (!apr_isdigit(*value) || *end || errno || n < min || n > max)
        return apr_psprintf(
            p, "\"%s\" is not a whole number of %s from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT,
            value, unit, (apr_int64_t)min, (apr_int64_t)max);
    *out = n;
    return NULL;
}

static const char *named(cmd_parms *cmd, const char *problem)
{
    return problem ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", problem, NULL) : NULL;
}

const char *sse_directive_number(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (problem)
        return problem;
    const sse_number_t *number = cmd->info;
    int64_t *member = (int64_t *)(void *)((char *)&g->hub + number->offset);
    if (member == &g->hub.parked_streams)
        g->parked_set = true;
    return named(cmd, sse_directive_parse_number(cmd->pool, value, number->min, number->max,
                                                 number->unit, member));
}

const char *sse_directive_history(cmd_parms *cmd, void *cfg, const char *count, const char *seconds)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (problem)
        return problem;
    problem = sse_directive_parse_number(cmd->pool, count, 0, 100000000, "messages",
                                         &g->hub.history_count);
    if (!problem && seconds)
        problem = sse_directive_parse_number(cmd->pool, seconds, 1, 315360000, "seconds",
                                             &g->hub.history_seconds);
    return named(cmd, problem);
}

/* NULL, or why this is no broker. A password in a URL must not come back in the message. */
static const char *broker_problem(apr_pool_t *p, const char *url)
{
    if (!strcmp(url, "local"))
        return NULL;
    for (size_t i = 0; i < SSE_ARRAY_LEN(broker_schemes); i++)
        if (!strncmp(url, broker_schemes[i], strlen(broker_schemes[i]))) {
            sse_brokerurl_t parsed;
            char problem[256];
            if (sse_brokerurl_parse(sse_str(url), &parsed, problem) != APR_SUCCESS)
                return apr_pstrdup(p, problem);
            sse_brokerurl_clear(&parsed);
            return NULL;
        }
    size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    if (n && !strncmp(url + n, "://", 3)) /* a driver's: sse_directive_driver_problem */
        return NULL;
    return apr_psprintf(
        p, "%s%s%sis neither local, nor a URL such as redis://host:6379/0, nor file:/path",
        strchr(url, '@') ? "the value " : "\"", strchr(url, '@') ? "" : url,
        strchr(url, '@') ? "" : "\" ");
}

const char *sse_directive_broker(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (problem)
        return problem;
    if (!strncmp(value, "file:", 5)) {
        const char *path = ap_server_root_relative(cmd->pool, value + 5);
        const sse_lines_t *lines = path ? sse_config_read_lines(cmd->pool, path, &problem) : NULL;
        if (!lines)
            return apr_psprintf(cmd->pool, "SSEBroker: %s %s", value + 5,
                                path ? problem : "is not a path");
        value = apr_pstrmemdup(cmd->pool, lines->line[0].p, lines->line[0].n);
    }
    problem = broker_problem(cmd->pool, value);
    if (!problem)
        g->broker = value;
    return named(cmd, problem);
}

static const char *path_of(cmd_parms *cmd, const char *value, const char **out_path)
{
    const char *path = *value ? ap_server_root_relative(cmd->pool, value) : NULL;
    if (!path)
        return apr_psprintf(cmd->pool, "%s: \"%s\" is not a path", cmd->cmd->name, value);
    *out_path = path;
    return NULL;
}

const char *sse_directive_state_dir(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (!problem)
        problem = path_of(cmd, value, &g->state_dir);
    apr_finfo_t info;
    if (!problem && apr_stat(&info, g->state_dir, APR_FINFO_TYPE, cmd->pool) == APR_SUCCESS &&
        info.filetype != APR_DIR)
        problem = apr_psprintf(cmd->pool, "SSEStateDir: %s is not a directory", g->state_dir);
    return problem;
}

const char *sse_directive_driver_dir(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (!problem)
        problem = path_of(cmd, value, &g->driver_dir);
    apr_finfo_t info;
    if (!problem && (apr_stat(&info, g->driver_dir, APR_FINFO_TYPE, cmd->pool) != APR_SUCCESS ||
                     info.filetype != APR_DIR))
        problem = apr_psprintf(cmd->pool, "SSEDriverDir: %s is not a directory", g->driver_dir);
    return problem;
}

const char *sse_directive_driver_problem(apr_pool_t *p, const sse_global_conf_t *g)
{
    const char *end = strstr(g->broker, "://");
    apr_finfo_t info;
    for (size_t i = 0; i < SSE_ARRAY_LEN(broker_schemes); i++)
        if (!strncmp(g->broker, broker_schemes[i], strlen(broker_schemes[i])))
            return NULL;
    if (!end)
        return NULL;
    const char *scheme = apr_pstrmemdup(p, g->broker, (apr_size_t)(end - g->broker));
    const char *name = apr_pstrmemdup(p, scheme, strcspn(scheme, "+"));
    const char *path = apr_pstrcat(p, g->driver_dir, "/sse_broker_", name, ".so", NULL);
    if (apr_stat(&info, path, APR_FINFO_TYPE, p) == APR_SUCCESS)
        return NULL;
    return apr_psprintf(
        p,
        "SSEBroker: no broker driver is known for \"%s://\": there is no %s; allowed "
        "are local, redis://, rediss://, redis+unix://, redis+sentinel://, "
        "redis+cluster:// and drivers in SSEDriverDir",
        scheme, path);
}

const char *sse_directive_hub_program(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (!problem)
        problem = path_of(cmd, value, &g->hub_program);
    apr_finfo_t info;
    apr_int32_t wanted = APR_FINFO_TYPE | APR_FINFO_PROT;
    if (!problem &&
        (apr_stat(&info, g->hub_program, wanted, cmd->pool) != APR_SUCCESS ||
         info.filetype != APR_REG ||
         !(info.protection & (APR_FPROT_UEXECUTE | APR_FPROT_GEXECUTE | APR_FPROT_WEXECUTE))))
        problem =
            apr_psprintf(cmd->pool, "SSEHubProgram: %s is not an executable file", g->hub_program);
    return problem;
}

const char *sse_directive_durability(cmd_parms *cmd, void *cfg, const char *value)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (problem)
        return problem;
    if (strcasecmp(value, "normal") && strcasecmp(value, "full"))
        return apr_psprintf(cmd->pool, "SSEDurability: \"%s\" is unknown; allowed are normal, full",
                            value);
    g->durability = strcasecmp(value, "full") ? "normal" : "full";
    return NULL;
}

const char *sse_directive_tls_handoff(cmd_parms *cmd, void *cfg, int on)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (!problem)
        g->tls_handoff = on;
    return problem;
}

static const char *parse_mode(apr_pool_t *p, const char *value, int *out_mode)
{
    char *end;
    apr_int64_t mode = apr_strtoi64(value, &end, 8);
    if (*value != '0' || *end || mode < 0 || mode > 0777)
        return apr_psprintf(
            p, "SSEAdminSocket: the mode \"%s\" is not an octal number from 0000 to 0777", value);
    *out_mode = (int)mode;
    return NULL;
}

const char *sse_directive_admin_socket(cmd_parms *cmd, void *cfg, const char *path,
                                       const char *mode, const char *group)
{
    sse_global_conf_t *g;
    const char *problem = server_wide(cmd, &g);
    if (problem)
        return problem;
    g->admin_socket_default = false;
    if (!strcasecmp(path, "none")) {
        g->admin_socket = NULL;
        return mode ? "SSEAdminSocket: none takes no mode" : NULL;
    }
    if ((problem = path_of(cmd, path, &g->admin_socket)))
        return problem;
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    if (strlen(g->admin_socket) > room)
        return apr_psprintf(cmd->pool,
                            "SSEAdminSocket: \"%s\" has %" APR_SIZE_T_FMT
                            " bytes; a socket's path may have %" APR_SIZE_T_FMT,
                            g->admin_socket, strlen(g->admin_socket), room);
    if (mode && (problem = parse_mode(cmd->pool, mode, &g->admin_socket_mode)))
        return problem;
    if (group) {
        const struct group *entry = getgrnam(group);
        if (!entry)
            return apr_psprintf(cmd->pool, "SSEAdminSocket: there is no group \"%s\"", group);
        g->admin_socket_group = entry->gr_gid;
    }
    return NULL;
}
