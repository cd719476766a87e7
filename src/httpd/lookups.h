/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the look-ups of sessions: how many are under way at once, and how long one may wait for
 * a database that no longer says a word. No driver of apr_dbd has a time-out of its own while its
 * peer's kernel answers, so one thread in each child closes the connections of look-ups that take
 * too long.
 *
 * Where a child has many threads, the number is a child's, as the pool of mod_dbd is. Where it has
 * one (prefork), the number is the whole server's: else a store that hangs would take every child.
 */
#ifndef SSE_HTTPD_LOOKUPS_H
#define SSE_HTTPD_LOOKUPS_H

#include <httpd.h>
#include <stdbool.h>

/* mod_dbd waits without end for a connection when its pool (DBDMax 10 by default) is used up. */
#define SSE_LOOKUPS_MAX 10
/* A look-up that waits longer for one database connection loses it. */
#define SSE_LOOKUPS_PATIENCE apr_time_from_msec(4000)

/* post_config hook: room for the slots that children share, where they do. */
int sse_lookups_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void sse_lookups_child_init(apr_pool_t *child_pool);

/* One of the look-ups that may be under way; sse_lookups_end gives it back. False when none comes
 * free soon; at once when those under way hang. */
bool sse_lookups_begin(void);
void sse_lookups_end(void);

/* Says which connection is waited for. A handle for sse_lookups_unwatch; NULL when there is none
 * (fd < 0, too many): the wait is not bounded then. */
typedef struct sse_watch_t sse_watch_t;
sse_watch_t *sse_lookups_watch(int fd, apr_time_t patience);
/* True when the connection was closed meanwhile. */
bool sse_lookups_unwatch(sse_watch_t *watch);

#endif
