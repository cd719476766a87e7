/* SPDX-License-Identifier: Apache-2.0 */
/* A real redis-server of a test's own: a temporary directory, a free port below 32768, the append
 * only file on. */
#ifndef SSE_CONTRACT_REDIS_SERVER_H
#define SSE_CONTRACT_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct redis_server_t {
    char dir[256];
    char socket[300];
    int port;
    pid_t pid;
} redis_server_t;

/* False where there is no redis-server program. Fails the program for anything else. */
bool redis_server_make(redis_server_t *s);
/* Runs until it answers; extra arguments end with NULL. */
void redis_server_start(redis_server_t *s, const char *const *extra);
void redis_server_signal(redis_server_t *s, int number);
/* kill -9, and waits for its end. */
void redis_server_kill(redis_server_t *s);
/* Sends one command of words over a connection of its own and returns the first line of the answer
 * (static memory). */
const char *redis_server_say(redis_server_t *s, const char *command);
void redis_server_remove(redis_server_t *s);

#endif
