/* SPDX-License-Identifier: Apache-2.0 */
/* Short answers of the handlers themselves. */
#ifndef SSE_HTTPD_REPLY_H
#define SSE_HTTPD_REPLY_H

#include <httpd.h>

/* Text for people, one sentence; the status is what programs look at. Returns what the handler is
 * to return. */
int sse_reply_text(request_rec *r, int status, const char *text);

/* application/problem+json (RFC 9457). detail is plain text. */
int sse_reply_problem(request_rec *r, int status, const char *detail);

#endif
