/* SPDX-License-Identifier: Apache-2.0 */
/* django.contrib.sessions.backends.file: one file a session, the same signed text as a row of the
 * db engine. Django replaces files by rename, so no lock is needed. Runs in httpd's workers; reads
 * at most one session's worth of bytes. */
#include "core/buf.h"
#include "core/log.h"
#include "session/store.h"
#include "session/zone.h"
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (2 * 1024 * 1024)

/* Whether the directory itself is gone: then it is the store that is away, not the session. */
static bool directory_there(const char *dir)
{
    struct stat st;
    return stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
}

static apr_status_t unreadable(sse_lookup_t *l, int err)
{
    if (sse_store_may_warn(l->conf->store, SSE_COMPLAINT_STORE))
        sse_log(SSE_LOG_ERR, "SSE0505: a session file in %s cannot be read: %s", l->conf->argument,
                strerror(err));
    l->detail = "session file unreadable";
    return err;
}

static apr_status_t open_session(sse_lookup_t *l, sse_str_t key, int *out_fd, struct stat *out_st)
{
    const char *dir = l->conf->argument;
    const char *path =
        apr_psprintf(l->pool, "%s/%s%.*s", dir, l->conf->cookie_name, (int)key.n, key.p);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = errno;

    if (fd < 0) {
        if (err == ELOOP || (err == ENOENT && directory_there(dir))) {
            l->detail = "no such session";
            return APR_NOTFOUND;
        }
        return unreadable(l, err);
    }
    if (fstat(fd, out_st) != 0 || !S_ISREG(out_st->st_mode) || out_st->st_size > FILE_MAX) {
        close(fd);
        l->detail = "session is no regular file, or too large";
        return APR_NOTFOUND;
    }
    *out_fd = fd;
    return APR_SUCCESS;
}

static apr_status_t read_whole(sse_lookup_t *l, int fd, size_t size, sse_str_t *out)
{
    char *p = apr_palloc(l->pool, size + 1);
    size_t n = 0;

    while (n < size) {
        ssize_t k = read(fd, p + n, size - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            return unreadable(l, errno);
        }
        if (k == 0)
            break;
        n += (size_t)k;
    }
    *out = (sse_str_t){p, n};
    return APR_SUCCESS;
}

/* When the session dies, in microseconds of UNIX time; INT64_MAX for a whole number in
 * _session_expiry, which Django's file engine never holds against the file's age. */
static bool expiry(const sse_lookup_t *l, const sse_field_t *f, const struct stat *st, int64_t *out)
{
    const sse_django_t *dj = l->conf->django;
    int64_t modified = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000, at;
    bool has_offset;
    int offset;

    switch (f->type) {
    case SSE_FIELD_ABSENT:
    case SSE_FIELD_NULL:
        *out = modified + dj->cookie_age * 1000000;
        return true;
    case SSE_FIELD_INT:
        if (f->i > 0)
            *out = INT64_MAX;
        else
            *out = f->i == 0 ? modified + dj->cookie_age * 1000000 : 0;
        return true;
    case SSE_FIELD_STRING: /* Django 4.1 and later: datetime.isoformat() */
        if (sse_civil_parse(f->s, &at, &has_offset, &offset) != APR_SUCCESS ||
            has_offset != dj->use_tz)
            return false;
        if (has_offset)
            *out = at - (int64_t)offset * 1000000;
        else
            *out = sse_zone_to_unix(dj->zone, at / 1000000) * 1000000 + at % 1000000;
        return true;
    default:
        return false;
    }
}

apr_status_t sse_engine_file_load(sse_lookup_t *l, sse_str_t key, sse_loaded_t *out)
{
    sse_loaded_t loaded = {0};
    struct stat st;
    sse_str_t text;
    int64_t dies;
    int fd = -1;
    apr_status_t rv = open_session(l, key, &fd, &st);

    if (rv != APR_SUCCESS)
        return rv;
    rv = read_whole(l, fd, (size_t)st.st_size, &text);
    close(fd);
    if (rv != APR_SUCCESS)
        return rv;
    rv = sse_lookup_decode(l, sse_str(l->conf->django->session_salt), text, &loaded.data, NULL);
    if (rv != APR_SUCCESS)
        return rv;
    /* Django floors the time left to whole seconds and ends the session when none is left. */
    if (!expiry(l, &loaded.data.field[SSE_KEY_EXPIRY], &st, &dies) ||
        dies < l->req->now + 1000000) {
        l->detail = "session expired";
        return APR_NOTFOUND;
    }
    loaded.expires = dies == INT64_MAX ? 0 : dies / 1000000;
    *out = loaded;
    return APR_SUCCESS;
}
