/* SPDX-License-Identifier: Apache-2.0 */
/* See tcppeer.h. The kernel's newer header of TCP is used, which cannot stand beside the C
 * library's. */
#include "core/tcppeer.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* A look comes once a second: the kernel's limit must not pass between two. */
#define LIMIT_MIN 2
/* The kernel's longest time between two probes. */
#define PROBE_MS_MAX 120000

static void set_limit(int fd, unsigned int ms)
{
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

void sse_tcppeer_limit(int fd, uint32_t seconds)
{
    if (seconds)
        set_limit(fd, 1000 * (seconds < LIMIT_MIN ? LIMIT_MIN : seconds));
}

static bool read_info(int fd, struct tcp_info *out)
{
    socklen_t n = sizeof *out;
    memset(out, 0, sizeof *out);
    out->tcpi_snd_wnd = 1;
    return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, out, &n) &&
           n >= offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof out->tcpi_notsent_bytes;
}

/* Something waits, and either nothing is under way or the client has dropped it: it has no room.
 * Kernels before 5.4 do not tell its window. */
static bool is_full(const struct tcp_info *info)
{
    return !info->tcpi_unacked ? info->tcpi_notsent_bytes > 0 : !info->tcpi_snd_wnd;
}

/* Between the kernel's last probe (or repeated packet) and its next. */
static uint64_t probe_ms(const struct tcp_info *info)
{
    uint64_t ms = info->tcpi_rto / 1000;
    if (!info->tcpi_unacked)
        ms <<= info->tcpi_backoff < 16 ? info->tcpi_backoff : 16;
    return ms < PROBE_MS_MAX ? ms : PROBE_MS_MAX;
}

bool sse_tcppeer_there(int fd, uint32_t seconds, bool *stalled)
{
    struct tcp_info info;
    if (!seconds || !read_info(fd, &info))
        return true;
    if (!*stalled) {
        if (!is_full(&info))
            return true;
        set_limit(fd, 0);
        *stalled = true;
    }
    /* Each probe waits twice as long as the one before, up to two minutes. Who is there has
     * answered the last one. */
    return info.tcpi_last_ack_recv <= probe_ms(&info) + 1000 * (uint64_t)seconds;
}

void sse_tcppeer_taken(int fd, uint32_t seconds, bool *stalled)
{
    if (!*stalled)
        return;
    *stalled = false;
    sse_tcppeer_limit(fd, seconds);
}

int sse_tcppeer_unacknowledged(int fd)
{
    int waiting;
    return ioctl(fd, SIOCOUTQ, &waiting) ? -1 : waiting;
}
