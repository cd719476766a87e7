/* SPDX-License-Identifier: Apache-2.0 */
/* From httpd's parent to a running sse-hub: fork, limits, privileges, descriptors, exec. */
#ifndef SSE_HTTPD_HUBSPAWN_H
#define SSE_HTTPD_HUBSPAWN_H

#include "core/base.h"

#include <sys/types.h>

typedef struct sse_hubspawn_t {
    const char *program;
    int config_fd;         /* sealed memory file */
    int rendezvous_fd;     /* the hub's end */
    int parent_fd;         /* the hub's end of its lifeline */
    int admin_fd;          /* -1: none */
    bool drop;             /* become uid and gid; false: keep the identity */
    const char *user_name; /* for initgroups; NULL: no other groups than gid */
    uid_t uid;
    gid_t gid;
    int64_t max_streams; /* descriptors wanted; 0: as many as may be */
    int delay_ms;        /* to wait before exec */
} sse_hubspawn_t;

/* Numbers of the descriptors in the hub; what its configuration must say. */
#define SSE_HUBSPAWN_CONFIG_FD 3
#define SSE_HUBSPAWN_RENDEZVOUS_FD 4
#define SSE_HUBSPAWN_PARENT_FD 5
#define SSE_HUBSPAWN_ADMIN_FD 6

/* Exit statuses of the child when it cannot become the hub; a line in the error log says why. */
#define SSE_HUBSPAWN_FAILED 125

/* Forks; the child becomes the hub. All descriptors stay the caller's. */
apr_status_t sse_hubspawn_fork(const sse_hubspawn_t *spawn, pid_t *out_pid);

#endif
