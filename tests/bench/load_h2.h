/* SPDX-License-Identifier: Apache-2.0 */
/* As much of HTTP/2 as one request a connection needs (RFC 9113): its first bytes, and taking the
 * frames apart that come. */
#ifndef LOAD_H2_H
#define LOAD_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where in the frames a connection is. */
typedef struct load_h2_t {
    uint8_t head[9];
    uint8_t head_n;
    uint32_t left; /* bytes of the frame's payload that are still to come */
    bool first;    /* of its payload nothing has come */
} load_h2_t;

/* What load_h2_take found. */
typedef struct load_h2_piece_t {
    const char *data; /* of the response's body; NULL: none in this piece */
    size_t n;
    bool answered;         /* a response's head has come, with status 200 */
    const char *problem;   /* refused, or the stream has ended */
    unsigned char ack[17]; /* to be sent back, ack_n bytes */
    size_t ack_n;
} load_h2_piece_t;

/* Preface, settings and a GET of path; returns the length. `out` has 2048 bytes. */
size_t load_h2_request(const char *path, const char *last_id, unsigned char *out);

/* Takes some of the n bytes at p; returns how many. */
size_t load_h2_take(load_h2_t *h2, const char *p, size_t n, load_h2_piece_t *out);

#endif
