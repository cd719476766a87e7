/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of text/event-stream (WHATWG HTML, section 9.2). The only place where the wire format is
 * written, so that no caller can let a publisher's bytes start a field. */
#ifndef SSE_RENDER_H
#define SSE_RENDER_H

#include "core/buf.h"
#include "core/eventid.h"

typedef enum sse_reset_reason_t {
    SSE_RESET_EXPIRED,
    SSE_RESET_UNKNOWN_ID,
    SSE_RESET_BROKER_RESET,
    SSE_RESET_SLOW
} sse_reset_reason_t;

typedef enum sse_end_reason_t {
    SSE_END_LOGOUT,
    SSE_END_EXPIRED,
    SSE_END_DEACTIVATED,
    SSE_END_DISCONNECTED,
    SSE_END_REPLACED,
    SSE_END_MAX_AGE,
    SSE_END_SLOW,
    SSE_END_SHUTDOWN,
    SSE_END_UNAVAILABLE,
    SSE_END_BUSY
} sse_end_reason_t;

const char *sse_end_reason_name(sse_end_reason_t reason); /* as on the wire: "max-age" */
/* APR_EINVAL if no reason has that name. */
apr_status_t sse_end_reason_parse(sse_str_t name, sse_end_reason_t *out_reason);
/* Logout, deactivated, disconnected and replaced: EventSource must not come back. */
bool sse_end_reason_final(sse_end_reason_t reason);

/* "id", "event", one "data" line for each line of `data` (split at CR, LF, CRLF; empty data gives
 * one empty line), blank line. `event` must have passed sse_name_event_problem. */
void sse_render_message(sse_buf_t *out, sse_pos_t pos, sse_str_t event, sse_str_t data);

void sse_render_retry(sse_buf_t *out, uint32_t ms);
void sse_render_open(sse_buf_t *out, sse_pos_t pos, bool resumed);
/* `events` NULL with `n_events` 0 stands for null (directed messages); names are written as JSON
 * strings. */
void sse_render_reset(sse_buf_t *out, sse_pos_t pos, sse_reset_reason_t reason,
                      const sse_str_t *events, size_t n_events);
/* The id bears the end mark when the reason is final; without a position (epoch 0) no id is
 * written. */
void sse_render_end(sse_buf_t *out, sse_pos_t pos, sse_end_reason_t reason);
void sse_render_heartbeat(sse_buf_t *out); /* ":\n\n" */

#endif
