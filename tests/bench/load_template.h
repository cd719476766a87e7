/* SPDX-License-Identifier: Apache-2.0 */
/* Fills in what differs from one request to the next, so that one client speaks to servers with
 * different URLs and bodies. */
#ifndef LOAD_TEMPLATE_H
#define LOAD_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct load_values_t {
    uint32_t user;   /* %u, and as 8 digits %z: number of the stream, which is its user's */
    uint32_t groups; /* %g: user modulo this */
    uint32_t seq;    /* in %s: {"seq":"00000042","pad":"xxx…"} of data_size bytes */
    size_t data_size;
} load_values_t;

/* A malloc'ed, terminated string; out_len (or NULL) gets its length. `%%` is a percent sign. */
char *load_template_fill(const char *text, const load_values_t *values, size_t *out_len);

/* base64 of the filled text, malloc'ed. */
char *load_template_base64(const char *text, const load_values_t *values);

#endif
