/* SPDX-License-Identifier: Apache-2.0 */
/* See brokerurl.h. Runs once at start, in httpd's parent and in the hub. */
#include "core/brokerurl.h"

#include "core/buf.h"
#include "core/percent.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEM_SIZE 256
#define TEXT_MAX 512

static bool fail(char *problem, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fail(char *problem, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(problem, PROBLEM_SIZE, fmt, ap);
    va_end(ap);
    return false;
}

static bool cut(sse_str_t *rest, char at, sse_str_t *out)
{
    const char *p = rest->n ? memchr(rest->p, at, rest->n) : NULL;
    if (!p)
        return false;
    *out = (sse_str_t){rest->p, (size_t)(p - rest->p)};
    rest->n -= out->n + 1;
    rest->p = p + 1;
    return true;
}

static bool number(sse_str_t s, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    if (!s.n || s.n > 9)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = 10 * v + (uint64_t)(s.p[i] - '0');
    }
    if (v < min || v > max)
        return false;
    *out = (uint32_t)v;
    return true;
}

/* A copy with %XX resolved; NULL for a bad one, a control character or too long a text. */
static char *decode(sse_str_t s)
{
    size_t n;
    if (s.n > TEXT_MAX)
        return NULL;
    char *out = sse_malloc(s.n + 1);
    bool good = sse_percent_decode(s, false, out, &n) == APR_SUCCESS;
    for (size_t i = 0; good && i < n; i++)
        good = (unsigned char)out[i] >= ' ' && out[i] != 127;
    if (!good) {
        free(out);
        return NULL;
    }
    out[n] = '\0';
    return out;
}

/* ---- parts ---- */

static bool take_scheme(sse_str_t *rest, sse_brokerurl_t *url, char *problem)
{
    static const struct {
        const char *name;
        sse_brokerurl_kind_t kind;
        bool tls;
    } schemes[] = {{"redis://", SSE_BROKERURL_SERVER, false},
                   {"rediss://", SSE_BROKERURL_SERVER, true},
                   {"redis+unix://", SSE_BROKERURL_UNIX, false},
                   {"redis+sentinel://", SSE_BROKERURL_SENTINEL, false},
                   {"redis+cluster://", SSE_BROKERURL_CLUSTER, false}};
    for (size_t i = 0; i < SSE_ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i].name);
        if (rest->n < n || memcmp(rest->p, schemes[i].name, n))
            continue;
        url->kind = schemes[i].kind;
        url->tls = schemes[i].tls;
        *rest = (sse_str_t){rest->p + n, rest->n - n};
        return true;
    }
    return fail(problem, "a Redis URL begins with redis://, rediss://, redis+unix://, "
                         "redis+sentinel:// or redis+cluster://");
}

static bool take_login(sse_str_t *rest, sse_brokerurl_t *url, char *problem)
{
    size_t end = 0, at = SIZE_MAX;
    while (end < rest->n && rest->p[end] != '/' && rest->p[end] != '?') {
        if (rest->p[end] == '@')
            at = end;
        end++;
    }
    if (at == SIZE_MAX)
        return true;
    sse_str_t login = {rest->p, at}, user;
    *rest = (sse_str_t){rest->p + at + 1, rest->n - at - 1};
    if (!cut(&login, ':', &user))
        return fail(problem, "before the @ stands user:password, or :password");
    if (user.n && !(url->user = decode(user)))
        return fail(problem, "the user is longer than %d bytes or badly encoded", TEXT_MAX);
    if (!(url->password = decode(login)))
        return fail(problem, "the password is longer than %d bytes or badly encoded", TEXT_MAX);
    return *url->password || fail(problem, "the password is empty");
}

static bool good_host(sse_str_t s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !strchr(".-_:", s.p[i]))
            return false;
    return s.n > 0 && s.n <= 253;
}

static bool take_host(sse_str_t text, uint32_t port, sse_brokerurl_t *url, char *problem)
{
    sse_str_t name, number_text = SSE_STR_NONE;
    if (url->n_hosts == SSE_BROKERURL_HOSTS_MAX)
        return fail(problem, "the URL names more than %d hosts", SSE_BROKERURL_HOSTS_MAX);
    if (text.n && *text.p == '[') {
        text = (sse_str_t){text.p + 1, text.n - 1};
        if (!cut(&text, ']', &name) || (text.n && *text.p != ':'))
            return fail(problem, "an IPv6 address stands in [ ], and then :port");
        if (text.n)
            number_text = (sse_str_t){text.p + 1, text.n - 1};
        if (text.n == 1)
            return fail(problem, "the port is missing after the colon");
    } else if (cut(&text, ':', &name)) {
        number_text = text;
        if (!text.n)
            return fail(problem, "the port is missing after the colon");
        if (memchr(text.p, ':', text.n))
            return fail(problem, "an IPv6 address stands in [ ]");
    } else {
        name = text;
    }
    if (!name.n)
        return fail(problem, "the URL has no host");
    if (!good_host(name))
        return fail(problem, "the host may have letters, digits, '.', '-' and '_'");
    if (number_text.n && !number(number_text, 1, 65535, &port))
        return fail(problem, "the port is a number from 1 to 65535");
    url->hosts[url->n_hosts++] =
        (sse_brokerurl_host_t){sse_strndup(name.p, name.n), (uint16_t)port};
    return true;
}

static bool take_hosts(sse_str_t text, sse_brokerurl_t *url, char *problem)
{
    uint32_t port = url->kind == SSE_BROKERURL_SENTINEL ? 26379 : 6379;
    sse_str_t one;
    if (url->kind == SSE_BROKERURL_SERVER && text.n && memchr(text.p, ',', text.n))
        return fail(problem,
                    "%s names one host; several need redis+sentinel:// or "
                    "redis+cluster://",
                    url->tls ? "rediss://" : "redis://");
    while (cut(&text, ',', &one))
        if (!take_host(one, port, url, problem))
            return false;
    return take_host(text, port, url, problem);
}

static bool take_db(sse_str_t text, sse_brokerurl_t *url, char *problem)
{
    return number(text, 0, 9999, &url->db) ||
           fail(problem, "the database is a number from 0 to 9999");
}

/* What stands behind the hosts' slash. */
static bool take_path(sse_str_t path, sse_brokerurl_t *url, char *problem)
{
    sse_str_t name;
    switch (url->kind) {
    case SSE_BROKERURL_SENTINEL:
        if (!cut(&path, '/', &name)) {
            name = path;
            path = SSE_STR_NONE;
        }
        if (!name.n)
            return fail(problem, "redis+sentinel:// needs the master's name: "
                                 "redis+sentinel://h1,h2,h3/name");
        if (!(url->master = decode(name)))
            return fail(problem, "the master's name is badly encoded");
        break;
    case SSE_BROKERURL_CLUSTER:
        return !path.n || fail(problem, "a Cluster has only database 0: nothing stands behind its "
                                        "hosts");
    default:
        break;
    }
    return !path.n || take_db(path, url, problem);
}

/* ---- options ---- */

static bool flag(sse_str_t value, bool *out)
{
    if (value.n != 1 || (*value.p != '0' && *value.p != '1'))
        return false;
    *out = *value.p == '1';
    return true;
}

static bool take_prefix(sse_str_t value, sse_brokerurl_t *url, char *problem)
{
    free(url->prefix);
    url->prefix = decode(value);
    if (!url->prefix || strlen(url->prefix) > 64 || strpbrk(url->prefix, "{}*?[]\\ "))
        return fail(problem,
                    "prefix has at most 64 characters and none of { } * ? [ ] \\ or space");
    return true;
}

static bool take_option(sse_str_t name, sse_str_t value, sse_brokerurl_t *url, char *problem)
{
    struct {
        const char *name;
        char **text;
    } texts[] = {{"sentinel_user", &url->sentinel_user},
                 {"sentinel_password", &url->sentinel_password},
                 {"ca", &url->ca},
                 {"cert", &url->cert},
                 {"key", &url->key}};
    for (size_t i = 0; i < SSE_ARRAY_LEN(texts); i++) {
        if (!sse_str_eq(name, sse_str(texts[i].name)))
            continue;
        free(*texts[i].text);
        *texts[i].text = decode(value);
        return (*texts[i].text && **texts[i].text) ||
               fail(problem, "%s is empty, too long or badly encoded", texts[i].name);
    }
    if (sse_str_eq(name, SSE_STR("prefix")))
        return take_prefix(value, url, problem);
    if (sse_str_eq(name, SSE_STR("db")))
        return url->kind == SSE_BROKERURL_CLUSTER ? fail(problem, "a Cluster has only database 0")
                                                  : take_db(value, url, problem);
    if (sse_str_eq(name, SSE_STR("wait")))
        return number(value, 0, 100, &url->wait) ||
               fail(problem, "wait is a number of replicas from 0 to 100");
    if (sse_str_eq(name, SSE_STR("lease")))
        return number(value, 2, 3600, &url->lease) ||
               fail(problem, "lease is a number of seconds from 2 to 3600");
    if (sse_str_eq(name, SSE_STR("tls")))
        return flag(value, &url->tls) || fail(problem, "tls is 0 or 1");
    if (sse_str_eq(name, SSE_STR("verify")))
        return flag(value, &url->verify) || fail(problem, "verify is 0 or 1");
    return fail(problem, "unknown option; known are prefix, db, wait, lease, sentinel_user, "
                         "sentinel_password, tls, verify, ca, cert and key");
}

static bool take_options(sse_str_t text, sse_brokerurl_t *url, char *problem)
{
    while (text.n) {
        sse_str_t option, name;
        if (!cut(&text, '&', &option)) {
            option = text;
            text = SSE_STR_NONE;
        }
        if (!option.n)
            continue;
        if (!cut(&option, '=', &name))
            return fail(problem, "an option is written name=value");
        if (!take_option(name, option, url, problem))
            return false;
    }
    return true;
}

static bool parse(sse_str_t rest, sse_brokerurl_t *url, char *problem)
{
    if (rest.n > 4096)
        return fail(problem, "the URL is longer than 4096 bytes");
    for (size_t i = 0; i < rest.n; i++)
        if ((unsigned char)rest.p[i] <= ' ' || rest.p[i] == 127)
            return fail(problem, "the URL has a space or control character");
    if (!take_scheme(&rest, url, problem) || !take_login(&rest, url, problem))
        return false;
    sse_str_t place, options = SSE_STR_NONE;
    if (cut(&rest, '?', &place))
        options = rest;
    else
        place = rest;
    if (url->kind == SSE_BROKERURL_UNIX) {
        if (!place.n || *place.p != '/' || place.n > 107)
            return fail(problem, "redis+unix:// needs an absolute path of at most 107 bytes");
        url->path = sse_strndup(place.p, place.n);
    } else {
        sse_str_t hosts, path = SSE_STR_NONE;
        if (cut(&place, '/', &hosts))
            path = place;
        else
            hosts = place;
        if (!take_hosts(hosts, url, problem) || !take_path(path, url, problem))
            return false;
    }
    if (!take_options(options, url, problem))
        return false;
    return !url->cert == !url->key || fail(problem, "cert and key go together");
}

apr_status_t sse_brokerurl_parse(sse_str_t text, sse_brokerurl_t *out, char *problem)
{
    sse_brokerurl_t url = {.verify = true, .lease = 15, .prefix = sse_strndup("sse:", 4)};
    if (!parse(text, &url, problem)) {
        sse_brokerurl_clear(&url);
        return APR_EINVAL;
    }
    *out = url;
    return APR_SUCCESS;
}

void sse_brokerurl_clear(sse_brokerurl_t *url)
{
    for (size_t i = 0; i < url->n_hosts; i++)
        free(url->hosts[i].name);
    free(url->path);
    free(url->master);
    free(url->user);
    free(url->password);
    free(url->sentinel_user);
    free(url->sentinel_password);
    free(url->prefix);
    free(url->ca);
    free(url->cert);
    free(url->key);
    memset(url, 0, sizeof *url);
}
