/* SPDX-License-Identifier: Apache-2.0 */
/* Walks httpd's sections for our handlers and checks what only the whole configuration shows: keys,
 * secrets, mod_dbd, realms. Runs in httpd's parent (check_config, so that configtest sees it too);
 * look-ups run in workers. */
#include "httpd/sections.h"

#include "httpd/directives.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_core.h>
#include <mod_dbd.h>

typedef struct walk_t {
    apr_pool_t *p;
    server_rec *server;
    bool directory;
    const sse_dbdconf_t *db; /* of the server, once a stream needed it */
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

static void visit_entries(walk_t *w, const apr_array_header_t *entries, const sse_dir_conf_t *base);

static bool is_handler(const sse_section_t *s, const char *handler)
{
    return s->handler && !strcasecmp(s->handler, handler);
}

static void find_database(walk_t *w, sse_section_t *section)
{
    if (!is_handler(section, SSE_HANDLER_STREAM) ||
        !sse_engine_needs_db(sse_config_engine(section->conf)))
        return;
    if (!w->db) {
        sse_dbdconf_t found = sse_dbdconf_of(w->p, w->server);
        w->db = apr_pmemdup(w->p, &found, sizeof(found));
    }
    section->db = w->db;
}

static void visit(walk_t *w, ap_conf_vector_t *entry, const sse_dir_conf_t *base)
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
            find_database(w, section);
        }
    }
    visit_entries(w, core->sec_file, conf);
    visit_entries(w, core->sec_if, conf);
}

static void visit_entries(walk_t *w, const apr_array_header_t *entries, const sse_dir_conf_t *base)
{
    for (int i = 0; entries && i < entries->nelts; i++)
        visit(w, APR_ARRAY_IDX(entries, i, ap_conf_vector_t *), base);
}

static void find_sections(apr_pool_t *p, server_rec *main_server)
{
    sections = apr_array_make(p, 8, sizeof(sse_section_t));
    for (server_rec *s = main_server; s; s = s->next) {
        walk_t w = {p, s, false, NULL};
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
    const char *host = "";
    if (s->server->is_virtual)
        host = apr_psprintf(p, " (virtual host at %s:%u)", s->server->defn_name,
                            s->server->defn_line_number);
    return s->path ? apr_psprintf(p, "<%s \"%s\">%s", kind, s->path, host)
                   : apr_pstrcat(p, "the server itself", host, NULL);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* True when the two streams know their users from the same place. */
static bool same_source(const sse_section_t *one, const sse_section_t *other)
{
    const sse_dir_conf_t *a = one->conf, *b = other->conf;
    return sse_config_engine(a) == sse_config_engine(b) &&
           same_text(a->engine_argument, b->engine_argument) &&
           same_text(a->django_path, b->django_path) && same_text(a->cookie_name, b->cookie_name) &&
           same_text(a->secrets ? a->secrets->path : NULL, b->secrets ? b->secrets->path : NULL) &&
           (one->db == other->db || sse_dbdconf_same(one->db, other->db));
}

/* Whether a stream may join those of its realm: all from one source, or SSERealm written for all.
 * `seen` has one stream of each realm and source, one without SSERealm where there is such. */
static int check_realm(apr_pool_t *p, server_rec *s, apr_array_header_t *seen,
                       const sse_section_t *section)
{
    bool known = false;
    for (int i = 0; i < seen->nelts; i++) {
        const sse_section_t **other = &APR_ARRAY_IDX(seen, i, const sse_section_t *);
        if (strcmp(sse_config_realm(section->conf), sse_config_realm((*other)->conf)))
            continue;
        if (same_source(section, *other)) {
            known = true;
            if (!section->conf->realm)
                *other = section;
        } else if (!section->conf->realm || !(*other)->conf->realm) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "SSE0105: the streams of %s and %s share the realm \"%s\" but know their "
                         "users from different sources; write SSERealm in both",
                         name_of(p, *other), name_of(p, section), sse_config_realm(section->conf));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    if (!known)
        *(const sse_section_t **)apr_array_push(seen) = section;
    return OK;
}

static int check_realms(apr_pool_t *p, server_rec *s)
{
    apr_array_header_t *seen = apr_array_make(p, 4, sizeof(const sse_section_t *));
    for (int i = 0; i < sections->nelts; i++) {
        const sse_section_t *section = &APR_ARRAY_IDX(sections, i, sse_section_t);
        if (is_handler(section, SSE_HANDLER_STREAM) && check_realm(p, s, seen, section) != OK)
            return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* The database of a server with streams that need one. */
static int check_database(apr_pool_t *p, server_rec *s, const sse_section_t *section)
{
    const char *engine = section->conf->engine_name;
    if (!APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open) || !APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close)) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "SSE0101: SSESession %s reads Django's users through mod_dbd, which is not "
                     "loaded; add LoadModule dbd_module",
                     engine);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    const sse_dbdconf_t *db = section->db;
    if (!db->driver) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "SSE0102: SSESession %s of %s reads Django's users through mod_dbd, but no "
                     "DBDriver says which database",
                     engine, name_of(p, section));
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    bool fatal = false;
    const char *problem = sse_session_dbparams_problem(db->driver, db->params, p, &fatal);
    if (problem && fatal) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "SSE0103: DBDParams at %s:%d: %s", db->file,
                     db->line, problem);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (problem)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "SSE0104: DBDParams at %s:%d: %s", db->file,
                     db->line, problem);
    return OK;
}

static int check_streams(apr_pool_t *p, server_rec *s)
{
    const sse_dbdconf_t *checked = NULL; /* sections come server by server */
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
        if (!section->db || section->db == checked)
            continue;
        if (check_database(p, s, section) != OK)
            return HTTP_INTERNAL_SERVER_ERROR;
        checked = section->db;
    }
    return OK;
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
        *(sse_adminkeys_t **)apr_array_push(g->new_keys) = g->default_keys;
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
    const char *problem = sse_directive_driver_problem(ptemp, sse_config_global());
    if (problem) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "SSE0125: %s", problem);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
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
