/* SPDX-License-Identifier: Apache-2.0 */
/* SetHandler sse-stream: everything between a request and an open stream (docs/architecture.md). */
#ifndef SSE_HTTPD_HANDLER_STREAM_H
#define SSE_HTTPD_HANDLER_STREAM_H

#include <httpd.h>

/* handler hook; DECLINED for all that is not ours. */
int sse_handler_stream(request_rec *r);

#endif
