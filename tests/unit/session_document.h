/* SPDX-License-Identifier: Apache-2.0 */
/* What real Django wrote and answered (tests/vectors/django.json, or the file that
 * SSE_DJANGO_VECTORS names), and shorthand for reading it. One document a program. */
#ifndef SSE_SESSION_DOCUMENT_H
#define SSE_SESSION_DOCUMENT_H

#include "core/json.h"

#include <apr_pools.h>

/* Reads it into `whole`; what the functions below make lives in `test`. Fails the test when it
 * cannot be read. */
const sse_json_t *doc_open(apr_pool_t *whole, apr_pool_t *test);
void doc_close(void);

const sse_json_t *doc_get(const sse_json_t *v, const char *name); /* a member; NULL of NULL */
const char *doc_str(const sse_json_t *v, const char *name);       /* NULL if it is no string */
sse_str_t doc_hex(const sse_json_t *v, const char *name);         /* its bytes, and a NUL */
/* A number of seconds, perhaps with a fraction, in microseconds. */
int64_t doc_micros(const sse_json_t *v, const char *name);

#endif
