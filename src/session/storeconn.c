/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets to cache servers with deadlines. SO_RCVTIMEO would bound each read only: a server that
 * drips a byte a second would hold a worker for hours, so every wait is a poll(2) for what is left
 * of the whole time. Runs in httpd's workers; the list of idle connections is the only thing they
 * share, under its lock. */
#include "session/storeconn.h"
#include <apr_thread_mutex.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define IDLE_MAX 16
#define IDLE_MS 60000

struct sse_idle_t {
    apr_thread_mutex_t *lock;
    size_t n;
    struct {
        int fd;
        int64_t since;
    } conn[IDLE_MAX]; /* the last one given is the first one taken */
};

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t sse_storeconn_deadline(int timeout_ms)
{
    return now_ms() + timeout_ms;
}

static apr_status_t wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = deadline - now_ms();
        int rc;

        if (left <= 0)
            return APR_TIMEUP;
        rc = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (rc > 0)
            return APR_SUCCESS;
        if (rc < 0 && errno != EINTR)
            return errno;
    }
}

static apr_status_t connect_to(const struct sockaddr *addr, socklen_t len, int64_t deadline,
                               int *out_fd)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = 0, on = 1;
    socklen_t err_len = sizeof err;
    apr_status_t rv;

    if (fd < 0)
        return errno;
    if (addr->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    rv = connect(fd, addr, len) == 0 ? APR_SUCCESS : errno;
    if (rv == EINPROGRESS) {
        rv = wait_for(fd, POLLOUT, deadline);
        if (rv == APR_SUCCESS)
            rv = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len) == 0 ? err : errno;
    }
    if (rv != APR_SUCCESS) {
        close(fd);
        return rv;
    }
    *out_fd = fd;
    return APR_SUCCESS;
}

apr_status_t sse_storeconn_open(const sse_endpoint_t *to, int64_t deadline, int *out_fd)
{
    sse_address_t address[SSE_STORENAMES_MAX];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = to->path ? strlen(to->path) : 0;
    apr_status_t rv;

    if (to->path) {
        if (n >= sizeof un.sun_path)
            return APR_ENAMETOOLONG;
        memcpy(un.sun_path, to->path, n);
        return connect_to((struct sockaddr *)&un, sizeof un, deadline, out_fd);
    }
    rv = sse_storenames_get(to->names, deadline, address, &n);
    if (rv != APR_SUCCESS)
        return rv;
    for (size_t i = 0; i < n; i++) {
        rv = connect_to((struct sockaddr *)&address[i].addr, address[i].len, deadline, out_fd);
        if (rv == APR_SUCCESS || rv == APR_TIMEUP)
            break;
    }
    if (rv != APR_SUCCESS)
        sse_storenames_doubt(to->names);
    return rv;
}

apr_status_t sse_storeconn_send(int fd, sse_str_t data, int64_t deadline)
{
    while (data.n > 0) {
        ssize_t k = send(fd, data.p, data.n, MSG_NOSIGNAL);
        if (k >= 0) {
            data.p += k;
            data.n -= (size_t)k;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            apr_status_t rv = wait_for(fd, POLLOUT, deadline);
            if (rv != APR_SUCCESS)
                return rv;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return APR_SUCCESS;
}

apr_status_t sse_storeconn_recv(int fd, void *buf, size_t cap, int64_t deadline, size_t *out_n)
{
    for (;;) {
        apr_status_t rv = wait_for(fd, POLLIN, deadline);
        ssize_t k;

        if (rv != APR_SUCCESS)
            return rv;
        k = recv(fd, buf, cap, 0);
        if (k > 0) {
            *out_n = (size_t)k;
            return APR_SUCCESS;
        }
        if (k == 0)
            return APR_EOF;
        if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            return errno;
    }
}

static apr_status_t close_all(void *data)
{
    sse_idle_t *idle = data;

    while (idle->n > 0)
        close(idle->conn[--idle->n].fd);
    return APR_SUCCESS;
}

sse_idle_t *sse_idle_create(apr_pool_t *pool)
{
    sse_idle_t *idle = apr_pcalloc(pool, sizeof *idle);

    if (apr_thread_mutex_create(&idle->lock, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS)
        return NULL;
    apr_pool_cleanup_register(pool, idle, close_all, apr_pool_cleanup_null);
    return idle;
}

/* Nothing to read on an idle connection is right: an end, an error or unasked bytes are not. */
static bool still_good(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

int sse_idle_take(sse_idle_t *idle)
{
    for (;;) {
        int fd = -1;
        int64_t since = 0;

        apr_thread_mutex_lock(idle->lock);
        if (idle->n > 0) {
            idle->n--;
            fd = idle->conn[idle->n].fd;
            since = idle->conn[idle->n].since;
        }
        apr_thread_mutex_unlock(idle->lock);
        if (fd < 0 || (now_ms() - since <= IDLE_MS && still_good(fd)))
            return fd;
        close(fd);
    }
}

void sse_idle_give(sse_idle_t *idle, int fd)
{
    apr_thread_mutex_lock(idle->lock);
    if (idle->n < IDLE_MAX) {
        idle->conn[idle->n].fd = fd;
        idle->conn[idle->n].since = now_ms();
        idle->n++;
        fd = -1;
    }
    apr_thread_mutex_unlock(idle->lock);
    if (fd >= 0)
        close(fd);
}
