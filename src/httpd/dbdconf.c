/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for DBDriver and DBDParams in the tree of directives. httpd's parent, check_config. */
#include "httpd/dbdconf.h"

static void take(apr_pool_t *p, const ap_directive_t *list, sse_dbdconf_t *out)
{
    for (const ap_directive_t *d = list; d; d = d->next) {
        bool driver = !strcasecmp(d->directive, "DBDriver");
        if (!driver && strcasecmp(d->directive, "DBDParams"))
            continue;
        const char *args = d->args;
        const char *value = ap_getword_conf(p, &args);
        if (driver)
            out->driver = value;
        else
            out->params = value;
        if (!driver || !out->file) {
            out->file = d->filename;
            out->line = d->line_num;
        }
    }
}

/* The directives inside the virtual host's section; NULL for the main server. */
static const ap_directive_t *directives_of(const server_rec *s)
{
    for (const ap_directive_t *d = ap_conftree; s->is_virtual && d; d = d->next)
        if (d->first_child && s->defn_name && d->line_num == (int)s->defn_line_number &&
            !strcmp(d->filename, s->defn_name))
            return d->first_child;
    return NULL;
}

sse_dbdconf_t sse_dbdconf_of(apr_pool_t *p, const server_rec *s)
{
    sse_dbdconf_t out = {.params = ""};
    take(p, ap_conftree, &out);
    take(p, directives_of(s), &out);
    return out;
}

bool sse_dbdconf_same(const sse_dbdconf_t *a, const sse_dbdconf_t *b)
{
    return a && b && a->driver && b->driver && !strcasecmp(a->driver, b->driver) &&
           !strcmp(a->params, b->params);
}
