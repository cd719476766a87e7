/* SPDX-License-Identifier: Apache-2.0 */
/* Publishers of the load client: keep-alive HTTP connections, or connections to an admin socket,
 * each with at most one request under way. One thread; they share the caller's epoll set, whose
 * events are given back with load_publish_event. */
#ifndef LOAD_PUBLISH_H
#define LOAD_PUBLISH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct load_publisher_t {
    int fd;
    bool busy;
    int epfd; /* for connecting again */
    uint64_t tag;
    struct sockaddr_in server;
    const char *socket; /* path of an admin socket in its place, or NULL; not a copy */
    unsigned retries;   /* of the request under way */
    uint64_t sent_at;   /* ns */
    char *request;      /* what is being written */
    size_t request_len, request_done;
    char answer[16384];
    size_t answer_len;
} load_publisher_t;

/* Connects; its epoll data is `tag`. Exits with a message if the server does not take the
 * connection. */
void load_publish_open(load_publisher_t *pub, const struct sockaddr_in *server, const char *socket,
                       int epfd, uint64_t tag);
void load_publish_close(load_publisher_t *pub);

/* Starts POST `path` with `headers` ("Name: value\r\n" lines, may be empty), or POST /publish by
 * the admin socket. `body` ends with a NUL. The publisher must not be busy. */
void load_publish_send(load_publisher_t *pub, const char *path, const char *headers,
                       const char *body, size_t body_len);

/* Reads and writes what can be. True when an answer is complete: the publisher is free again. A
 * kept connection that the server closed before it said a word is opened again and the request
 * repeated, as every HTTP client does. Any status but 2xx ends the program with the answer: a
 * benchmark of refused publishes means nothing. */
bool load_publish_event(load_publisher_t *pub);

#endif
