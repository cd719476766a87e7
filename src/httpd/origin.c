/* SPDX-License-Identifier: Apache-2.0 */
/* Origins in one spelling, so that they can be compared as text. Any thread. */
#include "httpd/origin.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>

/* Length of the host at `s`: a name, an IPv4 address or an IPv6 address in brackets; 0 if none. */
static size_t host_length(const char *s)
{
    if (*s == '[') {
        size_t n = strspn(s + 1, "0123456789abcdefABCDEF:.");
        return n && s[1 + n] == ']' ? n + 2 : 0;
    }
    size_t n = 0;
    while (apr_isalnum(s[n]) || s[n] == '-' || s[n] == '.' || s[n] == '_')
        n++;
    return n;
}

const char *sse_origin_normalize(const char *text, apr_pool_t *p)
{
    bool tls;
    if (!strncasecmp(text, "http://", 7))
        tls = false;
    else if (!strncasecmp(text, "https://", 8))
        tls = true;
    else
        return NULL;
    const char *host = text + (tls ? 8 : 7);
    size_t n = host_length(host);
    if (!n || n > 255)
        return NULL;
    const char *rest = host + n;
    int port = 0;
    if (*rest == ':') {
        size_t digits = strspn(rest + 1, "0123456789");
        if (!digits || digits > 5 || rest[1 + digits])
            return NULL;
        port = atoi(rest + 1);
        if (port < 1 || port > 65535)
            return NULL;
    } else if (*rest) {
        return NULL;
    }
    char *lower = apr_pstrmemdup(p, host, n);
    for (char *c = lower; *c; c++)
        *c = (char)apr_tolower(*c);
    const char *scheme = tls ? "https" : "http";
    if (!port || port == (tls ? 443 : 80))
        return apr_pstrcat(p, scheme, "://", lower, NULL);
    return apr_psprintf(p, "%s://%s:%d", scheme, lower, port);
}

const char *sse_origin_of_site(const char *scheme, const char *host, apr_pool_t *p)
{
    return sse_origin_normalize(apr_pstrcat(p, scheme, "://", host, NULL), p);
}
