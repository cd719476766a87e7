/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of a Redis broker, taken apart:
 *
 *   redis://[[user]:password@]host[:port][/db][?options]      one server; rediss:// over TLS
 *   redis+unix://[[user]:password@]/path/of.sock[?db=N&...]   its UNIX socket
 *   redis+sentinel://[...@]h1[:port],h2,h3/name[/db][?...]    the server that Sentinels name
 *   redis+cluster://[...@]h1[:port],h2,h3[?...]               a Cluster, by some of its nodes
 *
 * Options: prefix (of all keys), wait (replicas that must have a message before it is
 * acknowledged), lease (seconds that a dead hub's users stay online), sentinel_user and
 * sentinel_password, tls (1: Sentinel or Cluster over TLS), ca, cert, key (files), verify (0: any
 * certificate). User, password and options may be percent-encoded. No I/O. */
#ifndef SSE_BROKERURL_H
#define SSE_BROKERURL_H

#include "core/base.h"

#define SSE_BROKERURL_HOSTS_MAX 32

typedef enum sse_brokerurl_kind_t {
    SSE_BROKERURL_SERVER,
    SSE_BROKERURL_UNIX,
    SSE_BROKERURL_SENTINEL,
    SSE_BROKERURL_CLUSTER
} sse_brokerurl_kind_t;

typedef struct sse_brokerurl_host_t {
    char *name;
    uint16_t port;
} sse_brokerurl_host_t;

/* Texts are NULL where the URL has none, but for prefix. */
typedef struct sse_brokerurl_t {
    sse_brokerurl_kind_t kind;
    bool tls, verify;
    size_t n_hosts;
    sse_brokerurl_host_t hosts[SSE_BROKERURL_HOSTS_MAX];
    char *path;   /* of a UNIX socket */
    char *master; /* the name that Sentinels know */
    char *user, *password, *sentinel_user, *sentinel_password;
    uint32_t db;
    char *prefix; /* "sse:" unless said otherwise */
    uint32_t wait;
    uint32_t lease; /* seconds */
    char *ca, *cert, *key;
} sse_brokerurl_t;

/* APR_EINVAL with a sentence in problem (256 bytes) that never shows a password; *out is empty
 * then. Else free it with sse_brokerurl_clear. */
apr_status_t sse_brokerurl_parse(sse_str_t url, sse_brokerurl_t *out, char *problem);
void sse_brokerurl_clear(sse_brokerurl_t *url);

#endif
