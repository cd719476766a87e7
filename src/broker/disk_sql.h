/* SPDX-License-Identifier: Apache-2.0 */
/* One SQLite connection with its prepared statements. Owned by one thread: the writer has one, the
 * reader another. Only the disk_* files include this. */
#ifndef SSE_DISK_SQL_H
#define SSE_DISK_SQL_H

#include "core/base.h"

#include <sqlite3.h>

typedef enum sse_sql_id_t {
    SSE_SQL_BEGIN,
    SSE_SQL_COMMIT,
    SSE_SQL_ROLLBACK,
    SSE_SQL_SAVEPOINT,
    SSE_SQL_SAVEPOINT_UNDO,
    SSE_SQL_SAVEPOINT_KEEP,
    SSE_SQL_META_GET,
    SSE_SQL_META_SET,
    SSE_SQL_META_RAISE,
    SSE_SQL_CHANNEL_FIND,
    SSE_SQL_CHANNEL_ADD,
    SSE_SQL_CHANNEL_TRIMMED,
    SSE_SQL_CHANNEL_FORGOTTEN,
    SSE_SQL_CHANNEL_FORGOTTEN_GET,
    SSE_SQL_CHANNEL_NEXT,
    SSE_SQL_CHANNEL_DROP,
    SSE_SQL_CHANNEL_DROP_OLD,
    SSE_SQL_MESSAGE_ADD,
    SSE_SQL_MESSAGE_GET,
    SSE_SQL_MESSAGE_TARGETS,
    SSE_SQL_MESSAGE_RETARGET,
    SSE_SQL_MESSAGE_RELEASE,
    SSE_SQL_MESSAGE_DELETE,
    SSE_SQL_MESSAGE_OLDEST,
    SSE_SQL_MESSAGE_EXPIRED,
    SSE_SQL_MESSAGE_AFTER,
    SSE_SQL_DELIVERY_ADD,
    SSE_SQL_DELIVERY_DELETE,
    SSE_SQL_DELIVERY_AFTER,
    SSE_SQL_DELIVERY_UPTO,
    SSE_SQL_DELIVERY_NTH_NEWEST,
    SSE_SQL_DELIVERY_ANY_BETWEEN,
    SSE_SQL_LATEST_GET,
    SSE_SQL_LATEST_SET,
    SSE_SQL_LATEST_DELETE,
    SSE_SQL_IDEM_GET,
    SSE_SQL_IDEM_SET,
    SSE_SQL_IDEM_PURGE,
    SSE_SQL_SUB_LIST,
    SSE_SQL_SUB_COUNT,
    SSE_SQL_SUB_ADD,
    SSE_SQL_SUB_DELETE,
    SSE_SQL_SUB_DELETE_SESSION,
    SSE_SQL_SUB_DELETE_OWNER,
    SSE_SQL_SUB_REFRESH,
    SSE_SQL_SUB_SESSION_EXPIRES,
    SSE_SQL_SUB_SESSION_OWNERS,
    SSE_SQL_SUB_END_SESSION,
    SSE_SQL_SUB_EXPIRED,
    SSE_SQL_MEMBER_GROUPS,
    SSE_SQL_MEMBER_USERS,
    SSE_SQL_MEMBER_ADD,
    SSE_SQL_MEMBER_DELETE,
    SSE_SQL_MEMBER_DELETE_USER,
    SSE_SQL_MEMBER_DELETE_GROUP,
    SSE_SQL_SESSION_PUT,
    SSE_SQL_SESSION_GET,
    SSE_SQL_SESSION_DELETE,
    SSE_SQL_SESSION_DELETE_USER,
    SSE_SQL_SESSION_EXPIRE,
    SSE_SQL_OWNER_ALL,
    SSE_SQL_OWNER_GET,
    SSE_SQL_OWNER_BLOCK,
    SSE_SQL_OWNER_CURSOR,
    SSE_SQL_OWNER_DELETE,
    SSE_SQL_N
} sse_sql_id_t;

typedef struct sse_sql_t {
    sqlite3 *db;
    sqlite3_stmt *stmts[SSE_SQL_N]; /* prepared when first used */
} sse_sql_t;

/* Closes and finalises all; fine on a zeroed struct. */
void sse_sql_close(sse_sql_t *sql);

/* Every statement below is bound by a format: 's' sse_str_t as text, 'b' sse_str_t as blob, 'i'
 * int64_t, 'o' sse_str_t as blob, NULL if empty. The bytes must live until the statement is used
 * again. */

/* Runs a statement that gives no rows. SQLITE_OK or an error code. */
int sse_sql_run(sse_sql_t *sql, sse_sql_id_t id, const char *format, ...);
/* The statement at its first row, or NULL: no row (*out_rc SQLITE_OK) or an error. The caller steps
 * further with sse_sql_next and, if it stops before the last row, calls sse_sql_done. */
sqlite3_stmt *sse_sql_first(sse_sql_t *sql, int *out_rc, sse_sql_id_t id, const char *format, ...);
/* True at the next row. False: finished and reset, *out_rc SQLITE_OK or the error. */
bool sse_sql_next(sqlite3_stmt *stmt, int *out_rc);
void sse_sql_done(sqlite3_stmt *stmt);

sse_str_t sse_sql_str(sqlite3_stmt *stmt, int column); /* valid until the next step */

/* APR_SUCCESS; APR_EAGAIN for a store that cannot be written or read now; APR_EGENERAL for one that
 * is corrupt. */
apr_status_t sse_sql_status(int rc);

#endif
