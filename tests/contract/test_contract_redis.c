/* SPDX-License-Identifier: Apache-2.0 */
/* The contract suite over the Redis driver: its world is a redis-server. */
#include "redis_server.h"
#include "rig.h"

#include <stdio.h>

world_t world;

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
    int failed = contract_publish_tests() + contract_history_tests() + contract_records_tests() +
                 contract_life_tests();
    redis_server_remove(&server);
    return failed ? 1 : 0;
}
