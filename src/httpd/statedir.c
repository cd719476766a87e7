/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the state directory and key files. Runs in httpd's parent, as root where httpd was started
 * by root; the state directory belongs to an unprivileged user, so nothing in it is followed or
 * overwritten. */
#include "httpd/statedir.h"

#include "core/crypto.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unixd.h>

uid_t sse_statedir_uid(void)
{
    return geteuid() ? geteuid() : ap_unixd_config.user_id;
}

gid_t sse_statedir_gid(void)
{
    return geteuid() ? getegid() : ap_unixd_config.group_id;
}

static apr_status_t refuse(server_rec *s, const char *dir, const char *what, int err)
{
    ap_log_error(APLOG_MARK, APLOG_EMERG, err, s, "SSE0110: SSEStateDir %s %s", dir, what);
    return err ? err : APR_EGENERAL;
}

apr_status_t sse_statedir_prepare(server_rec *s, const sse_global_conf_t *g, apr_pool_t *p)
{
    const char *dir = g->state_dir;
    bool made = !mkdir(dir, 0700);
    if (!made && errno == ENOENT) {
        const char *parent = ap_make_dirstr_parent(p, dir);
        apr_status_t rv = apr_dir_make_recursive(
            parent, APR_FPROT_OS_DEFAULT & ~(APR_FPROT_GWRITE | APR_FPROT_WWRITE), p);
        if (rv != APR_SUCCESS)
            return refuse(s, dir, "cannot be made", rv);
        made = !mkdir(dir, 0700);
    }
    if (!made && errno != EEXIST)
        return refuse(s, dir, "cannot be made", errno);

    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return refuse(s, dir, "cannot be opened as a directory", errno);
    apr_status_t rv = APR_SUCCESS;
    struct stat st;
    if (made && (fchown(fd, sse_statedir_uid(), sse_statedir_gid()) || fchmod(fd, 0750)))
        rv = refuse(s, dir, "cannot be given to httpd's User", errno);
    else if (fstat(fd, &st))
        rv = refuse(s, dir, "cannot be looked at", errno);
    else if (st.st_uid != sse_statedir_uid())
        rv = refuse(s, dir,
                    apr_psprintf(p,
                                 "belongs to user id %lu; it must belong to httpd's User "
                                 "(user id %lu)",
                                 (unsigned long)st.st_uid, (unsigned long)sse_statedir_uid()),
                    0);
    else if (st.st_mode & S_IWOTH)
        rv = refuse(s, dir, "can be written by every user of the machine", 0);
    close(fd);
    return rv;
}

static apr_status_t write_new_key(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? APR_SUCCESS : errno;
    unsigned char random[32];
    char text[2 * sizeof(random) + 2];
    sse_crypto_random(random, sizeof(random));
    sse_crypto_hex(random, sizeof(random), text);
    text[2 * sizeof(random)] = '\n';
    apr_status_t rv = APR_SUCCESS;
    if (write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1 || fsync(fd) ||
        fchown(fd, (uid_t)-1, sse_statedir_gid()) || fchmod(fd, 0640))
        rv = errno ? errno : APR_EGENERAL;
    close(fd);
    if (rv != APR_SUCCESS)
        unlink(path);
    sse_crypto_wipe(random, sizeof(random));
    sse_crypto_wipe(text, sizeof(text));
    return rv;
}

apr_status_t sse_statedir_make_keys(server_rec *s, sse_global_conf_t *g, apr_pool_t *p)
{
    for (int i = 0; i < g->new_keys->nelts; i++) {
        sse_adminkeys_t *keys = APR_ARRAY_IDX(g->new_keys, i, sse_adminkeys_t *);
        apr_status_t rv = write_new_key(keys->path);
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s,
                         "SSE0111: the admin key file %s cannot be made", keys->path);
            return rv;
        }
        const char *problem = sse_config_read_keys(p, keys);
        if (problem) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "SSE0123: the admin key file %s, just made, %s", keys->path, problem);
            return APR_EGENERAL;
        }
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "the admin key file %s was made", keys->path);
    }
    return APR_SUCCESS;
}
