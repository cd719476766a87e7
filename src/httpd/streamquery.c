/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the query of a stream as application/x-www-form-urlencoded. Any thread. */
#include "httpd/streamquery.h"

#include "core/name.h"
#include "core/percent.h"

#include <apr_strings.h>

/* Undoes '+' and %XX; false for a broken escape. */
static bool unescape(sse_str_t in, apr_pool_t *p, sse_str_t *out)
{
    char *text = apr_palloc(p, in.n + 1);
    size_t n;
    if (sse_percent_decode(in, true, text, &n) != APR_SUCCESS)
        return false;
    text[n] = '\0';
    *out = (sse_str_t){text, n};
    return true;
}

static const char *add_event(sse_str_t name, apr_pool_t *p, sse_streamquery_t *out)
{
    const char *problem = sse_name_event_problem(name);
    if (problem)
        return apr_pstrcat(p, "An event's name ", problem, ".", NULL);
    for (size_t i = 0; i < out->n_events; i++)
        if (sse_str_eq(out->events[i], name))
            return NULL;
    if (out->n_events == SSE_STREAM_EVENTS_MAX)
        return apr_psprintf(p, "A stream may name at most %d events.", SSE_STREAM_EVENTS_MAX);
    out->events[out->n_events++] = name;
    return NULL;
}

static const char *add_parameter(sse_str_t name, sse_str_t raw, apr_pool_t *p,
                                 sse_streamquery_t *out)
{
    bool event = sse_str_eq(name, SSE_STR("event"));
    bool id =
        sse_str_eq(name, SSE_STR("lastEventId")) || sse_str_eq(name, SSE_STR("last_event_id"));
    bool resume = sse_str_eq(name, SSE_STR("resume"));
    if (!event && !id && !resume)
        return NULL;
    sse_str_t value;
    if (!unescape(raw, p, &value))
        return "The query has a broken percent escape.";
    if (event)
        return add_event(value, p, out);
    if (id) {
        if (value.n)
            out->last_id =
                (sse_str_t){value.p, value.n < SSE_LAST_ID_MAX ? value.n : SSE_LAST_ID_MAX};
        return NULL;
    }
    if (!sse_str_eq(value, SSE_STR("user")))
        return "The only value of resume is \"user\".";
    out->resume_user = true;
    return NULL;
}

apr_status_t sse_streamquery_parse(const char *args, apr_pool_t *p, sse_streamquery_t *out,
                                   const char **out_problem)
{
    memset(out, 0, sizeof(*out));
    for (const char *at = args; at && *at;) {
        size_t n = strcspn(at, "&");
        const char *equals = memchr(at, '=', n);
        sse_str_t name, value = {"", 0}, raw_name = {at, equals ? (size_t)(equals - at) : n};
        if (equals)
            value = (sse_str_t){equals + 1, n - raw_name.n - 1};
        const char *problem = NULL;
        if (unescape(raw_name, p, &name))
            problem = add_parameter(name, value, p, out);
        if (problem) {
            *out_problem = problem;
            return APR_EINVAL;
        }
        at += n;
        if (*at)
            at++;
    }
    return APR_SUCCESS;
}
