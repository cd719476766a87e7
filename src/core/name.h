/* SPDX-License-Identifier: Apache-2.0 */
/* Which names are good: events, realms, users, groups; and the patterns of SSEAllowEvents. No I/O,
 * no allocation. */
#ifndef SSE_NAME_H
#define SSE_NAME_H

#include "core/base.h"

/* Each returns NULL when the name is good, else a static sentence without a final stop that says
 * what is wrong and what is allowed, fit for an API error ("is longer than 255 bytes", "has a
 * control character"). */

/* 1-255 bytes of valid UTF-8, no control characters (C0, DEL, C1), no ASCII space, no '*'. "open",
 * "error" and everything that begins with "stream-" are the server's own. ("message" is allowed: it
 * is EventSource's default type.) */
const char *sse_name_event_problem(sse_str_t name);
/* 1-64 of A-Z a-z 0-9 . _ - */
const char *sse_name_realm_problem(sse_str_t name);
/* 1-255 bytes of valid UTF-8, no control characters. */
const char *sse_name_user_problem(sse_str_t name);
/* 1-640 bytes of valid UTF-8, no control characters. */
const char *sse_name_group_problem(sse_str_t name);

/* True for well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool sse_name_utf8(sse_str_t s);
/* Bytes of the well-formed character that s begins with, 0 if there is none. */
size_t sse_name_utf8_char(sse_str_t s);

/* Good pattern: an event name in which '*' and "%{user}" may stand. */
const char *sse_name_pattern_problem(sse_str_t pattern);
/* '*' matches any run of characters without ':', "**" any run, "%{user}" the user's id literally
 * (nothing when `user` is empty: such a pattern then matches no event). Linear in pattern times
 * name, no recursion over user input. */
bool sse_name_pattern_match(sse_str_t pattern, sse_str_t user, sse_str_t event);

#endif
