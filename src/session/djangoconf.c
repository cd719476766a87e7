/* SPDX-License-Identifier: Apache-2.0 */
/* What `manage.py sse_config` tells about a Django site: defaults, and the JSON over them. One
 * table of members; adding one is a line here and a field in session.h. Runs while httpd reads its
 * configuration. */
#include "core/json.h"
#include "session/session.h"
#include "session/zone.h"
#include <apr_strings.h>

typedef enum type_t {
    IDENTIFIER,      /* a table or column */
    IDENTIFIER_NULL, /* the same, or null */
    KEY_TYPE,        /* int, uuid, str */
    TEXT,            /* a string that is not empty */
    SECONDS,
    BOOLEAN,
    STRINGS
} type_t;

typedef struct member_t {
    const char *name;
    type_t type;
    size_t at;
} member_t;

#define AT(field) offsetof(sse_django_t, field)
static const member_t members[] = {
    {"session_table", IDENTIFIER, AT(session_table)},
    {"user_table", IDENTIFIER, AT(user_table)},
    {"user_pk", IDENTIFIER, AT(user_pk)},
    {"user_password", IDENTIFIER, AT(user_password)},
    {"user_is_active", IDENTIFIER_NULL, AT(user_is_active)},
    {"user_pk_type", KEY_TYPE, AT(user_pk_type)},
    {"membership_table", IDENTIFIER_NULL, AT(membership_table)},
    {"membership_user", IDENTIFIER, AT(membership_user)},
    {"membership_group", IDENTIFIER, AT(membership_group)},
    {"group_table", IDENTIFIER, AT(group_table)},
    {"group_pk", IDENTIFIER, AT(group_pk)},
    {"group_name", IDENTIFIER, AT(group_name)},
    {"backends", STRINGS, AT(backends)},
    {"session_salt", TEXT, AT(session_salt)},
    {"cookie_name", TEXT, AT(cookie_name)},
    {"cookie_age", SECONDS, AT(cookie_age)},
    {"use_tz", BOOLEAN, AT(use_tz)},
    {"time_zone", TEXT, AT(time_zone)},
    {"legacy_sha1", BOOLEAN, AT(legacy_sha1)},
    {"fallback_hash", BOOLEAN, AT(fallback_hash)},
    {"cache_prefix", TEXT, AT(cache_prefix)},
    {"cached_db_prefix", TEXT, AT(cached_db_prefix)},
};

static const char *const default_backends[] = {"django.contrib.auth.backends.ModelBackend"};

void sse_django_defaults(sse_django_t *out, apr_pool_t *pool)
{
    *out = (sse_django_t){
        .session_table = "django_session",
        .user_table = "auth_user",
        .user_pk = "id",
        .user_password = "password",
        .user_is_active = "is_active",
        .user_pk_type = "int",
        .membership_table = "auth_user_groups",
        .membership_user = "user_id",
        .membership_group = "group_id",
        .group_table = "auth_group",
        .group_pk = "id",
        .group_name = "name",
        .backends = default_backends,
        .n_backends = SSE_ARRAY_LEN(default_backends),
        .session_salt = "django.contrib.sessions.SessionStore",
        .cookie_age = 1209600,
        .use_tz = true,
        .time_zone = "America/Chicago",
        .fallback_hash = true,
        .cache_prefix = ":1:django.contrib.sessions.cache",
        .cached_db_prefix = ":1:django.contrib.sessions.cached_db",
    };
}

static bool identifier(sse_str_t s)
{
    if (s.n == 0 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
              (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

/* A text that can be a C string, with a limit that no setting comes near. */
static bool text(const sse_json_t *v, apr_pool_t *pool, const char **out)
{
    sse_str_t s = sse_json_string(v);

    if (sse_json_type(v) != SSE_JSON_STRING || s.n == 0 || s.n > 200 || memchr(s.p, 0, s.n))
        return false;
    *out = apr_pstrmemdup(pool, s.p, s.n);
    return true;
}

static bool strings(const sse_json_t *v, apr_pool_t *pool, sse_django_t *out)
{
    size_t n = sse_json_count(v);
    const char **list = apr_palloc(pool, (n + 1) * sizeof *list);

    if (sse_json_type(v) != SSE_JSON_ARRAY || n == 0 || n > 64)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!text(sse_json_at(v, i), pool, &list[i]))
            return false;
    out->backends = list;
    out->n_backends = n;
    return true;
}

/* NULL, or what the member may be. */
static const char *take(const member_t *m, const sse_json_t *v, apr_pool_t *pool, sse_django_t *out)
{
    void *field = (char *)out + m->at;
    sse_str_t s = sse_json_string(v);
    int64_t n;

    switch (m->type) {
    case IDENTIFIER_NULL:
        if (sse_json_type(v) == SSE_JSON_NULL) {
            *(const char **)field = NULL;
            return NULL;
        }
        if (sse_json_type(v) == SSE_JSON_STRING && identifier(s))
            return text(v, pool, field) ? NULL : "";
        return "a name of letters, digits and underscores that does not begin with a digit, or "
               "null";
    case IDENTIFIER:
        if (sse_json_type(v) == SSE_JSON_STRING && identifier(s))
            return text(v, pool, field) ? NULL : "";
        return "a name of letters, digits and underscores that does not begin with a digit";
    case KEY_TYPE:
        if (sse_json_type(v) == SSE_JSON_STRING &&
            (sse_str_eq(s, SSE_STR("int")) || sse_str_eq(s, SSE_STR("uuid")) ||
             sse_str_eq(s, SSE_STR("str"))))
            return text(v, pool, field) ? NULL : "";
        return "\"int\", \"uuid\" or \"str\"";
    case TEXT:
        return text(v, pool, field) ? NULL : "a string of 1 to 200 bytes";
    case SECONDS:
        if (!sse_json_int64(v, &n) || n < 1 || n > INT64_C(3153600000))
            return "a whole number of seconds from 1 to 3153600000";
        *(int64_t *)field = n;
        return NULL;
    case BOOLEAN:
        if (sse_json_type(v) != SSE_JSON_BOOL)
            return "true or false";
        *(bool *)field = sse_json_bool(v);
        return NULL;
    case STRINGS:
        return strings(v, pool, out) ? NULL : "an array of 1 to 64 strings of 1 to 200 bytes";
    }
    return "";
}

static const char *take_member(sse_str_t name, const sse_json_t *v, apr_pool_t *pool,
                               sse_django_t *out)
{
    sse_str_t source = sse_json_source(v);
    const char *allowed;

    if (sse_str_eq(name, SSE_STR("django")))
        return NULL; /* which version wrote it: for people */
    for (size_t i = 0; i < SSE_ARRAY_LEN(members); i++) {
        if (!sse_str_eq(name, sse_str(members[i].name)))
            continue;
        allowed = take(&members[i], v, pool, out);
        if (!allowed)
            return NULL;
        return apr_psprintf(pool, "member \"%s\" is %.*s, allowed is %s", members[i].name,
                            (int)(source.n < 80 ? source.n : 80), source.p, allowed);
    }
    return apr_psprintf(pool, "member \"%.*s\" is unknown", (int)(name.n < 80 ? name.n : 80),
                        name.p);
}

apr_status_t sse_django_read(sse_str_t json, apr_pool_t *pool, sse_django_t *out,
                             const char **out_problem)
{
    sse_json_doc_t *doc = NULL;
    sse_json_error_t error;
    sse_django_t dj;
    const sse_json_t *root;
    const char *problem = NULL;

    sse_django_defaults(&dj, pool);
    if (sse_json_parse(json, &doc, &error) != APR_SUCCESS) {
        *out_problem = apr_psprintf(pool, "no JSON: %s", error.message);
        return APR_EINVAL;
    }
    root = sse_json_root(doc);
    if (sse_json_type(root) != SSE_JSON_OBJECT)
        problem = "the document is not an object";
    for (size_t i = 0; !problem && i < sse_json_count(root); i++) {
        sse_str_t name;
        const sse_json_t *v = sse_json_member(root, i, &name);
        problem = take_member(name, v, pool, &dj);
    }
    if (!problem && !dj.use_tz && sse_zone_load(dj.time_zone, pool, &dj.zone) != APR_SUCCESS)
        problem = apr_psprintf(pool,
                               "member \"time_zone\" is \"%s\", which the system's time zone "
                               "database lacks (Debian package tzdata); it matters because "
                               "\"use_tz\" is false",
                               dj.time_zone);
    sse_json_free(doc);
    if (problem) {
        *out_problem = problem;
        return APR_EINVAL;
    }
    *out = dj;
    return APR_SUCCESS;
}
