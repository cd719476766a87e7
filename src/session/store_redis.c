/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in Redis, the session layer's only use of hiredis: its command formatter and its reply
 * reader, without its I/O, since hiredis resolves and reads without a deadline for the whole. Runs
 * in httpd's workers. */
#include "session/store.h"
#include <apr_strings.h>
#include <hiredis/hiredis.h>

/* A reply with its framing, two of them. */
#define REPLY_MAX (SSE_STORE_VALUE_MAX + 1024)

/* A thousand years: what is longer counts as no end. */
#define TTL_MAX_MS INT64_C(31557600000000)

typedef struct redis_t {
    int fd;
    int64_t deadline;
    redisReader *reader;
    size_t received;
    char error[160];
} redis_t;

static apr_status_t send_command(redis_t *r, int argc, const char **argv)
{
    char *text = NULL;
    size_t lengths[3];
    int n;
    apr_status_t rv;

    for (int i = 0; i < argc; i++)
        lengths[i] = strlen(argv[i]);
    n = redisFormatCommandArgv(&text, argc, argv, lengths);
    if (n < 0)
        return APR_ENOMEM;
    rv = sse_storeconn_send(r->fd, (sse_str_t){text, (size_t)n}, r->deadline);
    redisFreeCommand(text);
    return rv;
}

/* Only single values are asked for: an array could make the reader reserve room for any number of
 * elements. */
static bool starts_single(const redisReader *reader)
{
    return memchr("$:+-_", reader->buf[reader->pos], 5) != NULL;
}

static apr_status_t read_reply(redis_t *r, redisReply **out)
{
    bool started = false;
    char buf[16 * 1024];

    for (;;) {
        void *reply = NULL;
        size_t n;
        apr_status_t rv;

        if (!started && r->reader->pos < r->reader->len) {
            if (!starts_single(r->reader))
                return APR_EINVAL;
            started = true;
        }
        if (started) {
            if (redisReaderGetReply(r->reader, &reply) != REDIS_OK)
                return APR_EINVAL;
            if (reply) {
                *out = reply;
                return APR_SUCCESS;
            }
        }
        rv = sse_storeconn_recv(r->fd, buf, sizeof buf, r->deadline, &n);
        if (rv != APR_SUCCESS)
            return rv;
        r->received += n;
        if (r->received > REPLY_MAX)
            return APR_ENOSPC;
        if (redisReaderFeed(r->reader, buf, n) != REDIS_OK)
            return APR_ENOMEM;
    }
}

/* An error reply's text is the server's and goes to the log; it never holds the key. */
static apr_status_t check_reply(redis_t *r, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return APR_SUCCESS;
    apr_snprintf(r->error, sizeof r->error, "%.*s", reply->len > 120 ? 120 : (int)reply->len,
                 reply->str);
    return APR_EGENERAL;
}

static apr_status_t command_ok(redis_t *r, int argc, const char **argv)
{
    redisReply *reply = NULL;
    apr_status_t rv = send_command(r, argc, argv);

    if (rv == APR_SUCCESS)
        rv = read_reply(r, &reply);
    if (rv == APR_SUCCESS) {
        rv = check_reply(r, reply);
        if (rv == APR_SUCCESS && reply->type != REDIS_REPLY_STATUS)
            rv = APR_EINVAL;
        freeReplyObject(reply);
    }
    return rv;
}

/* Log in and choose the database, once for each connection. */
static apr_status_t greet(redis_t *r, const sse_store_t *s)
{
    const char *auth[] = {"AUTH", s->user && *s->user ? s->user : s->password, s->password};
    const char *select[] = {"SELECT", s->database};
    apr_status_t rv = APR_SUCCESS;

    if (s->password)
        rv = command_ok(r, s->user && *s->user ? 3 : 2, auth);
    if (rv == APR_SUCCESS && s->database && strcmp(s->database, "0") != 0)
        rv = command_ok(r, 2, select);
    return rv;
}

static apr_status_t get_value(redis_t *r, sse_lookup_t *l, const char *key, sse_stored_t *out)
{
    const char *get[] = {"GET", key}, *pttl[] = {"PTTL", key};
    redisReply *value = NULL, *ttl = NULL;
    apr_status_t rv = send_command(r, 2, get);

    if (rv == APR_SUCCESS)
        rv = send_command(r, 2, pttl);
    if (rv == APR_SUCCESS)
        rv = read_reply(r, &value);
    if (rv == APR_SUCCESS)
        rv = read_reply(r, &ttl);
    if (rv == APR_SUCCESS)
        rv = check_reply(r, value);
    if (rv != APR_SUCCESS)
        goto cleanup;

    if (value->type == REDIS_REPLY_NIL) {
        rv = APR_NOTFOUND;
    } else if (value->type != REDIS_REPLY_STRING) {
        rv = APR_EINVAL;
    } else {
        out->value = (sse_str_t){apr_pmemdup(l->pool, value->str, value->len), value->len};
        /* PTTL may be refused by an ACL and is -1 for a key without end: then the end is not known.
         */
        out->expires =
            ttl->type == REDIS_REPLY_INTEGER && ttl->integer > 0 && ttl->integer < TTL_MAX_MS
                ? (l->req->now + ttl->integer * 1000) / 1000000
                : 0;
    }

cleanup:
    if (value)
        freeReplyObject(value);
    if (ttl)
        freeReplyObject(ttl);
    return rv;
}

static apr_status_t talk(sse_store_t *s, sse_lookup_t *l, const char *key, int fd, bool fresh,
                         int64_t deadline, sse_stored_t *out, bool *out_in_step,
                         const char **out_why)
{
    redis_t r = {.fd = fd, .deadline = deadline, .reader = redisReaderCreate()};
    apr_status_t rv = APR_SUCCESS;

    if (!r.reader)
        return APR_ENOMEM;
    if (fresh)
        rv = greet(&r, s);
    if (rv == APR_SUCCESS)
        rv = get_value(&r, l, key, out);
    *out_in_step = r.reader->pos == r.reader->len;
    if (r.error[0])
        *out_why = apr_pstrdup(l->pool, r.error);
    redisReaderFree(r.reader);
    return rv;
}

apr_status_t sse_store_redis_get(sse_store_t *s, sse_lookup_t *l, const char *key,
                                 sse_stored_t *out)
{
    return sse_store_ask(s, l, key, talk, out);
}
