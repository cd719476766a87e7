/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and removes the admin socket. Runs in httpd's parent only. */
#include "httpd/adminlisten.h"
#include "httpd/statedir.h"

#include <apr_file_io.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 512

static const char *because(apr_pool_t *p, const char *what, const char *path)
{
    char reason[120];
    return apr_psprintf(p, "%s %s: %s", what, path, apr_strerror(errno, reason, sizeof(reason)));
}

/* NULL when the directory exists, or was made, and only root (or whoever started httpd) can write
 * there. */
static const char *directory_problem(const char *socket_path, apr_pool_t *p)
{
    char *dir = ap_make_dirstr_parent(p, socket_path);
    size_t n = strlen(dir);
    if (n > 1)
        dir[n - 1] = '\0';
    mode_t mask = umask(0022);
    apr_status_t rv = apr_dir_make_recursive(dir, APR_FPROT_OS_DEFAULT, p);
    umask(mask);
    if (rv != APR_SUCCESS) {
        errno = rv;
        return because(p, "cannot make the directory", dir);
    }
    struct stat st;
    if (stat(dir, &st))
        return because(p, "cannot look at the directory", dir);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return apr_psprintf(p,
                            "the directory %s belongs to user id %lu, so that user could put "
                            "another socket there; use a directory of root's",
                            dir, (unsigned long)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return apr_psprintf(p,
                            "the directory %s can be written by others (mode %04o), so they "
                            "could put another socket there",
                            dir, (unsigned)st.st_mode & 07777);
    return NULL;
}

/* Takes the lock that says which httpd the socket belongs to. */
static const char *lock_problem(sse_adminlisten_t *sock, apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, sock->path, ".lock", NULL);
    sock->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (sock->lock_fd < 0)
        return because(p, "cannot open", path);
    if (!flock(sock->lock_fd, LOCK_EX | LOCK_NB))
        return NULL;
    if (errno == EWOULDBLOCK)
        return "it is in use by another httpd; give each its own SSEAdminSocket";
    return because(p, "cannot lock", path);
}

static const char *listen_problem(sse_adminlisten_t *sock, apr_pool_t *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, sock->path, strlen(sock->path) + 1);
    sock->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock->fd < 0)
        return because(p, "cannot make", sock->path);
    /* The lock is ours: what lies here was left by an httpd that is gone. */
    struct stat st;
    if (!lstat(sock->path, &st)) {
        if (!S_ISSOCK(st.st_mode))
            return apr_psprintf(p, "%s exists and is not a socket", sock->path);
        unlink(sock->path);
    }
    mode_t mask = umask(0177);
    int rc = bind(sock->fd, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (rc)
        return because(p, "cannot bind", sock->path);
    if (chown(sock->path, (uid_t)-1, sock->group))
        return because(p, "cannot set the group of", sock->path);
    if (chmod(sock->path, (mode_t)sock->mode))
        return because(p, "cannot set the mode of", sock->path);
    if (listen(sock->fd, BACKLOG))
        return because(p, "cannot listen on", sock->path);
    return NULL;
}

void sse_adminlisten_close(sse_adminlisten_t *sock)
{
    if (sock->fd >= 0) {
        close(sock->fd);
        unlink(sock->path);
    }
    if (sock->lock_fd >= 0) {
        char path[sizeof(sock->path) + sizeof(".lock")];
        apr_snprintf(path, sizeof(path), "%s.lock", sock->path);
        unlink(path);
        close(sock->lock_fd);
    }
    sock->fd = sock->lock_fd = -1;
}

apr_status_t sse_adminlisten_open(sse_adminlisten_t *sock, server_rec *s,
                                  const sse_global_conf_t *g, apr_pool_t *p)
{
    gid_t group = g->admin_socket_group;
    if (group == (gid_t)-1)
        group = sse_statedir_gid();
    if (sock->fd >= 0 && g->admin_socket && !strcmp(sock->path, g->admin_socket) &&
        sock->mode == g->admin_socket_mode && sock->group == group)
        return APR_SUCCESS;
    sse_adminlisten_close(sock);
    if (!g->admin_socket)
        return APR_SUCCESS;

    apr_cpystrn(sock->path, g->admin_socket, sizeof(sock->path));
    sock->mode = g->admin_socket_mode;
    sock->group = group;
    const char *problem = directory_problem(sock->path, p);
    if (!problem)
        problem = lock_problem(sock, p);
    if (!problem)
        problem = listen_problem(sock, p);
    if (!problem)
        return APR_SUCCESS;

    /* Only what is ours may be removed: the lock when we hold it, the socket when we bound it. */
    if (sock->fd >= 0)
        close(sock->fd);
    if (sock->lock_fd >= 0)
        close(sock->lock_fd);
    sock->fd = sock->lock_fd = -1;
    if (g->admin_socket_default) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "SSE0113: there is no admin socket %s: %s; publishers on this host can use "
                     "the admin handler",
                     g->admin_socket, problem);
        return APR_SUCCESS;
    }
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "SSE0112: SSEAdminSocket %s: %s", g->admin_socket,
                 problem);
    return APR_EGENERAL;
}
