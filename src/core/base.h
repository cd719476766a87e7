/* SPDX-License-Identifier: Apache-2.0 */
/* What every other file may assume: status codes, byte slices, limits that both httpd's side and
 * the hub enforce.
 *
 * Functions that can fail return apr_status_t; out parameters come last, are named out_... and are
 * untouched on failure. */
#ifndef SSE_BASE_H
#define SSE_BASE_H

#include <apr_errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A slice of bytes somebody else owns; not NUL-terminated unless a function says so. */
typedef struct sse_str_t {
    const char *p;
    size_t n;
} sse_str_t;

#define SSE_STR_NONE ((sse_str_t){NULL, 0})
/* The slice of a string literal. */
#define SSE_STR(lit) ((sse_str_t){(lit), sizeof(lit) - 1})

static inline sse_str_t sse_str(const char *cstr)
{
    return (sse_str_t){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool sse_str_eq(sse_str_t a, sse_str_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Bytes of a name, without terminator. */
#define SSE_EVENT_MAX 255
#define SSE_REALM_MAX 64
#define SSE_USER_MAX 255
#define SSE_GROUP_MAX 640

/* What one stream may ask for or one user may belong to. */
#define SSE_STREAM_EVENTS_MAX 64
#define SSE_USER_GROUPS_MAX 1024
#define SSE_OWNER_SUBS_MAX 1024
#define SSE_ADDRESSEES_MAX 10000

#define SSE_BATCH_BYTES_MAX (16u * 1024 * 1024)
#define SSE_BATCH_ITEMS_MAX 10000

/* Bytes of a session's name inside the project: SHA-256 of the session key. Keys themselves stay in
 * httpd's worker. */
#define SSE_SESSION_HASH_LEN 32

/* What a broker driver that is a shared object may call of the hub. */
#define SSE_API __attribute__((visibility("default")))

#define SSE_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
