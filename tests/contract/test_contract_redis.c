/* SPDX-License-Identifier: Apache-2.0 */
/* The contract suite over the Redis driver: its world is a redis-server. */
#include "redis_server.h"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#define LEASE 2 /* seconds */

world_t world;

static int suite(void)
{
    return contract_publish_tests() + contract_history_tests() + contract_records_tests() +
           contract_life_tests();
}

/* A certificate of the server's own, for its address. */
static void make_certificate(const redis_server_t *server)
{
    char command[1024];
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
             "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout %s/key.pem "
             "-out %s/cert.pem 2>/dev/null",
             server->dir, server->dir);
    if (system(command) != 0)
        exit(99);
}

/* Without the authority's certificate nothing is said to the server. */
static int refuses_a_stranger(int port)
{
    char url[128];
    world.url = url;
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d/0", port);
    rig_t *r = rig_start_until(SSE_BROKER_LOST);
    int failed = strstr(r->detail, "certificate") == NULL;
    if (failed)
        fprintf(stderr, "a stranger's certificate: %s\n", r->detail);
    rig_stop(r);
    return failed;
}

static int over_tls(redis_server_t *server)
{
    char url[1024], port[16], cert[300], key[300];
    make_certificate(server);
    redis_server_kill(server);
    snprintf(port, sizeof port, "%d", server->port + 1);
    snprintf(cert, sizeof cert, "%s/cert.pem", server->dir);
    snprintf(key, sizeof key, "%s/key.pem", server->dir);
    const char *extra[] = {"--tls-port",
                           port,
                           "--tls-cert-file",
                           cert,
                           "--tls-key-file",
                           key,
                           "--tls-ca-cert-file",
                           cert,
                           "--tls-auth-clients",
                           "no",
                           NULL};
    redis_server_start(server, extra);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%s/0?prefix=tls:&ca=%s", port, cert);
    world.url = url;
    return suite() + refuses_a_stranger(server->port + 1);
}

int main(void)
{
    redis_server_t server;
    char url[128];
    if (!redis_server_make(&server)) {
        fprintf(stderr, "redis-server is missing\n");
        return 77;
    }
    redis_server_start(&server, NULL);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/3?prefix=contract:", server.port);
    world = (world_t){.url = url, .state_dir = server.dir};
    int failed = suite();
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0?prefix=hubs:&lease=%d", server.port, LEASE);
    failed += contract_hubs_tests(LEASE * 1000) + over_tls(&server);
    redis_server_remove(&server);
    return failed ? 1 : 0;
}
