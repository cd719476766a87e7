/* SPDX-License-Identifier: Apache-2.0 */
/* One write(2) for all posts until the loop looks: the flag is taken back before `woken`, so that a
 * post during it wakes the loop again. */
#include "broker/wakeup.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_readable(uv_poll_t *poll, int status, int events)
{
    sse_wakeup_t *w = poll->data;
    uint64_t count;
    while (read(w->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    atomic_exchange(&w->posted, false);
    w->woken(w->owner);
}

apr_status_t sse_wakeup_init(sse_wakeup_t *w, uv_loop_t *loop, sse_wakeup_fn woken, void *owner)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return APR_FROM_OS_ERROR(errno);
    if (uv_poll_init(loop, &w->poll, fd)) {
        close(fd);
        return APR_EGENERAL;
    }
    w->fd = fd;
    w->woken = woken;
    w->closed = NULL;
    w->owner = owner;
    w->poll.data = w;
    atomic_init(&w->posted, false);
    uv_poll_start(&w->poll, UV_READABLE, on_readable);
    return APR_SUCCESS;
}

void sse_wakeup_post(sse_wakeup_t *w)
{
    const uint64_t one = 1;
    if (atomic_exchange(&w->posted, true))
        return;
    /* It fails only by an interruption: the counter cannot be full. */
    while (write(w->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void on_closed(uv_handle_t *handle)
{
    sse_wakeup_t *w = handle->data;
    close(w->fd);
    w->fd = -1;
    if (w->closed)
        w->closed(w->owner);
}

void sse_wakeup_close(sse_wakeup_t *w, sse_wakeup_fn closed)
{
    if (sse_wakeup_closing(w))
        return;
    w->closed = closed;
    uv_close((uv_handle_t *)&w->poll, on_closed);
}

bool sse_wakeup_closing(const sse_wakeup_t *w)
{
    return uv_is_closing((const uv_handle_t *)&w->poll);
}
