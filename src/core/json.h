/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in and out, the only user of json-c.
 *
 * Parsing is as strict as RFC 8259 (json-c alone also takes NaN, comments, raw control
 * characters...), UTF-8 is checked, depth and size are bounded. Every value remembers the bytes it
 * came from, so that a publisher's data can be passed on as text: numbers not rounded, members in
 * their order. */
#ifndef SSE_JSON_H
#define SSE_JSON_H

#include "core/buf.h"

typedef enum sse_json_type_t {
    SSE_JSON_NULL,
    SSE_JSON_BOOL,
    SSE_JSON_NUMBER,
    SSE_JSON_STRING,
    SSE_JSON_ARRAY,
    SSE_JSON_OBJECT
} sse_json_type_t;

typedef struct sse_json_t sse_json_t; /* a value inside a document; lives as long as the document */
typedef struct sse_json_doc_t sse_json_doc_t;

#define SSE_JSON_DEPTH_MAX 64

typedef struct sse_json_error_t {
    size_t offset;     /* byte at which the text stopped being JSON */
    char message[120]; /* "unexpected character at byte 17" */
} sse_json_error_t;

/* Keeps its own copy of nothing: `text` must outlive the document. APR_EINVAL with *out_error
 * filled when it is not one JSON value with optional white space around it. */
apr_status_t sse_json_parse(sse_str_t text, sse_json_doc_t **out_doc, sse_json_error_t *out_error);
void sse_json_free(sse_json_doc_t *doc); /* NULL is fine */
const sse_json_t *sse_json_root(const sse_json_doc_t *doc);

sse_json_type_t sse_json_type(const sse_json_t *v);
/* The bytes of the value in the text given to sse_json_parse, from its first to its last character.
 */
sse_str_t sse_json_source(const sse_json_t *v);
/* Member of an object, the last of that name; NULL if there is none or v is no object. */
const sse_json_t *sse_json_get(const sse_json_t *v, const char *name);
size_t sse_json_count(const sse_json_t *v); /* elements or members; 0 for scalars */
const sse_json_t *sse_json_at(const sse_json_t *array, size_t i);
/* The i-th member of an object with its name (unescaped), in source order. */
const sse_json_t *sse_json_member(const sse_json_t *object, size_t i, sse_str_t *out_name);
/* A string's characters as UTF-8 (escapes resolved, a lone surrogate becomes U+FFFD, NUL bytes
 * possible); none for others. */
sse_str_t sse_json_string(const sse_json_t *v);
bool sse_json_bool(const sse_json_t *v);
/* True and *out set when v is a number without fraction that fits. */
bool sse_json_int64(const sse_json_t *v, int64_t *out);

/* Appends `s` as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD; '<', '>' and '&' stay as
 * they are. */
void sse_json_quote(sse_buf_t *out, sse_str_t s);
/* Appends the value's source without white space between tokens. */
void sse_json_compact(sse_buf_t *out, const sse_json_t *v);

#endif
