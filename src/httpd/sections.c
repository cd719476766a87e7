/* SPDX-License-Identifier: Apache-2.0 */
/* Walks httpd's sections for our handlers and checks what only the whole configuration shows: keys,
 * secrets, mod_dbd, realms. Runs in httpd's parent (check_config, so that configtest sees it too);
 * look-ups run in workers. */
#include "httpd/sections.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>
#include <mod_dbd.h>

typedef struct walk_t {
    apr_pool_t *p;
    server_rec *server;
    bool directory;
} walk_t;

/* Made anew by each check_config; workers inherit it. */
static apr_array_header_t *sections; /* sse_section_t */

/* The argument of the SetHandler at this place, NULL if it is an expression. */
static const char *handler_at(apr_pool_t *p, const ap_directive_t *tree, const ap_expr_info_t *expr)
{
    for (const ap_directive_t *d = tree; d; d = d->next) {
        if (d->first_child) {
            const char *found = handler_at(p, d->first_child, expr);
            if (found)
                return found;
        }
        if (d->line_num == (int)expr->line_number && !strcasecmp(d->directive, "SetHandler") &&
            d->filename && expr->filename && !strcmp(d->filename, expr->filename)) {
            const char *args = d->args;
            const char *word = ap_getword_conf(p, &args);
            return strstr(word, "%{") ? NULL : word;
        }
    }
    return NULL;
}

static void visit_entries(const walk_t *w, const apr_array_header_t *entries,
                          const sse_dir_conf_t *base);

static void visit(const walk_t *w, ap_conf_vector_t *entry, const sse_dir_conf_t *base)
{
    core_dir_config *core = ap_get_core_module_config(entry);
    sse_dir_conf_t *own = ap_get_module_config(entry, &sse_module);
    const sse_dir_conf_t *conf = base;
    if (own && own != base)
        conf = base ? sse_config_merge_dir(w->p, (void *)base, own) : own;
    if (!core)
        return;
    if (core->expr_handler) {
        const char *handler = handler_at(w->p, ap_conftree, core->expr_handler);
        if (!handler || !strcasecmp(handler, SSE_HANDLER_STREAM) ||
            !strcasecmp(handler, SSE_HANDLER_ADMIN)) {
            sse_section_t *section = apr_array_push(sections);
            *section = (sse_section_t){.expr = core->expr_handler,
                                       .handler = handler,
                                       .path = core->d,
                                       .regex = core->r,
                                       .directory = w->directory,
                                       .server = w->server,
                                       .conf = conf};
        }
    }
    visit_entries(w, core->sec_file, conf);
    visit_entries(w, core->sec_if, conf);
}

static void visit_entries(const walk_t *w, const apr_array_header_t *entries,
                          const sse_dir_conf_t *base)
{
    for (int i = 0; entries && i < entries->nelts; i++)
        visit(w, APR_ARRAY_IDX(entries, i, ap_conf_vector_t *), base);
}

static void find_sections(apr_pool_t *p, server_rec *main_server)
{
    sections = apr_array_make(p, 8, sizeof(sse_section_t));
    for (server_rec *s = main_server; s; s = s->next) {
        walk_t w = {p, s, false};
        core_server_config *core = ap_get_core_module_config(s->module_config);
        const sse_dir_conf_t *base = ap_get_module_config(s->lookup_defaults, &sse_module);
        visit(&w, s->lookup_defaults, base);
        visit_entries(&w, core->sec_url, base);
        w.directory = true;
        visit_entries(&w, core->sec_dir, base);
    }
}

static const char *name_of(apr_pool_t *p, const sse_section_t *s)
{
    const char *kind = s->directory ? "Directory" : s->regex ? "LocationMatch" : "Location";
    return s->path ? apr_psprintf(p, "<%s \"%s\">", kind, s->path) : "the server itself";
}

static bool is_handler(const sse_section_t *s, const char *handler)
{
    return s->handler && !strcasecmp(s->handler, handler);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static bool same_source(const sse_dir_conf_t *a, const sse_dir_conf_t *b)
{
    return sse_config_engine(a) == sse_config_engine(b) &&
           same_text(a->engine_argument, b->engine_argument) &&
           same_text(a->django_path, b->django_path) && same_text(a->cookie_name, b->cookie_name) &&
           same_text(a->secrets ? a->secrets->path : NULL, b->secrets ? b->secrets->path : NULL);
}

static int check_realms(apr_pool_t *p, server_rec *s)
{
    const sse_section_t *all = (const sse_section_t *)sections->elts;
    for (int i = 0; i < sections->nelts; i++)
        for (int j = 0; j < i; j++) {
            const sse_section_t *a = &all[j], *b = &all[i];
            if (!is_handler(a, SSE_HANDLER_STREAM) || !is_handler(b, SSE_HANDLER_STREAM) ||
                strcmp(sse_config_realm(a->conf), sse_config_realm(b->conf)) ||
                same_source(a->conf, b->conf) || (a->conf->realm && b->conf->realm))
                continue;
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "SSE0105: the streams of %s and %s share the realm \"%s\" but know their "
                         "users from different sources; write SSERealm in both",
                         name_of(p, a), name_of(p, b), sse_config_realm(a->conf));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    return OK;
}

/* Checks each DBDParams against the DBDriver that stands beside it or above. */
static int check_dbparams(apr_pool_t *p, server_rec *s, const ap_directive_t *tree,
                          const char *driver, bool *seen)
{
    for (const ap_directive_t *d = tree; d; d = d->next)
        if (!strcasecmp(d->directive, "DBDriver")) {
            const char *args = d->args;
            driver = ap_getword_conf(p, &args);
            *seen = true;
        }
    for (const ap_directive_t *d = tree; d; d = d->next) {
        if (d->first_child && check_dbparams(p, s, d->first_child, driver, seen) != OK)
            return HTTP_INTERNAL_SERVER_ERROR;
        if (!driver || strcasecmp(d->directive, "DBDParams"))
            continue;
        const char *args = d->args;
        bool fatal = false;
        const char *problem =
            sse_session_dbparams_problem(driver, ap_getword_conf(p, &args), p, &fatal);
        if (problem && fatal) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "SSE0103: DBDParams at %s:%d: %s",
                         d->filename, d->line_num, problem);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (problem)
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "SSE0104: DBDParams at %s:%d: %s",
                         d->filename, d->line_num, problem);
    }
    return OK;
}

static int check_database(apr_pool_t *p, server_rec *s, const char *engine)
{
    if (!APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open) || !APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close)) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "SSE0101: SSESession %s reads Django's users through mod_dbd, which is not "
                     "loaded; add LoadModule dbd_module",
                     engine);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    bool seen = false;
    if (check_dbparams(p, s, ap_conftree, NULL, &seen) != OK)
        return HTTP_INTERNAL_SERVER_ERROR;
    if (!seen) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "SSE0102: SSESession %s reads Django's users through mod_dbd, but no DBDriver "
                     "says which database",
                     engine);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static int check_streams(apr_pool_t *p, server_rec *s)
{
    const char *needs_db = NULL; /* the engine that does */
    for (int i = 0; i < sections->nelts; i++) {
        const sse_section_t *section = &APR_ARRAY_IDX(sections, i, sse_section_t);
        if (!is_handler(section, SSE_HANDLER_STREAM))
            continue;
        sse_engine_t engine = sse_config_engine(section->conf);
        if (sse_engine_needs_secret(engine) && !section->conf->secrets) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "SSE0100: SSESession %s of %s checks signatures, but no SSESecretKeyFile "
                         "holds there",
                         section->conf->engine_name, name_of(p, section));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (sse_engine_needs_db(engine))
            needs_db = section->conf->engine_name;
    }
    return needs_db ? check_database(p, s, needs_db) : OK;
}

/* The key file of admin locations that name none. */
static int check_default_keys(apr_pool_t *p, server_rec *s)
{
    sse_global_conf_t *g = sse_config_global();
    bool wanted = false;
    for (int i = 0; i < sections->nelts; i++) {
        const sse_section_t *section = &APR_ARRAY_IDX(sections, i, sse_section_t);
        wanted = wanted || (!is_handler(section, SSE_HANDLER_STREAM) && !section->conf->keys);
    }
    if (!wanted)
        return OK;
    g->default_keys = apr_pcalloc(p, sizeof(*g->default_keys));
    g->default_keys->path = apr_pstrcat(p, g->state_dir, "/admin.key", NULL);
    apr_finfo_t info;
    apr_status_t rv = apr_stat(&info, g->default_keys->path, APR_FINFO_TYPE, p);
    if (APR_STATUS_IS_ENOENT(rv)) {
        *(sse_keys_t **)apr_array_push(g->new_keys) = g->default_keys;
        return OK;
    }
    const char *problem = sse_config_read_keys(p, g->default_keys);
    if (!problem)
        return OK;
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "SSE0106: the admin key file %s %s",
                 g->default_keys->path, problem);
    return HTTP_INTERNAL_SERVER_ERROR;
}

int sse_sections_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    find_sections(pconf, s);
    int rc = check_streams(ptemp, s);
    if (rc == OK)
        rc = check_realms(ptemp, s);
    return rc == OK ? check_default_keys(pconf, s) : rc;
}

const sse_section_t *sse_sections_find(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    if (!core->expr_handler || !r->handler)
        return NULL;
    for (int i = 0; i < sections->nelts; i++) {
        const sse_section_t *section = &APR_ARRAY_IDX(sections, i, sse_section_t);
        if (section->expr != core->expr_handler)
            continue;
        if (section->handler)
            return strcasecmp(section->handler, r->handler) ? NULL : section;
        const char *err = NULL;
        const char *value = ap_expr_str_exec(r, section->expr, &err);
        return !err && value && !strcmp(value, r->handler) ? section : NULL;
    }
    return NULL;
}

/* Everything but unreserved characters and '/' in percent escapes. */
static const char *encode_path(apr_pool_t *p, const char *path)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = apr_palloc(p, strlen(path) * 3 + 2), *to = out;
    if (*path != '/')
        *to++ = '/';
    for (const unsigned char *c = (const unsigned char *)path; *c; c++) {
        if (apr_isalnum(*c) || strchr("/-._~", *c)) {
            *to++ = (char)*c;
        } else {
            *to++ = '%';
            *to++ = digits[*c >> 4];
            *to++ = digits[*c & 15];
        }
    }
    *to = '\0';
    return out;
}

const char *sse_sections_path_below(const sse_section_t *section, const request_rec *r)
{
    const char *rest = r->uri;
    if (section->directory) {
        rest = r->path_info ? r->path_info : "";
    } else if (section->regex) {
        ap_regmatch_t match;
        if (!ap_regexec(section->regex, r->uri, 1, &match, 0))
            rest = r->uri + match.rm_eo;
    } else if (section->path) {
        size_t n = strlen(section->path);
        if (n && section->path[n - 1] == '/')
            n--;
        if (!strncmp(r->uri, section->path, n))
            rest = r->uri + n;
    }
    return encode_path(r->pool, rest);
}
