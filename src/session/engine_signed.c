/* SPDX-License-Identifier: Apache-2.0 */
/* django.contrib.sessions.backends.signed_cookies: the cookie is the session. Its age is counted
 * from the signature's time and is bounded by SESSION_COOKIE_AGE; nothing on the server can take it
 * back. Runs in httpd's workers. */
#include "session/lookup.h"

apr_status_t sse_engine_signed_cookies_load(sse_lookup_t *l, sse_str_t cookie, sse_loaded_t *out)
{
    const sse_str_t salt = SSE_STR("django.contrib.sessions.backends.signed_cookies");
    sse_loaded_t loaded = {0};
    int64_t when, age = l->conf->django->cookie_age;
    apr_status_t rv = sse_lookup_decode(l, salt, cookie, &loaded.data, &when);

    if (rv != APR_SUCCESS)
        return rv;
    /* Dead when older than the age, not when exactly as old; a time in the future is as good to
     * Django as any. */
    if (__builtin_add_overflow(when, age, &loaded.expires) ||
        loaded.expires < l->req->now / 1000000 ||
        (loaded.expires == l->req->now / 1000000 && l->req->now % 1000000 > 0)) {
        l->detail = "session expired";
        return APR_NOTFOUND;
    }
    *out = loaded;
    return APR_SUCCESS;
}
