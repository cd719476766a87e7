/* SPDX-License-Identifier: Apache-2.0 */
/* The hub's configuration: written by httpd's parent as JSON into a memory file, read by sse-hub.
 * One table of members serves writer and reader. Directives of the same meaning are named in
 * docs/directives.md. */
#ifndef SSE_HUBCONF_H
#define SSE_HUBCONF_H

#include "core/buf.h"

typedef struct sse_hubconf_t {
    char *broker;     /* "local" or a URL, `file:` already resolved */
    char *state_dir;  /* absolute */
    char *driver_dir; /* where broker drivers that are shared objects live */
    char *durability; /* "normal" or "full" */
    int64_t threads;  /* 0 = by CPUs */
    int64_t history_count;
    int64_t history_seconds;
    int64_t heartbeat;   /* seconds */
    int64_t retry;       /* ms */
    int64_t max_age;     /* seconds */
    int64_t max_streams; /* 0 = from RLIMIT_NOFILE */
    int64_t max_streams_per_user;
    int64_t max_streams_per_host;
    int64_t stream_buffer;    /* bytes */
    int64_t max_message_size; /* bytes */
    int64_t presence_grace;   /* seconds */
    int64_t parked_streams;
    int64_t revocation_memory; /* seconds that revocations are remembered: longest session cache +
                                  worker time-out */
    int64_t log_level;         /* sse_log_level_t */
    int64_t rendezvous_fd;     /* inherited descriptors; -1 = none */
    int64_t parent_fd;         /* end of file here = the parent is gone */
    int64_t admin_fd;          /* listening admin socket */
    int64_t uid;               /* httpd's User: who may say HELLO; -1 = the hub's own uid */
} sse_hubconf_t;

void sse_hubconf_init(sse_hubconf_t *conf); /* defaults of interface.md */
void sse_hubconf_clear(sse_hubconf_t *conf);
void sse_hubconf_write(const sse_hubconf_t *conf, sse_buf_t *out);
/* APR_EINVAL with a sentence in out_problem (256 bytes) for unknown or ill-typed members; *conf
 * must be initialised. */
apr_status_t sse_hubconf_read(sse_str_t json, sse_hubconf_t *conf, char *out_problem);

#endif
