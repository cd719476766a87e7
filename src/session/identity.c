/* SPDX-License-Identifier: Apache-2.0 */
/* From a session's dict to a user: django.contrib.auth.get_user with ModelBackend's rules. The hash
 * of the password stands in every session, so whoever can merely write to an unsigned cache cannot
 * become anybody. Runs in httpd's workers. */
#include "core/log.h"
#include "core/name.h"
#include "session/signing.h"
#include "session/sql.h"
#include "session/store.h"
#include <apr_strings.h>

#define HASH_SALT "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"

/* 1 to 9223372036854775807 as Django writes them: no sign, no leading zero. */
static bool canonical_int(sse_str_t s)
{
    int64_t v = 0;

    if (s.n == 0 || s.n > 19 || s.p[0] == '0')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s.p[i] - '0', &v))
            return false;
    return true;
}

/* 8-4-4-4-12 lower-case hex digits. `bare` gets the 32 digits and a NUL. */
static bool canonical_uuid(sse_str_t s, char *bare)
{
    size_t n = 0;

    if (s.n != 36)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        if (!dash)
            bare[n++] = c;
    }
    bare[n] = '\0';
    return true;
}

/* The key as text and as the parameter of the query; false if Django cannot have written it. */
static bool user_key(sse_lookup_t *l, const sse_field_t *f, const char **out_user,
                     const char **out_parameter)
{
    const char *type = l->conf->django->user_pk_type;
    const sse_session_db_t *db;
    sse_str_t s = f->s;
    char bare[33];

    if (f->type == SSE_FIELD_INT) /* sessions of ancient Django hold the number itself */
        s = sse_str(apr_psprintf(l->pool, "%" APR_INT64_T_FMT, (apr_int64_t)f->i));
    else if (f->type != SSE_FIELD_STRING)
        return false;
    if (s.n == 0 || sse_name_user_problem(s))
        return false;
    *out_user = *out_parameter = apr_pstrmemdup(l->pool, s.p, s.n);
    if (strcmp(type, "int") == 0)
        return canonical_int(s);
    if (strcmp(type, "uuid") == 0) {
        if (!canonical_uuid(s, bare))
            return false;
        /* char(32) but for PostgreSQL; MariaDB's own type takes both. */
        db = sse_lookup_db(l);
        if (!db || strcmp(apr_dbd_name(db->driver), "pgsql") != 0)
            *out_parameter = apr_pstrdup(l->pool, bare);
    }
    return true;
}

static bool backend_allowed(const sse_django_t *dj, const sse_field_t *f)
{
    for (size_t i = 0; f->type == SSE_FIELD_STRING && i < dj->n_backends; i++)
        if (sse_str_eq(f->s, sse_str(dj->backends[i])))
            return true;
    return false;
}

/* _auth_user_hash against the row's password, under every key that Django would try. */
static bool hash_good(const sse_session_conf_t *conf, const sse_field_t *f, const char *password)
{
    const sse_django_t *dj = conf->django;
    unsigned char mac[SSE_DIGEST_MAX];
    char want[2 * SSE_DIGEST_MAX + 1];
    size_t n_keys = dj->fallback_hash ? conf->n_secrets : conf->n_secrets > 0;
    bool good = false;

    if (f->type != SSE_FIELD_STRING || f->s.n == 0)
        return false;
    for (size_t i = 0; i < n_keys; i++) {
        for (int legacy = 0; legacy <= (dj->legacy_sha1 ? 1 : 0); legacy++) {
            size_t n = sse_salted_hmac(legacy ? SSE_SHA1 : SSE_SHA256, SSE_STR(HASH_SALT),
                                       conf->secrets[i], sse_str(password), mac);
            sse_crypto_hex(mac, n, want);
            good |= sse_crypto_equal(sse_str(want), f->s);
        }
    }
    sse_crypto_wipe(mac, sizeof mac);
    sse_crypto_wipe(want, sizeof want);
    return good;
}

/* "1" (SQLite, MySQL) or "t" (PostgreSQL). */
static bool is_true(const char *text)
{
    return text && (strcmp(text, "1") == 0 || strcmp(text, "t") == 0 || strcmp(text, "true") == 0);
}

static void take_groups(sse_lookup_t *l, const sse_row_t *rows, size_t n, sse_identity_t *out)
{
    const char **names = apr_palloc(l->pool, n * sizeof *names);

    for (size_t i = 0; i < n; i++) {
        if (!rows[i].col[3] || !*rows[i].col[3])
            continue; /* no group at all; PostgreSQL's driver gives NULL as empty text */
        if (!sse_name_group_problem(sse_str(rows[i].col[3])))
            names[out->n_groups++] = rows[i].col[3];
        else if (sse_store_may_warn(l->conf->store, SSE_COMPLAINT_GROUP_NAME))
            sse_log(SSE_LOG_WARNING, "SSE0503: a group of user %s has a name that cannot be used",
                    out->user);
    }
    out->groups = names;
    out->groups_known = l->conf->django->membership_table != NULL;
}

void sse_identity_resolve(sse_lookup_t *l, const sse_session_data_t *data, sse_identity_t *out)
{
    const sse_field_t *id = &data->field[SSE_KEY_USER], *backend = &data->field[SSE_KEY_BACKEND];
    const char *user, *parameter;
    sse_row_t *rows;
    size_t n;
    bool more;

    if (id->type == SSE_FIELD_ABSENT || backend->type == SSE_FIELD_ABSENT) {
        l->detail = "nobody is logged in";
        return;
    }
    out->has_session = false; /* to be earned again below */
    if (!backend_allowed(l->conf->django, backend)) {
        l->detail = "authentication backend not allowed";
        return;
    }
    if (!user_key(l, id, &user, &parameter)) {
        l->detail = "user key not of the configured type";
        return;
    }
    if (sse_sql_ask(l, SSE_QUERY_USER, parameter, 4, SSE_USER_GROUPS_MAX, &rows, &n, &more) !=
        APR_SUCCESS) {
        out->who = SSE_WHO_UNAVAILABLE;
        return;
    }
    if (n == 0 || !rows[0].col[0] || !rows[0].col[1]) {
        l->detail = "no such user";
        return;
    }
    if (!is_true(rows[0].col[2])) {
        l->detail = "user is not active";
        return;
    }
    if (!hash_good(l->conf, &data->field[SSE_KEY_HASH], rows[0].col[1])) {
        l->detail = "password has changed since login";
        return;
    }
    if (more && sse_store_may_warn(l->conf->store, SSE_COMPLAINT_GROUP_COUNT))
        sse_log(SSE_LOG_WARNING,
                "SSE0504: user %s is in more than %d groups; the stream carries those that come "
                "first by name",
                user, SSE_USER_GROUPS_MAX);
    /* A text key is what the row says: MySQL finds "Bob" by "bob". */
    out->user = strcmp(l->conf->django->user_pk_type, "str") == 0 ? rows[0].col[0] : user;
    take_groups(l, rows, n, out);
    out->who = SSE_WHO_USER;
    out->has_session = true;
    l->detail = NULL;
}
