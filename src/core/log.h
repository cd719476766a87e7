/* SPDX-License-Identifier: Apache-2.0 */
/* Logging that core, session, broker and hub share. Each program installs one sink at start:
 * httpd's side one that calls ap_log_error, the hub one that writes lines of httpd's shape to
 * stderr (which is the error log).
 *
 * Messages at SSE_LOG_WARNING and above carry a code "SSEnnnn: " that docs/errors.md explains; lint
 * checks it. */
#ifndef SSE_LOG_H
#define SSE_LOG_H

#include "core/base.h"
#include <stdarg.h>

/* Values are those of syslog and of APLOG_*. */
typedef enum sse_log_level_t {
    SSE_LOG_CRIT = 2,
    SSE_LOG_ERR = 3,
    SSE_LOG_WARNING = 4,
    SSE_LOG_NOTICE = 5,
    SSE_LOG_INFO = 6,
    SSE_LOG_DEBUG = 7
} sse_log_level_t;

/* May be called from any thread; `message` has no line end and no control characters. */
typedef void (*sse_log_sink_fn)(sse_log_level_t level, const char *message);

/* Set once before threads start. Without a sink messages go to stderr. */
void sse_log_sink_set(sse_log_sink_fn sink, sse_log_level_t level);

/* True when messages of this level are wanted: guards costly arguments. */
SSE_API bool sse_log_wants(sse_log_level_t level);

/* `fmt` begins with the code where one is due: sse_log(SSE_LOG_WARNING, "SSE0042: ..."). Control
 * characters in the result are escaped as \xHH, so that no input can forge a line; at most 2 000
 * bytes are kept. */
SSE_API void sse_log(sse_log_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
