/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of errors. The handlers write them and return OK, since httpd's error documents are HTML.
 * Any worker thread. */
#include "httpd/reply.h"

#include "core/buf.h"
#include "core/json.h"

#include <apr_strings.h>
#include <http_protocol.h>

static int send_body(request_rec *r, int status, const char *type, const char *body, size_t n)
{
    r->status = status;
    r->status_line = NULL;
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)n);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_rwrite(body, (int)n, r);
    return OK;
}

int sse_reply_text(request_rec *r, int status, const char *text)
{
    const char *body = apr_pstrcat(r->pool, text, "\n", NULL);
    return send_body(r, status, "text/plain; charset=utf-8", body, strlen(body));
}

int sse_reply_problem(request_rec *r, int status, const char *detail)
{
    sse_buf_t body = {0};
    const char *line = ap_get_status_line(status); /* "404 Not Found" */
    sse_buf_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":",
                   strlen(line) > 4 ? line + 4 : line, status);
    sse_json_quote(&body, sse_str(detail));
    sse_buf_cstr(&body, "}\n");
    int rc = send_body(r, status, "application/problem+json", body.p, body.n);
    sse_buf_clear(&body);
    return rc;
}
