/* SPDX-License-Identifier: Apache-2.0 */
/* SetHandler sse-admin: keys are checked here, all else is the hub's (docs/admin-api.md). */
#ifndef SSE_HTTPD_HANDLER_ADMIN_H
#define SSE_HTTPD_HANDLER_ADMIN_H

#include <httpd.h>

/* handler hook; DECLINED for all that is not ours. */
int sse_handler_admin(request_rec *r);

#endif
