/* SPDX-License-Identifier: Apache-2.0 */
/* Who is it: cookie, session, user. Dispatches to the engines by one table, which is also the list
 * of what SSESession takes. Runs in httpd's workers; a look-up holds nothing but what its request's
 * pool owns. */
#include "session/session.h"
#include "core/crypto.h"
#include "session/cookie.h"
#include "session/lookup.h"
#include "session/signing.h"

typedef struct engine_t {
    const char *name;
    sse_engine_load_fn *load; /* NULL: answered elsewhere */
    bool needs_secret, needs_db;
} engine_t;

static const engine_t engines[] = {
    [SSE_ENGINE_NONE] = {"none", NULL, false, false},
    [SSE_ENGINE_DB] = {"db", sse_engine_db_load, true, true},
    [SSE_ENGINE_CACHE] = {"cache", sse_engine_cache_load, true, true},
    [SSE_ENGINE_CACHED_DB] = {"cached_db", sse_engine_cached_db_load, true, true},
    [SSE_ENGINE_FILE] = {"file", sse_engine_file_load, true, true},
    [SSE_ENGINE_SIGNED_COOKIES] = {"signed_cookies", sse_engine_signed_cookies_load, true, true},
    [SSE_ENGINE_HUB] = {"hub", NULL, false, false},
};

apr_status_t sse_engine_parse(const char *name, sse_engine_t *out_engine)
{
    for (size_t i = 0; i < SSE_ARRAY_LEN(engines); i++) {
        if (strcmp(engines[i].name, name) == 0) {
            *out_engine = (sse_engine_t)i;
            return APR_SUCCESS;
        }
    }
    return APR_EINVAL;
}

const char *sse_engine_names(void)
{
    return "none, db, cache, cached_db, file, signed_cookies, hub";
}

bool sse_engine_needs_secret(sse_engine_t engine)
{
    return engines[engine].needs_secret;
}

bool sse_engine_needs_db(sse_engine_t engine)
{
    return engines[engine].needs_db;
}

bool sse_session_key_good(sse_str_t key)
{
    if (key.n < 8 || key.n > 40)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if (!((key.p[i] >= 'a' && key.p[i] <= 'z') || (key.p[i] >= '0' && key.p[i] <= '9')))
            return false;
    return true;
}

/* What can be a session of this engine. A custom engine, whose sessions the hub knows by their
 * hash, may have keys of any kind. */
static bool value_good(sse_engine_t engine, sse_str_t value)
{
    switch (engine) {
    case SSE_ENGINE_SIGNED_COOKIES:
    case SSE_ENGINE_HUB:
        return value.n > 0;
    default:
        return sse_session_key_good(value);
    }
}

/* The cookie's value when it can be a session of this engine. */
static bool session_cookie(const sse_session_conf_t *conf, const char *header, apr_pool_t *pool,
                           sse_str_t *out_value, const char **out_detail)
{
    sse_str_t value;

    if (!sse_cookie_find(header, conf->cookie_name, pool, &value)) {
        *out_detail = "no session cookie";
        return false;
    }
    if (!value_good(conf->engine, value)) {
        *out_detail = "not a session key";
        return false;
    }
    *out_value = value;
    return true;
}

bool sse_session_name(const sse_session_conf_t *conf, const char *cookie_header, apr_pool_t *pool,
                      unsigned char out_session[SSE_SESSION_HASH_LEN])
{
    const char *detail;
    sse_str_t value;

    if (!session_cookie(conf, cookie_header, pool, &value, &detail))
        return false;
    sse_digest(SSE_SHA256, &value, 1, out_session);
    return true;
}

const sse_session_db_t *sse_lookup_db(sse_lookup_t *l)
{
    if (!l->db_asked && l->req->db)
        l->db = l->req->db(l->req->db_baton);
    l->db_asked = true;
    return l->db;
}

apr_status_t sse_lookup_decode(sse_lookup_t *l, sse_str_t salt, sse_str_t text,
                               sse_session_data_t *out, int64_t *out_time)
{
    const sse_keys_t keys = {l->conf->secrets, l->conf->n_secrets, l->conf->django->legacy_sha1};
    sse_str_t payload;
    int64_t when = 0;

    /* Base64 of the most that may come out is a third larger: nothing of twice the size is honest.
     */
    if (text.n > 2 * (size_t)SSE_SESSION_DATA_MAX)
        goto bad;
    if (sse_signing_loads(&keys, salt, text, l->pool, &payload, &when) != APR_SUCCESS) {
        if (out_time || !keys.legacy_sha1 ||
            sse_signing_legacy_loads(&keys, salt, text, l->pool, &payload) != APR_SUCCESS)
            goto bad;
    }
    if (sse_session_data_read(payload, l->pool, out) != APR_SUCCESS) {
        l->detail = "session text is signed but cannot be read";
        return APR_NOTFOUND;
    }
    if (out_time)
        *out_time = when;
    return APR_SUCCESS;

bad:
    l->detail = "bad signature, or text that does not decode";
    return APR_NOTFOUND;
}

static void resolve_hub(sse_lookup_t *l, sse_identity_t *out)
{
    const char *user = NULL;
    int64_t expires = 0;
    apr_status_t rv = APR_ENOTIMPL;

    if (l->req->hub)
        rv = l->req->hub(l->req->hub_baton, out->session, l->pool, &user, &expires);
    if (rv == APR_SUCCESS && expires > 0 && expires <= l->req->now / 1000000) {
        l->detail = "session expired";
    } else if (rv == APR_SUCCESS) {
        out->has_session = true;
        out->session_expires = expires;
        out->user = user && *user ? user : NULL;
        out->who = out->user ? SSE_WHO_USER : SSE_WHO_ANONYMOUS;
    } else if (APR_STATUS_IS_NOTFOUND(rv)) {
        l->detail = "no such session";
    } else {
        out->who = SSE_WHO_UNAVAILABLE;
        l->detail = "the hub did not answer";
    }
}

static void resolve_stored(sse_lookup_t *l, sse_str_t value, sse_identity_t *out)
{
    sse_loaded_t loaded = {0};
    apr_status_t rv = engines[l->conf->engine].load(l, value, &loaded);

    if (APR_STATUS_IS_NOTFOUND(rv))
        return;
    if (rv != APR_SUCCESS) {
        out->who = SSE_WHO_UNAVAILABLE;
        return;
    }
    out->has_session = true;
    out->session_expires = loaded.expires;
    sse_identity_resolve(l, &loaded.data, out);
    if (!out->has_session)
        out->session_expires = 0;
}

void sse_session_resolve(const sse_session_conf_t *conf, const sse_session_request_t *req,
                         apr_pool_t *pool, sse_identity_t *out)
{
    sse_lookup_t l = {.conf = conf, .req = req, .pool = pool};
    sse_str_t value;

    *out = (sse_identity_t){.who = SSE_WHO_ANONYMOUS};
    if (session_cookie(conf, req->cookie_header, pool, &value, &l.detail)) {
        sse_digest(SSE_SHA256, &value, 1, out->session);
        if (conf->engine == SSE_ENGINE_HUB)
            resolve_hub(&l, out);
        else if (engines[conf->engine].load)
            resolve_stored(&l, value, out);
        else
            l.detail = "this engine has no sessions";
    }
    if (!out->has_session)
        memset(out->session, 0, sizeof out->session);
    out->detail = l.detail;
}
