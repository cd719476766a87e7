/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the hub's configuration and the two directions through it. httpd's parent writes
 * once at start, the hub reads once before it has threads. */
#include "core/hubconf.h"

#include "core/json.h"
#include "core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEM_MAX 256

typedef struct member_t {
    const char *name;
    size_t offset;
    const char *text;      /* default of a string member; NULL for numbers */
    int64_t def, min, max; /* of a number */
} member_t;

#define TEXT(member, def)                                                                          \
    {                                                                                              \
#member, offsetof(sse_hubconf_t, member), def, 0, 0, 0                                     \
    }
#define NUMBER(member, def, min, max)                                                              \
    {                                                                                              \
#member, offsetof(sse_hubconf_t, member), NULL, def, min, max                              \
    }

static const member_t members[] = {
    TEXT(broker, "local"),
    TEXT(state_dir, SSE_STATE_DIR),
    TEXT(driver_dir, SSE_DRIVER_DIR),
    TEXT(durability, "normal"),
    NUMBER(threads, 0, 0, 1024),
    NUMBER(history_count, 1000, 0, INT64_MAX),
    NUMBER(history_seconds, 3600, 0, INT64_MAX),
    NUMBER(heartbeat, 15, 0, INT32_MAX),
    NUMBER(retry, 3000, 0, INT32_MAX),
    NUMBER(max_age, 900, 0, INT32_MAX),
    NUMBER(max_streams, 0, 0, INT64_MAX),
    NUMBER(max_streams_per_user, 64, 0, INT64_MAX),
    NUMBER(max_streams_per_host, 0, 0, INT64_MAX),
    NUMBER(stream_buffer, 1048576, 0, INT64_MAX),
    NUMBER(max_message_size, 262144, 1, INT64_MAX),
    NUMBER(presence_grace, 5, 0, INT32_MAX),
    NUMBER(parked_streams, 0, 0, INT64_MAX),
    NUMBER(revocation_memory, 70, 0, INT32_MAX),
    NUMBER(log_level, SSE_LOG_NOTICE, SSE_LOG_CRIT, SSE_LOG_DEBUG),
    NUMBER(rendezvous_fd, -1, -1, INT32_MAX),
    NUMBER(parent_fd, -1, -1, INT32_MAX),
    NUMBER(admin_fd, -1, -1, INT32_MAX),
    NUMBER(uid, -1, -1, UINT32_MAX),
};

static char **text_at(sse_hubconf_t *conf, const member_t *m)
{
    return (char **)((char *)conf + m->offset);
}

static int64_t *number_at(sse_hubconf_t *conf, const member_t *m)
{
    return (int64_t *)((char *)conf + m->offset);
}

void sse_hubconf_init(sse_hubconf_t *conf)
{
    size_t i;

    memset(conf, 0, sizeof(*conf));
    for (i = 0; i < SSE_ARRAY_LEN(members); i++) {
        const member_t *m = &members[i];

        if (m->text)
            *text_at(conf, m) = sse_strndup(m->text, strlen(m->text));
        else
            *number_at(conf, m) = m->def;
    }
}

void sse_hubconf_clear(sse_hubconf_t *conf)
{
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(members); i++) {
        if (members[i].text)
            free(*text_at(conf, &members[i]));
    }
    memset(conf, 0, sizeof(*conf));
}

void sse_hubconf_write(const sse_hubconf_t *conf, sse_buf_t *out)
{
    sse_hubconf_t copy = *conf;
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(members); i++) {
        const member_t *m = &members[i];

        sse_buf_printf(out, "%s\"%s\": ", i ? ",\n" : "{", m->name);
        if (m->text)
            sse_json_quote(out, sse_str(*text_at(&copy, m)));
        else
            sse_buf_printf(out, "%" PRId64, *number_at(&copy, m));
    }
    sse_buf_str(out, SSE_STR("}\n"));
}

static const member_t *find_member(sse_str_t name)
{
    size_t i;

    for (i = 0; i < SSE_ARRAY_LEN(members); i++) {
        if (sse_str_eq(name, sse_str(members[i].name)))
            return &members[i];
    }
    return NULL;
}

static bool read_member(const member_t *m, const sse_json_t *v, sse_hubconf_t *conf,
                        char *out_problem)
{
    if (m->text) {
        sse_str_t s = sse_json_string(v);
        char **at = text_at(conf, m);

        if (sse_json_type(v) != SSE_JSON_STRING || (s.n && memchr(s.p, '\0', s.n))) {
            snprintf(out_problem, PROBLEM_MAX, "member \"%s\" must be a string without NUL",
                     m->name);
            return false;
        }
        free(*at);
        *at = sse_strndup(s.p, s.n);
    } else {
        int64_t n;

        if (!sse_json_int64(v, &n) || n < m->min || n > m->max) {
            snprintf(out_problem, PROBLEM_MAX,
                     "member \"%s\" must be a whole number from %" PRId64 " to %" PRId64, m->name,
                     m->min, m->max);
            return false;
        }
        *number_at(conf, m) = n;
    }
    return true;
}

apr_status_t sse_hubconf_read(sse_str_t json, sse_hubconf_t *conf, char *out_problem)
{
    sse_json_doc_t *doc;
    sse_json_error_t error;
    const sse_json_t *root;
    apr_status_t rv = APR_EINVAL;
    size_t i;

    if (sse_json_parse(json, &doc, &error) != APR_SUCCESS) {
        snprintf(out_problem, PROBLEM_MAX, "not JSON: %s", error.message);
        return APR_EINVAL;
    }
    root = sse_json_root(doc);
    if (sse_json_type(root) != SSE_JSON_OBJECT) {
        snprintf(out_problem, PROBLEM_MAX, "not a JSON object");
        goto cleanup;
    }
    for (i = 0; i < sse_json_count(root); i++) {
        sse_str_t name;
        const sse_json_t *v = sse_json_member(root, i, &name);
        const member_t *m = find_member(name);

        if (!m) {
            snprintf(out_problem, PROBLEM_MAX, "unknown member \"%.*s\"",
                     name.n > 64 ? 64 : (int)name.n, name.p);
            goto cleanup;
        }
        if (!read_member(m, v, conf, out_problem))
            goto cleanup;
    }
    rv = APR_SUCCESS;

cleanup:
    sse_json_free(doc);
    return rv;
}
