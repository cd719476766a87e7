/* SPDX-License-Identifier: Apache-2.0 */
/* POST /publish and /broadcast: one message, an array of them, or NDJSON; all or none. Every item
 * is checked before the first is given to the broker. */
#include "core/name.h"
#include "hub/hub.h"
#include "hub/routes.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define KEY_MAX 255
#define TTL_MAX (366u * 86400)

typedef struct batch_t {
    sse_request_t *req;
    bool single;
    size_t n;
    sse_publish_t *items;
    sse_channel_t **channels; /* of each item */
    sse_json_doc_t **docs;    /* NDJSON: one a line */
    size_t n_docs;
    sse_buf_t errors; /* elements of the problem's `errors` */
    size_t n_errors;
    bool too_large;
} batch_t;

#define ERRORS_MAX 100 /* told; the rest is not worth reading */

static void batch_free(batch_t *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->channels[i]);
    for (size_t i = 0; i < b->n_docs; i++)
        sse_json_free(b->docs[i]);
    free(b->docs);
    free(b->channels);
    free(b->items);
    sse_buf_clear(&b->errors);
    free(b);
}

static bool wrong(batch_t *b, size_t index, const char *member, const char *fmt, const char *what)
{
    char detail[300];
    snprintf(detail, sizeof detail, fmt, what);
    if (b->n_errors++ >= ERRORS_MAX)
        return false;
    sse_buf_cstr(&b->errors, b->errors.n ? ",{" : "{");
    if (!b->single)
        sse_buf_printf(&b->errors, "\"index\":%zu,", index);
    if (member) {
        sse_buf_cstr(&b->errors, "\"member\":");
        sse_json_quote(&b->errors, sse_str(member));
        sse_buf_char(&b->errors, ',');
    }
    sse_buf_cstr(&b->errors, "\"detail\":");
    sse_json_quote(&b->errors, sse_str(detail));
    sse_buf_char(&b->errors, '}');
    return false;
}

/* ---- one item ---- */

static int by_channel(const void *a, const void *b)
{
    const sse_channel_t *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int c = memcmp(x->name.p, y->name.p, n);
    return c ? c : x->name.n < y->name.n ? -1 : x->name.n > y->name.n;
}

static bool read_addressees(batch_t *b, size_t index, const sse_json_t *list, const char *member,
                            sse_channel_kind_t kind, const char *(*problem)(sse_str_t),
                            sse_channel_t *channels, size_t *n)
{
    if (sse_json_type(list) != SSE_JSON_ARRAY)
        return wrong(b, index, member, "%s must be an array", member);
    if (*n + sse_json_count(list) > SSE_ADDRESSEES_MAX)
        return wrong(b, index, member, "%s: more than 10000 addressees in one message", member);
    for (size_t i = 0; i < sse_json_count(list); i++) {
        const sse_json_t *v = sse_json_at(list, i);
        char where[40];
        snprintf(where, sizeof where, "%s[%zu]", member, i);
        sse_str_t name;
        if (sse_json_type(v) == SSE_JSON_STRING)
            name = sse_json_string(v);
        else if (sse_json_type(v) == SSE_JSON_NUMBER)
            name = sse_json_source(v);
        else
            return wrong(b, index, where, "%s must be a string (or a number, taken as its text)",
                         where);
        const char *what = problem(name);
        if (what)
            return wrong(b, index, where, "the name %s", what);
        channels[(*n)++] = (sse_channel_t){kind, name};
    }
    return true;
}

/* Users and groups, each once; or the event; or everybody. */
static bool read_channels(batch_t *b, size_t index, const sse_json_t *item, bool broadcast)
{
    const sse_json_t *users = sse_json_get(item, "users"), *groups = sse_json_get(item, "groups");
    sse_publish_t *p = &b->items[index];
    size_t room = (users ? sse_json_count(users) : 0) + (groups ? sse_json_count(groups) : 0) + 1;
    sse_channel_t *c = b->channels[index] = sse_calloc(room, sizeof *c);
    size_t n = 0;
    if (broadcast) {
        c[n++] = (sse_channel_t){SSE_CHANNEL_BROADCAST, SSE_STR_NONE};
    } else if (!users && !groups) {
        c[n++] = (sse_channel_t){SSE_CHANNEL_EVENT, p->event};
    } else {
        if (users && !read_addressees(b, index, users, "users", SSE_CHANNEL_USER,
                                      sse_name_user_problem, c, &n))
            return false;
        if (groups && !read_addressees(b, index, groups, "groups", SSE_CHANNEL_GROUP,
                                       sse_name_group_problem, c, &n))
            return false;
        qsort(c, n, sizeof *c, by_channel);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (!kept || by_channel(&c[kept - 1], &c[i]))
                c[kept++] = c[i];
        n = kept;
    }
    p->channels = c;
    p->n_channels = n;
    return true;
}

static bool read_text(batch_t *b, size_t index, const sse_json_t *item, const char *member,
                      sse_str_t *out)
{
    const sse_json_t *v = sse_json_get(item, member);
    if (!v || sse_json_type(v) == SSE_JSON_NULL)
        return true;
    sse_str_t s = sse_json_string(v);
    if (sse_json_type(v) != SSE_JSON_STRING || !s.n || s.n > KEY_MAX)
        return wrong(b, index, member, "%s must be a string of 1 to 255 bytes", member);
    *out = s;
    return true;
}

static bool read_data(batch_t *b, size_t index, const sse_json_t *item)
{
    sse_publish_t *p = &b->items[index];
    const sse_json_t *data = sse_json_get(item, "data"), *raw = sse_json_get(item, "raw");
    if (!data)
        return wrong(b, index, "data", "%s is missing", "data");
    if (raw && sse_json_type(raw) != SSE_JSON_BOOL)
        return wrong(b, index, "raw", "%s must be true or false", "raw");
    p->raw = raw && sse_json_bool(raw);
    if (p->raw && sse_json_type(data) != SSE_JSON_STRING)
        return wrong(b, index, "data", "%s must be a string where raw is true", "data");
    p->data = p->raw ? sse_json_string(data) : sse_json_source(data);
    if (p->data.n > (size_t)b->req->hub->conf.max_message_size) {
        b->too_large = true;
        char limit[24];
        snprintf(limit, sizeof limit, "%lld", (long long)b->req->hub->conf.max_message_size);
        return wrong(b, index, "data", "data is larger than SSEMaxMessageSize, %s bytes", limit);
    }
    return true;
}

static bool known_members(batch_t *b, size_t index, const sse_json_t *item, bool broadcast)
{
    static const char *const known[] = {"event", "data",    "key",   "ttl",
                                        "raw",   "replace", "users", "groups"};
    for (size_t i = 0; i < sse_json_count(item); i++) {
        sse_str_t name;
        sse_json_member(item, i, &name);
        size_t k = 0, n = SSE_ARRAY_LEN(known) - (broadcast ? 2 : 0);
        while (k < n && !sse_str_eq(name, sse_str(known[k])))
            k++;
        if (k < n)
            continue;
        char member[80];
        snprintf(member, sizeof member, "%.*s", (int)(name.n < 79 ? name.n : 79), name.p);
        return wrong(b, index, member,
                     "is not a member of a message; allowed: event, data, key, ttl, raw, replace%s",
                     broadcast ? "" : ", users, groups");
    }
    return true;
}

static bool read_item(batch_t *b, size_t index, const sse_json_t *item, bool broadcast)
{
    sse_publish_t *p = &b->items[index];
    if (sse_json_type(item) != SSE_JSON_OBJECT)
        return wrong(b, index, NULL, "%s must be a JSON object", "a message");
    if (!known_members(b, index, item, broadcast))
        return false;
    const sse_json_t *event = sse_json_get(item, "event"), *ttl = sse_json_get(item, "ttl");
    if (!event || sse_json_type(event) != SSE_JSON_STRING)
        return wrong(b, index, "event", "event %s", event ? "must be a string" : "is missing");
    p->event = sse_json_string(event);
    const char *what = sse_name_event_problem(p->event);
    if (what)
        return wrong(b, index, "event", "the event's name %s", what);
    int64_t seconds = 0;
    if (ttl && sse_json_type(ttl) != SSE_JSON_NULL &&
        (!sse_json_int64(ttl, &seconds) || seconds < 1 || seconds > TTL_MAX))
        return wrong(b, index, "ttl", "ttl must be a whole number of seconds from 1 to %s",
                     "31622400");
    p->ttl = (uint32_t)seconds;
    return read_data(b, index, item) && read_text(b, index, item, "key", &p->key) &&
           read_text(b, index, item, "replace", &p->replace) &&
           read_channels(b, index, item, broadcast);
}

/* ---- the answer ---- */

static void on_published(void *baton, apr_status_t status, const sse_published_t *results, size_t n,
                         size_t bad)
{
    batch_t *b = baton;
    sse_request_t *req = b->req;
    if (status == APR_SUCCESS) {
        sse_buf_t body = {0};
        char id[SSE_EVENTID_MAX];
        req->hub->counters.published += n;
        req->hub->counters.batches++;
        sse_buf_cstr(&body, b->single ? "{\"id\":" : "{\"ids\":[");
        for (size_t i = 0; i < n; i++) {
            sse_eventid_format(results[i].pos, false, id);
            sse_buf_printf(&body, "%s\"%s\"", i ? "," : "", id);
        }
        sse_buf_cstr(&body, b->single ? "}" : "]}");
        sse_request_json(req, 200, &body);
    } else if (APR_STATUS_IS_EEXIST(status)) {
        wrong(b, bad, "key", "%s was used before with another content", "the key");
        sse_request_problems(req, 409, "a key was used before with another content",
                             sse_buf_slice(&b->errors));
    } else {
        req->hub->counters.publish_errors++;
        sse_request_failed(req, status);
    }
    batch_free(b);
}

static void publish(batch_t *b, bool broadcast, const sse_json_t *const *values)
{
    sse_request_t *req = b->req;
    b->items = sse_calloc(b->n + 1, sizeof *b->items);
    b->channels = sse_calloc(b->n + 1, sizeof *b->channels);
    for (size_t i = 0; i < b->n; i++)
        read_item(b, i, values[i], broadcast);
    if (b->n_errors) {
        sse_request_problems(req, b->too_large && b->n_errors == 1 ? 413 : 400,
                             b->too_large && b->n_errors == 1
                                 ? "the message is too large; nothing was published"
                                 : "the request is invalid; nothing was published",
                             sse_buf_slice(&b->errors));
        batch_free(b);
        return;
    }
    if (!b->n) {
        sse_buf_t body = {0};
        sse_buf_cstr(&body, "{\"ids\":[]}");
        batch_free(b);
        sse_request_json(req, 200, &body);
        return;
    }
    if (req->hub->broker_state != SSE_BROKER_CONNECTED) {
        batch_free(b);
        sse_request_failed(req, APR_EAGAIN);
        return;
    }
    req->hub->broker->driver->publish(req->hub->broker, req->realm, b->items, b->n, on_published,
                                      b);
}

/* ---- the body ---- */

static bool media_type(sse_str_t type, const char *want)
{
    size_t n = strlen(want);
    return type.n >= n && !strncasecmp(type.p, want, n) &&
           (type.n == n || type.p[n] == ';' || type.p[n] == ' ');
}

/* Each line that is not blank is one message. */
static void publish_lines(sse_request_t *req, bool broadcast)
{
    batch_t *b = sse_calloc(1, sizeof *b);
    b->req = req;
    const char *p = req->body.p, *end = p + req->body.n;
    size_t cap = 0;
    const sse_json_t **values = NULL;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        sse_str_t line = {p, (size_t)((nl ? nl : end) - p)};
        p = nl ? nl + 1 : end;
        while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ' ||
                          line.p[line.n - 1] == '\t'))
            line.n--;
        if (!line.n)
            continue;
        if (b->n_docs == cap) {
            cap = cap ? cap * 2 : 64;
            b->docs = sse_realloc(b->docs, cap * sizeof *b->docs);
            values = sse_realloc(values, cap * sizeof *values);
        }
        sse_json_error_t error;
        sse_json_doc_t *doc;
        bool many = b->n_docs >= SSE_BATCH_ITEMS_MAX;
        if (many || sse_json_parse(line, &doc, &error) != APR_SUCCESS) {
            if (many)
                sse_request_problem(req, 413, NULL, "a batch has at most %d messages",
                                    SSE_BATCH_ITEMS_MAX);
            else {
                wrong(b, b->n_docs, NULL, "not JSON: %s", error.message);
                sse_request_problems(req, 400, "a line is not JSON; nothing was published",
                                     sse_buf_slice(&b->errors));
            }
            batch_free(b);
            free(values);
            return;
        }
        values[b->n_docs] = sse_json_root(doc);
        b->docs[b->n_docs++] = doc;
    }
    b->n = b->n_docs;
    publish(b, broadcast, values);
    free(values);
}

static void publish_json(sse_request_t *req, bool broadcast)
{
    sse_json_error_t error;
    if (sse_json_parse(req->body, &req->doc, &error) != APR_SUCCESS) {
        sse_request_problem(req, 400, NULL, "the body is not JSON: %s", error.message);
        return;
    }
    const sse_json_t *root = sse_json_root(req->doc);
    bool array = sse_json_type(root) == SSE_JSON_ARRAY;
    if (array && sse_json_count(root) > SSE_BATCH_ITEMS_MAX) {
        sse_request_problem(req, 413, NULL, "a batch has at most %d messages", SSE_BATCH_ITEMS_MAX);
        return;
    }
    batch_t *b = sse_calloc(1, sizeof *b);
    b->req = req;
    b->single = !array;
    b->n = array ? sse_json_count(root) : 1;
    const sse_json_t **values = sse_calloc(b->n + 1, sizeof *values);
    for (size_t i = 0; i < b->n; i++)
        values[i] = array ? sse_json_at(root, i) : root;
    publish(b, broadcast, values);
    free(values);
}

static void publish_any(sse_request_t *req, bool broadcast)
{
    if (req->body.n > SSE_BATCH_BYTES_MAX)
        sse_request_problem(req, 413, NULL, "the body is larger than 16 MiB");
    else if (!req->socket && media_type(req->content_type, "application/x-ndjson"))
        publish_lines(req, broadcast);
    else if (req->socket || media_type(req->content_type, "application/json"))
        publish_json(req, broadcast);
    else
        sse_request_problem(req, 415, NULL,
                            "the body must be application/json or application/x-ndjson");
}

void sse_route_publish(sse_request_t *req)
{
    publish_any(req, false);
}

void sse_route_broadcast(sse_request_t *req)
{
    publish_any(req, true);
}
