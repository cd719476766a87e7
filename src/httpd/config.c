/* SPDX-License-Identifier: Apache-2.0 */
/* Records behind the directives: made, merged, looked up. Runs in httpd's parent while it reads its
 * configuration (merging of directory records also in workers, per request). */
#include "httpd/config.h"

#include "core/crypto.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <http_core.h>

#define LINES_FILE_MAX 65536
#define KEY_MIN 16

/* The module's only global: the record of the configuration in force. httpd reads a configuration
 * in one thread, before any worker exists. */
static sse_global_conf_t *global_conf;

static apr_status_t clear_hubconf(void *conf)
{
    sse_hubconf_clear(conf);
    return APR_SUCCESS;
}

void *sse_config_create_server(apr_pool_t *p, server_rec *s)
{
    if (s->is_virtual)
        return global_conf;
    sse_global_conf_t *g = apr_pcalloc(p, sizeof(*g));
    sse_hubconf_init(&g->hub);
    apr_pool_cleanup_register(p, &g->hub, clear_hubconf, apr_pool_cleanup_null);
    g->broker = "local";
    g->state_dir = SSE_STATE_DIR;
    g->hub_program = SSE_HUB_PROGRAM;
    g->driver_dir = SSE_DRIVER_DIR;
    g->admin_socket = SSE_RUN_DIR "/admin.sock";
    g->admin_socket_default = true;
    g->admin_socket_mode = 0660;
    g->admin_socket_group = (gid_t)-1;
    g->durability = "normal";
    g->tls_handoff = true;
    g->new_keys = apr_array_make(p, 2, sizeof(sse_adminkeys_t *));
    g->longest_cache = 10;
    global_conf = g;
    return g;
}

void *sse_config_merge_server(apr_pool_t *p, void *base, void *add)
{
    return base;
}

sse_global_conf_t *sse_config_global(void)
{
    return global_conf;
}

void *sse_config_create_dir(apr_pool_t *p, char *dir)
{
    sse_dir_conf_t *d = apr_pcalloc(p, sizeof(*d));
    d->engine = -1;
    d->session_cache = -1;
    d->anonymous = -1;
    return d;
}

#define INHERIT(member, unset) (over->member != (unset) ? over->member : under->member)

void *sse_config_merge_dir(apr_pool_t *p, void *base, void *add)
{
    const sse_dir_conf_t *under = base, *over = add;
    sse_dir_conf_t *d = apr_pcalloc(p, sizeof(*d));
    d->realm = INHERIT(realm, NULL);
    d->engine = INHERIT(engine, -1);
    d->engine_name = over->engine != -1 ? over->engine_name : under->engine_name;
    d->engine_argument = over->engine != -1 ? over->engine_argument : under->engine_argument;
    d->cookie_name = INHERIT(cookie_name, NULL);
    d->django = INHERIT(django, NULL);
    d->django_path = INHERIT(django_path, NULL);
    d->secrets = INHERIT(secrets, NULL);
    d->session_cache = INHERIT(session_cache, -1);
    d->anonymous = INHERIT(anonymous, -1);
    d->allow_events = INHERIT(allow_events, NULL);
    d->allow_origins = INHERIT(allow_origins, NULL);
    d->keys = INHERIT(keys, NULL);
    return d;
}

const sse_dir_conf_t *sse_config_of(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &sse_module);
}

const char *sse_config_realm(const sse_dir_conf_t *d)
{
    return d->realm ? d->realm : "default";
}

sse_engine_t sse_config_engine(const sse_dir_conf_t *d)
{
    return d->engine == -1 ? SSE_ENGINE_NONE : (sse_engine_t)d->engine;
}

int64_t sse_config_session_cache(const sse_dir_conf_t *d)
{
    return d->session_cache == -1 ? 10 : d->session_cache;
}

static const char *read_file(apr_pool_t *p, const char *path, char **out_text, size_t *out_len)
{
    char reason[120];
    apr_file_t *file;
    /* A pipe in the file's place must not hold httpd up: it is refused below. */
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_NONBLOCK, 0, p);
    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "cannot be read: %s", apr_strerror(rv, reason, sizeof(reason)));

    apr_finfo_t info;
    const char *problem = NULL;
    rv = apr_file_info_get(&info, APR_FINFO_TYPE | APR_FINFO_SIZE, file);
    if (rv != APR_SUCCESS)
        problem = apr_psprintf(p, "cannot be read: %s", apr_strerror(rv, reason, sizeof(reason)));
    else if (info.filetype != APR_REG)
        problem = "is not a regular file";
    else if (info.size > LINES_FILE_MAX)
        problem = "is longer than 64 KiB";
    if (!problem) {
        apr_size_t n = 0;
        char *text = apr_palloc(p, (apr_size_t)info.size + 1);
        rv = apr_file_read_full(file, text, (apr_size_t)info.size, &n);
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv)) {
            problem =
                apr_psprintf(p, "cannot be read: %s", apr_strerror(rv, reason, sizeof(reason)));
        } else {
            text[n] = '\0';
            *out_text = text;
            *out_len = n;
        }
    }
    apr_file_close(file);
    return problem;
}

const sse_lines_t *sse_config_read_lines(apr_pool_t *p, const char *path, const char **out_problem)
{
    char *text;
    size_t len;
    const char *problem = read_file(p, path, &text, &len);
    if (!problem && memchr(text, '\0', len))
        problem = "has a NUL byte";
    if (problem) {
        *out_problem = problem;
        return NULL;
    }
    apr_array_header_t *lines = apr_array_make(p, 4, sizeof(sse_str_t));
    for (char *at = text, *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, "\n");
        size_t n = (size_t)(end - at);
        if (n && at[n - 1] == '\r')
            n--;
        if (n)
            *(sse_str_t *)apr_array_push(lines) = (sse_str_t){at, n};
    }
    if (!lines->nelts) {
        *out_problem = "is empty";
        return NULL;
    }
    sse_lines_t *out = apr_pcalloc(p, sizeof(*out));
    out->path = path;
    out->line = (const sse_str_t *)lines->elts;
    out->n = (size_t)lines->nelts;
    return out;
}

const char *sse_config_read_keys(apr_pool_t *p, sse_adminkeys_t *keys)
{
    const char *problem;
    const sse_lines_t *lines = sse_config_read_lines(p, keys->path, &problem);
    if (!lines)
        return problem;
    unsigned char(*digest)[SSE_DIGEST_MAX] = apr_pcalloc(p, lines->n * sizeof(*digest));
    size_t n = 0;
    for (size_t i = 0; i < lines->n; i++) {
        sse_str_t key = lines->line[i];
        if (key.p[0] == '#')
            continue;
        if (key.n < KEY_MIN)
            return apr_psprintf(p, "has a key shorter than %d characters", KEY_MIN);
        for (size_t c = 0; c < key.n; c++)
            if (key.p[c] <= ' ' || key.p[c] > '~')
                return "has a key with a space, a control character or a character that is not "
                       "ASCII";
        sse_digest(SSE_SHA256, &key, 1, digest[n++]);
    }
    if (!n)
        return "has no key";
    keys->digest = digest;
    keys->n = n;
    return NULL;
}
