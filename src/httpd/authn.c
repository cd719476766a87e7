/* SPDX-License-Identifier: Apache-2.0 */
/* Lends the session layer what it needs of httpd: the Cookie header, a database connection of
 * mod_dbd, a line to the hub. */
#include "httpd/authn.h"

#include "core/crypto.h"
#include "core/json.h"
#include "httpd/authcache.h"
#include "httpd/dbdsocket.h"
#include "httpd/hublink.h"
#include "httpd/logsink.h"
#include "httpd/lookups.h"
#include "httpd/prepared.h"
#include "httpd/sections.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <mod_dbd.h>

/* A database that did not answer is left alone for a moment: opening a connection takes its time
 * and, in mod_dbd, one at a time. */
#define DATABASE_AWAY apr_time_from_msec(1000)
#define OPENING_WAIT apr_time_from_msec(1000)

/* A session configuration in use by this child, with its connections. */
typedef struct source_t {
    sse_session_conf_t conf;
    unsigned char name[SSE_DIGEST_MAX]; /* the same in every child */
    bool open;
    bool opening; /* a thread is getting a connection from mod_dbd */
    apr_time_t away_until;
    struct source_t *next;
} source_t;

static struct {
    apr_pool_t *pool;
    apr_thread_mutex_t *mutex; /* guards all below */
    apr_thread_cond_t *opened; /* a source is no longer being opened */
    source_t *sources;
    sse_django_t django; /* defaults */
} child;

/* Of all children of this configuration. */
static sse_authcache_t *cache;

static APR_OPTIONAL_FN_TYPE(ap_dbd_open) * dbd_open;
static APR_OPTIONAL_FN_TYPE(ap_dbd_close) * dbd_close;

int sse_authn_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    cache = sse_authcache_create(pconf);
    return OK;
}

void sse_authn_child_init(apr_pool_t *child_pool, server_rec *s)
{
    memset(&child, 0, sizeof(child));
    /* Of its own: the MPM's threads take memory from the child's. */
    apr_pool_create(&child.pool, child_pool);
    apr_thread_mutex_create(&child.mutex, APR_THREAD_MUTEX_DEFAULT, child_pool);
    apr_thread_cond_create(&child.opened, child_pool);
    sse_lookups_child_init(child_pool);
    sse_django_defaults(&child.django, child_pool);
    dbd_open = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_open);
    dbd_close = APR_RETRIEVE_OPTIONAL_FN(ap_dbd_close);
}

static const char *cookie_name(const sse_dir_conf_t *d)
{
    if (d->cookie_name)
        return d->cookie_name;
    return d->django && d->django->cookie_name ? d->django->cookie_name : "sessionid";
}

/* Children of one configuration have its objects at the same addresses. */
static void name_source(source_t *source)
{
    const sse_session_conf_t *conf = &source->conf;
    const void *const objects[] = {conf->argument, conf->django, conf->secrets};
    unsigned char engine = (unsigned char)conf->engine;
    const sse_str_t parts[] = {{(const char *)&engine, sizeof(engine)},
                               {(const char *)objects, sizeof(objects)},
                               sse_str(conf->cookie_name)};
    sse_digest(SSE_SHA256, parts, SSE_ARRAY_LEN(parts), source->name);
}

/* The child's configuration object for what the directives say; made at its first request. NULL if
 * it cannot be opened. */
static source_t *source_of(const sse_dir_conf_t *d)
{
    sse_engine_t engine = sse_config_engine(d);
    const char *cookie = cookie_name(d);
    const sse_django_t *django = d->django ? d->django : &child.django;
    const sse_str_t *secrets = d->secrets ? d->secrets->line : NULL;
    source_t *source;
    apr_thread_mutex_lock(child.mutex);
    for (source = child.sources; source; source = source->next)
        if (source->conf.engine == engine && source->conf.argument == d->engine_argument &&
            source->conf.django == django && source->conf.secrets == secrets &&
            !strcmp(source->conf.cookie_name, cookie))
            break;
    if (!source) {
        source = apr_pcalloc(child.pool, sizeof(*source));
        source->conf.engine = engine;
        source->conf.argument = d->engine_argument;
        source->conf.cookie_name = cookie;
        source->conf.django = django;
        source->conf.secrets = secrets;
        source->conf.n_secrets = d->secrets ? d->secrets->n : 0;
        name_source(source);
        source->open = sse_session_open(&source->conf, child.pool) == APR_SUCCESS;
        source->next = child.sources;
        child.sources = source;
    }
    apr_thread_mutex_unlock(child.mutex);
    return source->open ? source : NULL;
}

/* A connection on loan from mod_dbd for one look-up. */
typedef struct loan_t {
    request_rec *r;
    source_t *source;
    ap_dbd_t *dbd;
    sse_watch_t *watch;
    bool reused; /* a statement had been prepared by an earlier look-up */
    sse_session_db_t db;
} loan_t;

static bool prepare_statements(loan_t *loan)
{
    static apr_time_t last_complaint;
    const sse_statement_t *statements;
    const char *error;
    size_t n;
    if (sse_session_statements(&loan->source->conf, apr_dbd_name(loan->dbd->driver), loan->r->pool,
                               &statements, &n) != APR_SUCCESS)
        return false;
    if (sse_prepared_ensure(loan->dbd, statements, n, &loan->reused, &error))
        return true;
    if (sse_logsink_due(&last_complaint))
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, loan->r,
                      "SSE0121: the database refuses the query of users or sessions: %s", error);
    return false;
}

/* One thread at a time asks mod_dbd, whose pool is locked while it makes a connection: the others
 * must be able to give up. */
static bool begin_opening(source_t *source)
{
    apr_time_t until = apr_time_now() + OPENING_WAIT, now = 0;
    apr_thread_mutex_lock(child.mutex);
    while (source->opening && (now = apr_time_now()) < until && source->away_until < now)
        apr_thread_cond_timedwait(child.opened, child.mutex, until - now);
    bool may = !source->opening && source->away_until < apr_time_now();
    if (may)
        source->opening = true;
    apr_thread_mutex_unlock(child.mutex);
    return may;
}

static void end_opening(source_t *source, bool good)
{
    apr_thread_mutex_lock(child.mutex);
    source->opening = false;
    if (!good)
        source->away_until = apr_time_now() + DATABASE_AWAY;
    apr_thread_cond_broadcast(child.opened);
    apr_thread_mutex_unlock(child.mutex);
}

static void note_away(source_t *source)
{
    apr_thread_mutex_lock(child.mutex);
    source->away_until = apr_time_now() + DATABASE_AWAY;
    apr_thread_mutex_unlock(child.mutex);
}

static const sse_session_db_t *lend_database(void *baton)
{
    loan_t *loan = baton;
    if (!dbd_open || !begin_opening(loan->source))
        return NULL;
    loan->dbd = dbd_open(loan->r->pool, loan->r->server);
    end_opening(loan->source, loan->dbd != NULL);
    if (!loan->dbd)
        return NULL;
    loan->watch = sse_lookups_watch(sse_dbdsocket_of(loan->dbd), SSE_LOOKUPS_PATIENCE);
    if (!prepare_statements(loan))
        return NULL;
    loan->db.driver = loan->dbd->driver;
    loan->db.handle = loan->dbd->handle;
    loan->db.prepared = loan->dbd->prepared;
    return &loan->db;
}

/* A session that the Django application mirrored to the hub (engine hub): asked by the route that
 * PUT /sessions made it with. */
static apr_status_t ask_hub(void *baton, const unsigned char session[SSE_SESSION_HASH_LEN],
                            apr_pool_t *pool, const char **out_user, int64_t *out_expires)
{
    loan_t *loan = baton;
    char hex[2 * SSE_SESSION_HASH_LEN + 1];
    sse_crypto_hex(session, SSE_SESSION_HASH_LEN, hex);
    sse_wire_msg_t req = {.type = SSE_WIRE_ADMIN};
    sse_wire_admin_t *admin = &req.u.admin;
    admin->realm = sse_str(sse_config_realm(sse_config_of(loan->r)));
    admin->method = SSE_STR("GET");
    admin->path = sse_str(apr_pstrcat(pool, "/sessions/sha256:", hex, NULL));
    admin->address = sse_str(loan->r->useragent_ip);
    sse_answer_t answer = {.channel = NULL};
    apr_status_t rv =
        sse_hublink_call(&req, SSE_WIRE_ADMIN_REPLY, true, SSE_HUBLINK_RESERVE_MS, &answer);
    if (rv != APR_SUCCESS)
        return rv;
    const sse_wire_admin_reply_t *reply = &answer.in.msg.u.admin_reply;
    sse_json_doc_t *doc = NULL;
    sse_json_error_t error;
    int64_t expires = 0;
    if (reply->status == HTTP_NOT_FOUND) {
        rv = APR_NOTFOUND;
    } else if (reply->status != HTTP_OK ||
               sse_json_parse(reply->body, &doc, &error) != APR_SUCCESS) {
        rv = APR_EGENERAL;
    } else {
        const sse_json_t *root = sse_json_root(doc);
        const sse_json_t *name = sse_json_get(root, "user"), *end = sse_json_get(root, "expires");
        sse_str_t user = name ? sse_json_string(name) : SSE_STR_NONE;
        if (user.n && end && sse_json_int64(end, &expires)) {
            *out_user = apr_pstrmemdup(pool, user.p, user.n);
            *out_expires = expires;
        } else {
            rv = APR_EGENERAL;
        }
    }
    sse_json_free(doc);
    sse_hublink_done(&answer);
    return rv;
}

/* One look-up. True when it failed on a connection that may have been lost in between, so that
 * another try is worth it. */
static bool look_up(request_rec *r, source_t *source, const char *cookies, sse_caller_t *out)
{
    loan_t loan = {.r = r, .source = source};
    sse_session_request_t req = {.cookie_header = cookies,
                                 .now = apr_time_now(),
                                 .db = lend_database,
                                 .db_baton = &loan,
                                 .hub = ask_hub,
                                 .hub_baton = &loan};
    out->looked_up = sse_authcache_now();
    sse_session_resolve(&source->conf, &req, r->pool, &out->identity);
    if (!loan.dbd)
        return false;
    bool failed = out->identity.who == SSE_WHO_UNAVAILABLE;
    bool again = failed && loan.reused && sse_prepared_drop(loan.dbd);
    bool closed = sse_lookups_unwatch(loan.watch);
    if (closed) {
        sse_prepared_lost(loan.dbd);
        note_away(source);
    } else if (!failed) {
        sse_prepared_proven(loan.dbd);
    }
    dbd_close(r->server, loan.dbd);
    return again && !closed;
}

static void resolve(request_rec *r, source_t *source, const char *cookies, sse_caller_t *out)
{
    if (!sse_lookups_begin()) {
        out->identity = (sse_identity_t){.who = SSE_WHO_UNAVAILABLE,
                                         .detail = "too many look-ups are under way"};
        return;
    }
    if (look_up(r, source, cookies, out))
        look_up(r, source, cookies, out);
    sse_lookups_end();
}

/* httpd's own authentication. */
static void take_httpd_user(const request_rec *r, sse_caller_t *out)
{
    out->looked_up = 0;
    out->identity = (sse_identity_t){.who = SSE_WHO_ANONYMOUS, .detail = "httpd knows no user"};
    if (r->user && *r->user) {
        out->identity.who = SSE_WHO_USER;
        out->identity.user = r->user;
    }
}

void sse_authn_identify(request_rec *r, const sse_dir_conf_t *conf, bool fresh, sse_caller_t *out)
{
    memset(out, 0, sizeof(*out));
    if (sse_config_engine(conf) == SSE_ENGINE_NONE) {
        take_httpd_user(r, out);
        return;
    }
    source_t *source = source_of(conf);
    if (!source) {
        out->identity = (sse_identity_t){.who = SSE_WHO_UNAVAILABLE,
                                         .detail = "the session store cannot be used"};
        return;
    }
    const char *cookies = apr_table_get(r->headers_in, "Cookie");
    int64_t max_age = sse_config_session_cache(conf);
    sse_authcache_key_t key = {.server = r->server};
    memcpy(key.source, source->name, sizeof(key.source));
    bool named = cookies && sse_session_name(&source->conf, cookies, r->pool, key.session);
    if (named && !fresh && max_age > 0 &&
        sse_authcache_get(cache, &key, max_age, r->pool, &out->identity, &out->looked_up))
        return;
    resolve(r, source, cookies, out);
    if (!named)
        return;
    if (out->identity.who == SSE_WHO_USER && max_age > 0)
        sse_authcache_put(cache, &key, &out->identity, out->looked_up);
    else if (out->identity.who == SSE_WHO_ANONYMOUS)
        sse_authcache_forget(cache, &key);
}
