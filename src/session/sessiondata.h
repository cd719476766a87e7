/* SPDX-License-Identifier: Apache-2.0 */
/* What the project needs of a session's dict, and the readers that take it out of the serialized
 * forms: JSON as Python writes it and pickle (pickle.h). */
#ifndef SSE_SESSIONDATA_H
#define SSE_SESSIONDATA_H

#include "core/base.h"
#include <apr_pools.h>

typedef enum sse_field_type_t {
    SSE_FIELD_ABSENT,
    SSE_FIELD_STRING,
    SSE_FIELD_INT,
    SSE_FIELD_NULL,
    SSE_FIELD_OTHER /* a value of any other type; never looked into */
} sse_field_type_t;

typedef struct sse_field_t {
    sse_field_type_t type;
    sse_str_t s; /* STRING: UTF-8 (a lone surrogate may stand in it as three bytes) */
    int64_t i;   /* INT */
} sse_field_t;

typedef enum sse_session_key_t {
    SSE_KEY_USER,    /* _auth_user_id */
    SSE_KEY_BACKEND, /* _auth_user_backend */
    SSE_KEY_HASH,    /* _auth_user_hash */
    SSE_KEY_EXPIRY,  /* _session_expiry */
    SSE_KEY_COUNT
} sse_session_key_t;

typedef struct sse_session_data_t {
    sse_field_t field[SSE_KEY_COUNT];
} sse_session_data_t;

/* Which of the keys it is; SSE_KEY_COUNT for any other. */
sse_session_key_t sse_session_key(sse_str_t name);

/* Bytes of serialized session that are looked at: as much as one may inflate to. */
#define SSE_SESSION_DATA_MAX (1024 * 1024)

/* Python's json.loads of bytes read as latin-1: an object whose last duplicate wins, NaN and
 * Infinity, lone surrogates. Nesting is bounded by 1 000, without recursion. Strings are allocated
 * in pool. APR_EINVAL when it is no object of this kind. */
apr_status_t sse_session_json_read(sse_str_t text, apr_pool_t *pool, sse_session_data_t *out);

/* Either serializer, told apart by the first byte: what SESSION_SERIALIZER wrote. */
apr_status_t sse_session_data_read(sse_str_t bytes, apr_pool_t *pool, sse_session_data_t *out);

#endif
