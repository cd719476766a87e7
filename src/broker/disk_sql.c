/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of the store in one table, and how a statement is bound and run. No thread of its own. */
#include "broker/disk_sql.h"

#include <stdarg.h>

static const char *const texts[SSE_SQL_N] = {
    /* Deferred: a transaction that only reads must work where nothing can be written. */
    [SSE_SQL_BEGIN] = "BEGIN",
    [SSE_SQL_COMMIT] = "COMMIT",
    [SSE_SQL_ROLLBACK] = "ROLLBACK",
    [SSE_SQL_SAVEPOINT] = "SAVEPOINT item",
    [SSE_SQL_SAVEPOINT_UNDO] = "ROLLBACK TO item",
    [SSE_SQL_SAVEPOINT_KEEP] = "RELEASE item",

    [SSE_SQL_META_GET] = "SELECT v FROM meta WHERE k = ?1",
    [SSE_SQL_META_SET] =
        "INSERT INTO meta (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
    [SSE_SQL_META_RAISE] = "INSERT INTO meta (k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET "
                           "v = max(v, excluded.v)",

    [SSE_SQL_CHANNEL_FIND] =
        "SELECT id, trimmed, forgotten FROM channel WHERE realm = ?1 AND kind = ?2 AND name = ?3",
    [SSE_SQL_CHANNEL_ADD] = "INSERT INTO channel (realm, kind, name) VALUES (?1, ?2, ?3)",
    [SSE_SQL_CHANNEL_TRIMMED] =
        "UPDATE channel SET trimmed = max(trimmed, ?2), trimmed_at = ?3 WHERE id = ?1",
    [SSE_SQL_CHANNEL_FORGOTTEN] =
        "UPDATE channel SET forgotten = ?2, trimmed_at = ?3 WHERE id = ?1",
    [SSE_SQL_CHANNEL_FORGOTTEN_GET] = "SELECT forgotten FROM channel WHERE id = ?1",
    [SSE_SQL_CHANNEL_NEXT] = "SELECT id FROM channel WHERE id > ?1 ORDER BY id LIMIT ?2",
    [SSE_SQL_CHANNEL_DROP] =
        "DELETE FROM channel WHERE id = ?1 AND kind IN (117, 103) AND forgotten > 0"
        " AND NOT EXISTS (SELECT 1 FROM delivery WHERE channel = ?1)",
    [SSE_SQL_CHANNEL_DROP_OLD] = "DELETE FROM channel WHERE id = ?1 AND trimmed_at < ?2"
                                 " AND NOT EXISTS (SELECT 1 FROM delivery WHERE channel = ?1)"
                                 " RETURNING max(trimmed, forgotten)",

    [SSE_SQL_MESSAGE_ADD] = "INSERT INTO message (seq, published, expires, raw, refs, realm, "
                            "event, latest, targets, data)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [SSE_SQL_MESSAGE_GET] =
        "SELECT published, expires, raw, realm, event, targets, data FROM message WHERE seq = ?1",
    [SSE_SQL_MESSAGE_TARGETS] = "SELECT realm, targets FROM message WHERE seq = ?1",
    [SSE_SQL_MESSAGE_RETARGET] = "UPDATE message SET targets = ?1 WHERE seq = ?2",
    [SSE_SQL_MESSAGE_RELEASE] = "UPDATE message SET refs = refs - 1 WHERE seq = ?1",
    [SSE_SQL_MESSAGE_DELETE] = "DELETE FROM message WHERE seq = ?1 AND refs <= ?2 RETURNING latest",
    [SSE_SQL_MESSAGE_OLDEST] = "SELECT seq, published FROM message ORDER BY seq LIMIT ?1",
    [SSE_SQL_MESSAGE_EXPIRED] =
        "SELECT seq FROM message WHERE expires > 0 AND expires <= ?1 ORDER BY expires LIMIT ?2",
    [SSE_SQL_MESSAGE_AFTER] =
        "SELECT seq, published FROM message WHERE seq > ?1 ORDER BY seq LIMIT ?2",

    [SSE_SQL_DELIVERY_ADD] =
        "INSERT INTO delivery (channel, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    [SSE_SQL_DELIVERY_DELETE] = "DELETE FROM delivery WHERE channel = ?1 AND seq = ?2",
    [SSE_SQL_DELIVERY_AFTER] =
        "SELECT seq FROM delivery WHERE channel = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    [SSE_SQL_DELIVERY_UPTO] =
        "SELECT seq FROM delivery WHERE channel = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
    [SSE_SQL_DELIVERY_NTH_NEWEST] = "SELECT seq FROM delivery WHERE channel = ?1 AND seq > ?2"
                                    " ORDER BY seq DESC LIMIT 1 OFFSET ?3",
    [SSE_SQL_DELIVERY_ANY_BETWEEN] =
        "SELECT max(seq) FROM delivery WHERE channel = ?1 AND seq > ?2 AND seq <= ?3",

    [SSE_SQL_LATEST_GET] = "SELECT seq FROM latest WHERE id = ?1",
    [SSE_SQL_LATEST_SET] = "INSERT INTO latest (id, seq) VALUES (?1, ?2) ON CONFLICT (id) DO "
                           "UPDATE SET seq = excluded.seq",
    [SSE_SQL_LATEST_DELETE] = "DELETE FROM latest WHERE id = ?1 AND seq = ?2",

    [SSE_SQL_IDEM_GET] = "SELECT content, seq, created FROM idem WHERE id = ?1",
    [SSE_SQL_IDEM_SET] =
        "INSERT INTO idem (id, content, seq, created) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id)"
        " DO UPDATE SET content = excluded.content, seq = excluded.seq, created = excluded.created",
    [SSE_SQL_IDEM_PURGE] = "DELETE FROM idem WHERE id IN (SELECT id FROM idem WHERE created < ?1 "
                           "ORDER BY created LIMIT ?2)",

    [SSE_SQL_SUB_LIST] = "SELECT event, session, start, expires FROM sub"
                         " WHERE realm = ?1 AND kind = ?2 AND name = ?3 AND (expires = 0 OR "
                         "expires > ?4) ORDER BY event, session",
    [SSE_SQL_SUB_COUNT] = "SELECT count(*) FROM sub WHERE realm = ?1 AND kind = ?2 AND name = ?3",
    [SSE_SQL_SUB_ADD] =
        "INSERT INTO sub (realm, kind, name, event, session, start, expires, created)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    [SSE_SQL_SUB_DELETE] =
        "DELETE FROM sub WHERE realm = ?1 AND kind = ?2 AND name = ?3 AND event = ?4",
    [SSE_SQL_SUB_DELETE_SESSION] = "DELETE FROM sub WHERE realm = ?1 AND kind = ?2 AND name = ?3 "
                                   "AND event = ?4 AND session = ?5",
    [SSE_SQL_SUB_DELETE_OWNER] = "DELETE FROM sub WHERE realm = ?1 AND kind = ?2 AND name = ?3",
    [SSE_SQL_SUB_REFRESH] =
        "UPDATE sub SET expires = ?4, created = ?5 WHERE realm = ?1 AND session = ?2 AND session "
        "<> x''"
        " AND kind = 117 AND name = ?3 AND (expires <> ?4 OR created < ?5 - 86400)",
    [SSE_SQL_SUB_SESSION_EXPIRES] =
        "SELECT max(expires) FROM sub WHERE realm = ?1 AND session = ?2 AND session <> x''",
    [SSE_SQL_SUB_SESSION_OWNERS] =
        "SELECT DISTINCT kind, name FROM sub WHERE realm = ?1 AND session = ?2 AND session <> x''",
    [SSE_SQL_SUB_END_SESSION] =
        "DELETE FROM sub WHERE realm = ?1 AND session = ?2 AND session <> x''",
    [SSE_SQL_SUB_EXPIRED] =
        "SELECT realm, session FROM sub WHERE session <> x''"
        " AND CASE expires WHEN 0 THEN created + 2592000 ELSE expires END <= ?1 LIMIT ?2",

    [SSE_SQL_MEMBER_GROUPS] =
        "SELECT grp, start FROM member WHERE realm = ?1 AND user = ?2 ORDER BY grp",
    [SSE_SQL_MEMBER_USERS] = "SELECT user FROM member WHERE realm = ?1 AND grp = ?2 ORDER BY user",
    [SSE_SQL_MEMBER_ADD] = "INSERT INTO member (realm, user, grp, start) VALUES (?1, ?2, ?3, ?4) "
                           "ON CONFLICT DO NOTHING",
    [SSE_SQL_MEMBER_DELETE] = "DELETE FROM member WHERE realm = ?1 AND user = ?2 AND grp = ?3",
    [SSE_SQL_MEMBER_DELETE_USER] = "DELETE FROM member WHERE realm = ?1 AND user = ?2",
    [SSE_SQL_MEMBER_DELETE_GROUP] = "DELETE FROM member WHERE realm = ?1 AND grp = ?2",

    [SSE_SQL_SESSION_PUT] = "INSERT INTO session (realm, id, user, expires) VALUES (?1, ?2, ?3, ?4)"
                            " ON CONFLICT (realm, id) DO UPDATE SET user = excluded.user,"
                            " expires = excluded.expires",
    [SSE_SQL_SESSION_GET] =
        "SELECT user, expires FROM session WHERE realm = ?1 AND id = ?2 AND expires > ?3",
    [SSE_SQL_SESSION_DELETE] = "DELETE FROM session WHERE realm = ?1 AND id = ?2",
    [SSE_SQL_SESSION_DELETE_USER] = "DELETE FROM session WHERE realm = ?1 AND user = ?2",
    [SSE_SQL_SESSION_EXPIRE] = "DELETE FROM session WHERE (realm, id) IN"
                               " (SELECT realm, id FROM session WHERE expires <= ?1 LIMIT ?2)",

    [SSE_SQL_OWNER_ALL] = "SELECT realm, 117, user FROM member"
                          " UNION ALL SELECT realm, kind, name FROM sub"
                          " UNION ALL SELECT realm, kind, name FROM owner WHERE blocked_until > 0",
    [SSE_SQL_OWNER_GET] = "SELECT blocked_until, cursor_epoch, cursor_seq, delivered_at FROM owner"
                          " WHERE realm = ?1 AND kind = ?2 AND name = ?3",
    [SSE_SQL_OWNER_BLOCK] =
        "INSERT INTO owner (realm, kind, name, blocked_until) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (realm, kind, name) DO UPDATE SET blocked_until = excluded.blocked_until",
    [SSE_SQL_OWNER_CURSOR] =
        "INSERT INTO owner (realm, kind, name, cursor_epoch, cursor_seq, delivered_at) VALUES (?1, "
        "117, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (realm, kind, name) DO UPDATE SET cursor_epoch = excluded.cursor_epoch,"
        " cursor_seq = excluded.cursor_seq, delivered_at = excluded.delivered_at",
    [SSE_SQL_OWNER_DELETE] = "DELETE FROM owner WHERE realm = ?1 AND kind = ?2 AND name = ?3",
};

void sse_sql_close(sse_sql_t *sql)
{
    for (size_t i = 0; i < SSE_SQL_N; i++)
        sqlite3_finalize(sql->stmts[i]);
    sqlite3_close(sql->db);
    memset(sql, 0, sizeof(*sql));
}

static int prepare(sse_sql_t *sql, sse_sql_id_t id, const char *format, va_list args)
{
    if (!sql->stmts[id]) {
        int rc = sqlite3_prepare_v3(sql->db, texts[id], -1, SQLITE_PREPARE_PERSISTENT,
                                    &sql->stmts[id], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    sqlite3_stmt *stmt = sql->stmts[id];
    for (int i = 1; format[i - 1]; i++) {
        sse_str_t s;
        switch (format[i - 1]) {
        case 's':
            s = va_arg(args, sse_str_t);
            sqlite3_bind_text(stmt, i, s.n ? s.p : "", (int)s.n, SQLITE_STATIC);
            break;
        case 'b':
            s = va_arg(args, sse_str_t);
            sqlite3_bind_blob(stmt, i, s.n ? s.p : "", (int)s.n, SQLITE_STATIC);
            break;
        case 'i':
            sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
            break;
        default:
            s = va_arg(args, sse_str_t);
            if (s.n)
                sqlite3_bind_blob(stmt, i, s.p, (int)s.n, SQLITE_STATIC);
            else
                sqlite3_bind_null(stmt, i);
            break;
        }
    }
    return SQLITE_OK;
}

bool sse_sql_next(sqlite3_stmt *stmt, int *out_rc)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return true;
    *out_rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    sqlite3_reset(stmt);
    return false;
}

void sse_sql_done(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
}

int sse_sql_run(sse_sql_t *sql, sse_sql_id_t id, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = prepare(sql, id, format, args);
    va_end(args);
    if (rc == SQLITE_OK && sse_sql_next(sql->stmts[id], &rc))
        sqlite3_reset(sql->stmts[id]);
    return rc;
}

sqlite3_stmt *sse_sql_first(sse_sql_t *sql, int *out_rc, sse_sql_id_t id, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *out_rc = prepare(sql, id, format, args);
    va_end(args);
    return *out_rc == SQLITE_OK && sse_sql_next(sql->stmts[id], out_rc) ? sql->stmts[id] : NULL;
}

sse_str_t sse_sql_str(sqlite3_stmt *stmt, int column)
{
    const char *p = sqlite3_column_blob(stmt, column);
    return (sse_str_t){p ? p : "", (size_t)sqlite3_column_bytes(stmt, column)};
}

apr_status_t sse_sql_status(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return APR_SUCCESS;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return APR_EGENERAL;
    default:
        return APR_EAGAIN;
    }
}
