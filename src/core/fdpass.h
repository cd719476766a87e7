/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams with file descriptors over AF_UNIX SOCK_SEQPACKET (unix(7), SCM_RIGHTS). Every
 * descriptor made or received here is close-on-exec; socket pairs are non-blocking. No function
 * blocks longer than its time-out. */
#ifndef SSE_FDPASS_H
#define SSE_FDPASS_H

#include "core/base.h"
#include <sys/types.h>

#define SSE_FDPASS_FDS_MAX 4
/* The largest datagram: what does not fit goes into a sealed memory file (sse_fdpass_memfd) whose
 * descriptor is sent. */
#define SSE_FDPASS_MAX (48 * 1024)

/* SOCK_SEQPACKET pair, close-on-exec, non-blocking, SO_PASSCRED on both ends. */
apr_status_t sse_fdpass_pair(int out_fds[2]);

/* Sends one datagram. APR_TIMEUP after timeout_ms without room (0: do not wait), APR_EOF when the
 * peer is gone. The descriptors stay the caller's to close. On success the peer will get everything
 * or die: never retry after success. */
apr_status_t sse_fdpass_send(int sock, sse_str_t data, const int *fds, size_t n_fds,
                             int timeout_ms);

/* Receives one datagram into buf of cap bytes. *out_fds has room for SSE_FDPASS_FDS_MAX; surplus
 * descriptors and those of a truncated datagram are closed (APR_EINVAL then). APR_TIMEUP, APR_EOF
 * as above. out_peer_uid may be NULL; it is the sender's uid by SCM_CREDENTIALS, (uid_t)-1 when the
 * kernel gave none. */
apr_status_t sse_fdpass_recv(int sock, void *buf, size_t cap, int timeout_ms, size_t *out_len,
                             int *out_fds, size_t *out_n_fds, uid_t *out_peer_uid);

/* An anonymous memory file holding `data`, sealed against any change. */
apr_status_t sse_fdpass_memfd(const char *name, sse_str_t data, int *out_fd);
/* Reads a memory file that must be sealed against shrinking and writing and hold at most max bytes;
 * caller frees *out_data. APR_EINVAL when it is not so. */
apr_status_t sse_fdpass_memfd_read(int fd, size_t max, char **out_data, size_t *out_len);

#endif
