/* SPDX-License-Identifier: Apache-2.0 */
/* See socketpair.h. */
#include "httpd/socketpair.h"

#include <errno.h>
#include <sys/socket.h>

#define AHEAD (32 * 1024)

apr_status_t sse_socketpair_open(int out_fds[2])
{
    int ahead = AHEAD;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out_fds))
        return errno;
    setsockopt(out_fds[1], SOL_SOCKET, SO_SNDBUF, &ahead, sizeof(ahead));
    return APR_SUCCESS;
}
