/* SPDX-License-Identifier: Apache-2.0 */
/* The socket of a database connection, which apr_dbd does not show: asked of the client library
 * that the driver has loaded. Any thread. */
#ifndef SSE_HTTPD_DBDSOCKET_H
#define SSE_HTTPD_DBDSOCKET_H

#include <apr_dbd.h>
#include <mod_dbd.h>

/* -1 where there is none (SQLite) or it cannot be found out. */
int sse_dbdsocket_of(const ap_dbd_t *dbd);

#endif
