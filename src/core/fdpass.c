/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams and descriptors over UNIX sockets, and sealed memory files for what a datagram cannot
 * hold. No state; any thread, each on its own sockets. */
#include "core/fdpass.h"

#include "core/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_WRITE)
#define SEALS_SET (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

/* Room for the credentials that SO_PASSCRED adds and for our descriptors; aligned for struct
 * cmsghdr. */
typedef union control_t {
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * SSE_FDPASS_FDS_MAX)];
    struct cmsghdr align;
} control_t;

apr_status_t sse_fdpass_pair(int out_fds[2])
{
    int fds[2], on = 1, i;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return APR_FROM_OS_ERROR(errno);
    for (i = 0; i < 2; i++) {
        if (setsockopt(fds[i], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) {
            apr_status_t rv = APR_FROM_OS_ERROR(errno);

            close(fds[0]);
            close(fds[1]);
            return rv;
        }
    }
    memcpy(out_fds, fds, sizeof(fds));
    return APR_SUCCESS;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Waits until `deadline`; also returns success when the peer hung up, which the next call then
 * tells. */
static apr_status_t wait_for(int sock, short events, int64_t deadline)
{
    struct pollfd pfd = {.fd = sock, .events = events};

    for (;;) {
        int64_t left = deadline - now_ms();
        int n;

        if (left <= 0)
            return APR_TIMEUP;
        n = poll(&pfd, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0)
            return APR_SUCCESS;
        if (n < 0 && errno != EINTR)
            return APR_FROM_OS_ERROR(errno);
    }
}

static bool is_gone(int err)
{
    return err == EPIPE || err == ECONNRESET || err == ENOTCONN || err == ECONNREFUSED;
}

/* Sends or receives by one call, again after waiting while there is no room or nothing to read. */
static apr_status_t transfer(int sock, struct msghdr *msg, bool out, int timeout_ms, ssize_t *out_n)
{
    const size_t control_len = msg->msg_controllen;
    int64_t deadline = now_ms() + timeout_ms;
    apr_status_t rv;

    for (bool waited = out || timeout_ms <= 0;; waited = true) {
        ssize_t n;

        /* Who is ready to wait for an answer has just asked: there is none yet. */
        if (!waited && (rv = wait_for(sock, POLLIN, deadline)) != APR_SUCCESS)
            return rv;
        msg->msg_controllen = control_len;
        n = out ? sendmsg(sock, msg, MSG_NOSIGNAL | MSG_DONTWAIT)
                : recvmsg(sock, msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n >= 0) {
            *out_n = n;
            return APR_SUCCESS;
        }
        if (is_gone(errno))
            return APR_EOF;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return APR_FROM_OS_ERROR(errno);
        rv = wait_for(sock, out ? POLLOUT : POLLIN, deadline);
        if (rv != APR_SUCCESS)
            return rv;
    }
}

apr_status_t sse_fdpass_send(int sock, sse_str_t data, const int *fds, size_t n_fds, int timeout_ms)
{
    struct iovec iov = {.iov_base = (void *)data.p, .iov_len = data.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    control_t control;
    ssize_t sent;

    /* An empty datagram would read as the end of the channel. */
    if (data.n == 0 || data.n > SSE_FDPASS_MAX || n_fds > SSE_FDPASS_FDS_MAX)
        return APR_EINVAL;
    if (n_fds) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    return transfer(sock, &msg, true, timeout_ms, &sent);
}

static void close_all(const int *fds, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        close(fds[i]);
}

/* Takes descriptors and the sender's uid out of the control data; false when there were more
 * descriptors than fit. */
static bool read_control(struct msghdr *msg, int *fds, size_t *n_fds, uid_t *uid)
{
    struct cmsghdr *c;
    bool fits = true;

    for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred cred;

            memcpy(&cred, CMSG_DATA(c), sizeof(cred));
            *uid = cred.uid;
        } else if (c->cmsg_type == SCM_RIGHTS) {
            size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;

            for (i = 0; i < n; i++) {
                int fd;

                memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                if (*n_fds < SSE_FDPASS_FDS_MAX) {
                    fds[(*n_fds)++] = fd;
                } else {
                    close(fd);
                    fits = false;
                }
            }
        }
    }
    return fits;
}

apr_status_t sse_fdpass_recv(int sock, void *buf, size_t cap, int timeout_ms, size_t *out_len,
                             int *out_fds, size_t *out_n_fds, uid_t *out_peer_uid)
{
    struct iovec iov = {.iov_base = buf, .iov_len = cap};
    control_t control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control)};
    int fds[SSE_FDPASS_FDS_MAX];
    size_t n_fds = 0;
    uid_t uid = (uid_t)-1;
    ssize_t n = 0;
    apr_status_t rv;

    rv = transfer(sock, &msg, false, timeout_ms, &n);
    if (rv != APR_SUCCESS)
        return rv;
    if (!read_control(&msg, fds, &n_fds, &uid) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        rv = APR_EINVAL;
    else if (n == 0)
        rv = APR_EOF;
    if (rv != APR_SUCCESS) {
        close_all(fds, n_fds);
        return rv;
    }
    memcpy(out_fds, fds, sizeof(int) * n_fds);
    *out_n_fds = n_fds;
    *out_len = (size_t)n;
    if (out_peer_uid)
        *out_peer_uid = uid;
    return APR_SUCCESS;
}

apr_status_t sse_fdpass_memfd(const char *name, sse_str_t data, int *out_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    apr_status_t rv;
    size_t done = 0;

    if (fd < 0)
        return APR_FROM_OS_ERROR(errno);
    while (done < data.n) {
        ssize_t n = write(fd, data.p + done, data.n - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            goto cleanup;
        done += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, SEALS_SET) == 0) {
        *out_fd = fd;
        return APR_SUCCESS;
    }

cleanup:
    rv = APR_FROM_OS_ERROR(errno);
    close(fd);
    return rv;
}

apr_status_t sse_fdpass_memfd_read(int fd, size_t max, char **out_data, size_t *out_len)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;
    size_t size, done = 0;
    char *data;

    /* Without the seals the sender could shrink or change it while we read. */
    if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED)
        return APR_EINVAL;
    if (fstat(fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size > max)
        return APR_EINVAL;
    size = (size_t)st.st_size;
    data = sse_malloc(size + 1);
    while (done < size) {
        ssize_t n = pread(fd, data + done, size - done, (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(data);
            return APR_EINVAL;
        }
        done += (size_t)n;
    }
    data[size] = '\0';
    *out_data = data;
    *out_len = size;
    return APR_SUCCESS;
}
