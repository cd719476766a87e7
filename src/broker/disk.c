/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the database, its schema and its migrations, transactions. Writer thread. */
#include "broker/disk_impl.h"
#include "core/crypto.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBLEM_SIZE 256
/* Above this size the file is not read through after a crash; damage is then met when a page is
 * used. */
#define CHECK_MAX (256ll * 1024 * 1024)

/* Step i brings a file of version i to version i + 1. */
static const char *const migrations[] = {
    "CREATE TABLE meta (k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
    "CREATE TABLE channel (id INTEGER PRIMARY KEY, realm TEXT NOT NULL, kind INTEGER NOT NULL, "
    "name TEXT NOT NULL,"
    "  trimmed INTEGER NOT NULL DEFAULT 0, forgotten INTEGER NOT NULL DEFAULT 0, trimmed_at "
    "INTEGER NOT NULL DEFAULT 0,"
    "  UNIQUE (realm, kind, name));"
    "CREATE TABLE message (seq INTEGER PRIMARY KEY, published INTEGER NOT NULL, expires INTEGER "
    "NOT NULL,"
    "  raw INTEGER NOT NULL, refs INTEGER NOT NULL, realm TEXT NOT NULL, event TEXT NOT NULL, "
    "latest BLOB,"
    "  targets BLOB NOT NULL, data BLOB NOT NULL);"
    "CREATE INDEX message_expires ON message (expires) WHERE expires > 0;"
    "CREATE TABLE delivery (channel INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (channel, "
    "seq)) WITHOUT ROWID;"
    "CREATE TABLE latest (id BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE idem (id BLOB PRIMARY KEY, content BLOB NOT NULL, seq INTEGER NOT NULL, created "
    "INTEGER NOT NULL)"
    "  WITHOUT ROWID;"
    "CREATE INDEX idem_created ON idem (created);"
    "CREATE TABLE sub (realm TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL, event TEXT "
    "NOT NULL,"
    "  session BLOB NOT NULL, start INTEGER NOT NULL, expires INTEGER NOT NULL, created INTEGER "
    "NOT NULL,"
    "  PRIMARY KEY (realm, kind, name, event, session)) WITHOUT ROWID;"
    "CREATE INDEX sub_session ON sub (realm, session) WHERE session <> x'';"
    "CREATE INDEX sub_end ON sub (CASE expires WHEN 0 THEN created + 2592000 ELSE expires END) "
    "WHERE session <> x'';"
    "CREATE TABLE member (realm TEXT NOT NULL, user TEXT NOT NULL, grp TEXT NOT NULL, start "
    "INTEGER NOT NULL,"
    "  PRIMARY KEY (realm, user, grp)) WITHOUT ROWID;"
    "CREATE INDEX member_group ON member (realm, grp, user);"
    "CREATE TABLE owner (realm TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL,"
    "  blocked_until INTEGER NOT NULL DEFAULT 0, cursor_epoch INTEGER NOT NULL DEFAULT 0,"
    "  cursor_seq INTEGER NOT NULL DEFAULT 0, delivered_at INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (realm, kind, name)) WITHOUT ROWID;",
    /* Sessions that the application mirrors. */
    "CREATE TABLE IF NOT EXISTS session (realm TEXT NOT NULL, id BLOB NOT NULL, user TEXT NOT NULL,"
    "  expires INTEGER NOT NULL, PRIMARY KEY (realm, id)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS session_user ON session (realm, user);"
    "CREATE INDEX IF NOT EXISTS session_expires ON session (expires);",
};

apr_status_t sse_disk_fail(sse_disk_t *s, int rc)
{
    if (rc != SQLITE_OK)
        snprintf(s->problem, PROBLEM_SIZE, "%s", sqlite3_errmsg(s->sql.db));
    return sse_sql_status(rc);
}

sse_pos_t sse_disk_pos(const sse_disk_t *s)
{
    return (sse_pos_t){s->epoch, s->seq};
}

const char *sse_disk_problem(const sse_disk_t *s)
{
    return s->problem;
}

/* ---- meta ---- */

static int meta_int(sse_disk_t *s, const char *name, int64_t *out)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_META_GET, "s", sse_str(name));
    *out = stmt ? sqlite3_column_int64(stmt, 0) : 0;
    if (stmt)
        sse_sql_done(stmt);
    return rc;
}

static int meta_is_text(sse_disk_t *s, const char *name, const char *text, bool *out)
{
    int rc;
    sqlite3_stmt *stmt = sse_sql_first(&s->sql, &rc, SSE_SQL_META_GET, "s", sse_str(name));
    *out = stmt && sse_str_eq(sse_sql_str(stmt, 0), sse_str(text));
    if (stmt)
        sse_sql_done(stmt);
    return rc;
}

static int meta_set_int(sse_disk_t *s, const char *name, int64_t value)
{
    return sse_sql_run(&s->sql, SSE_SQL_META_SET, "si", sse_str(name), value);
}

static int meta_set_text(sse_disk_t *s, const char *name, const char *text)
{
    return sse_sql_run(&s->sql, SSE_SQL_META_SET, "ss", sse_str(name), sse_str(text));
}

/* ---- opening ---- */

static int query_int(sqlite3 *db, const char *text, int64_t *out)
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(db, text, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    int finished = sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : finished;
}

int64_t sse_disk_rows(sse_disk_t *s, const char *table)
{
    char text[128];
    int64_t n = -1;
    snprintf(text, sizeof(text), "SELECT count(*) FROM \"%.64s\"", table);
    return query_int(s->sql.db, text, &n) == SQLITE_OK ? n : -1;
}

bool sse_disk_damaged(sse_disk_t *s)
{
    sqlite3_stmt *stmt;
    bool damaged = false;
    int rc = sqlite3_prepare_v2(s->sql.db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        const char *word = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
        damaged = word && strcmp(word, "ok") != 0;
        if (damaged)
            snprintf(s->problem, PROBLEM_SIZE, "%s", word);
        sqlite3_finalize(stmt);
    }
    return damaged || sse_sql_status(rc) == APR_EGENERAL;
}

static int migrate(sse_disk_t *s, int64_t version)
{
    int rc = sqlite3_exec(s->sql.db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    for (size_t i = (size_t)version; rc == SQLITE_OK && i < SSE_ARRAY_LEN(migrations); i++)
        rc = sqlite3_exec(s->sql.db, migrations[i], NULL, NULL, NULL);
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA user_version = %zu", SSE_ARRAY_LEN(migrations));
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->sql.db, text, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->sql.db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(s->sql.db))
        sqlite3_exec(s->sql.db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static void read_boot_id(char *out, size_t size)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* A file that was copied or restored may lack messages whose ids are out in the world. */
static void file_identity(const char *path, char *out, size_t size)
{
    struct stat st;
    if (stat(path, &st) != 0)
        memset(&st, 0, sizeof(st));
    snprintf(out, size, "%llx:%llx", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}

/* Which life of the data this is. Without an orderly end and with another boot behind it, a log
 * that was not synced at every commit may have lost the last messages, so ids could be given out
 * twice: then a new epoch begins. */
static int begin_life(sse_disk_t *s, const char *path)
{
    char boot[64], identity[64];
    int64_t epoch, seq, clean, full;
    bool same_boot, same_file;
    read_boot_id(boot, sizeof(boot));
    file_identity(path, identity, sizeof(identity));
    int rc = meta_int(s, "epoch", &epoch);
    if (rc == SQLITE_OK)
        rc = meta_int(s, "seq", &seq);
    if (rc == SQLITE_OK)
        rc = meta_int(s, "clean", &clean);
    if (rc == SQLITE_OK)
        rc = meta_int(s, "full", &full);
    if (rc == SQLITE_OK)
        rc = meta_is_text(s, "boot", boot, &same_boot);
    if (rc == SQLITE_OK)
        rc = meta_is_text(s, "file", identity, &same_file);
    if (rc != SQLITE_OK)
        return rc;
    same_boot = same_boot && boot[0];
    if (epoch == 0 || !same_file || (!clean && !same_boot && !full)) {
        uint64_t random;
        do {
            sse_crypto_random(&random, sizeof(random));
            random &= 0xffffffffffff;
        } while (random == 0);
        epoch = (int64_t)random;
    }
    s->epoch = (uint64_t)epoch;
    s->seq = s->saved_seq = (uint64_t)seq;
    rc = sse_sql_run(&s->sql, SSE_SQL_BEGIN, "");
    if (rc == SQLITE_OK)
        rc = meta_set_int(s, "epoch", epoch);
    if (rc == SQLITE_OK)
        rc = meta_set_int(s, "seq", seq);
    if (rc == SQLITE_OK)
        rc = meta_set_int(s, "clean", 0);
    if (rc == SQLITE_OK)
        rc = meta_set_int(s, "full", s->conf.full);
    if (rc == SQLITE_OK)
        rc = meta_set_text(s, "boot", boot);
    if (rc == SQLITE_OK)
        rc = meta_set_text(s, "file", identity);
    if (rc == SQLITE_OK)
        rc = sse_sql_run(&s->sql, SSE_SQL_COMMIT, "");
    return rc;
}

static int count_log_pages(void *baton, sqlite3 *db, const char *name, int pages)
{
    ((sse_disk_t *)baton)->log_pages = pages;
    return SQLITE_OK;
}

static apr_status_t open_file(sse_disk_t *s, const char *path, char *problem)
{
    /* Made here for its mode; the log's files follow it. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    struct stat st = {0};
    if (fd >= 0) {
        fstat(fd, &st);
        close(fd);
    }
    int rc = sqlite3_open_v2(path, &s->sql.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    int64_t version = 0;
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(s->sql.db, 5000);
        sqlite3_extended_result_codes(s->sql.db, 1);
        rc = query_int(s->sql.db, "PRAGMA user_version", &version);
    }
    if (rc == SQLITE_OK && version > (int64_t)SSE_ARRAY_LEN(migrations)) {
        snprintf(
            problem, PROBLEM_SIZE,
            "%.150s was written by a newer version of mod_sse (schema %lld, this one knows %zu)",
            path, (long long)version, SSE_ARRAY_LEN(migrations));
        return APR_ENOTIMPL;
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(
            s->sql.db,
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY;"
            "PRAGMA cache_size = -1024; PRAGMA journal_size_limit = 67108864;",
            NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(
            s->sql.db, s->conf.full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
            NULL, NULL, NULL);
    if (rc == SQLITE_OK && version < (int64_t)SSE_ARRAY_LEN(migrations))
        rc = migrate(s, version);
    sqlite3_wal_hook(s->sql.db, count_log_pages, s);
    int64_t clean = 0;
    if (rc == SQLITE_OK)
        rc = meta_int(s, "clean", &clean);
    if (rc == SQLITE_OK && !clean && st.st_size > 0 && st.st_size <= CHECK_MAX &&
        sse_disk_damaged(s))
        rc = SQLITE_CORRUPT;
    if (rc == SQLITE_OK)
        rc = begin_life(s, path);
    if (rc != SQLITE_OK) {
        snprintf(problem, PROBLEM_SIZE, "%.150s: %.90s", path,
                 s->sql.db && rc != SQLITE_CORRUPT ? sqlite3_errmsg(s->sql.db)
                                                   : sqlite3_errstr(rc));
        return sse_sql_status(rc);
    }
    return APR_SUCCESS;
}

apr_status_t sse_disk_open(const sse_disk_conf_t *conf, sse_disk_t **out_store, char *out_set_aside,
                           char *problem)
{
    char path[4096];
    sse_disk_place_path(conf->dir, "", path, sizeof(path));
    out_set_aside[0] = '\0';
    for (int attempt = 0;; attempt++) {
        sse_disk_t *s = sse_calloc(1, sizeof(*s));
        s->conf = *conf;
        apr_status_t status = open_file(s, path, problem);
        if (status == APR_SUCCESS) {
            sse_disk_copier_start(s);
            *out_store = s;
            return APR_SUCCESS;
        }
        sse_sql_close(&s->sql);
        free(s);
        if (status != APR_EGENERAL || attempt > 0)
            return status == APR_EGENERAL ? APR_EAGAIN : status;
        if (sse_disk_place_set_aside(conf->dir, out_set_aside) != APR_SUCCESS)
            return APR_EAGAIN;
    }
}

void sse_disk_abandon(sse_disk_t *s)
{
    sse_disk_copier_stop(s);
    sse_disk_channels_clear(s);
    free(s->dirty);
    sse_sql_close(&s->sql);
    free(s);
}

void sse_disk_close(sse_disk_t *s)
{
    if (!s)
        return;
    if (sqlite3_get_autocommit(s->sql.db))
        meta_set_int(s, "clean", 1);
    sse_disk_abandon(s);
}

/* ---- transactions ---- */

apr_status_t sse_disk_begin(sse_disk_t *s)
{
    return sse_disk_fail(s, sse_sql_run(&s->sql, SSE_SQL_BEGIN, ""));
}

apr_status_t sse_disk_commit(sse_disk_t *s)
{
    int rc = SQLITE_OK;
    if (s->seq != s->saved_seq)
        rc = meta_set_int(s, "seq", (int64_t)s->seq);
    if (rc == SQLITE_OK)
        rc = sse_sql_run(&s->sql, SSE_SQL_COMMIT, "");
    if (rc != SQLITE_OK) {
        apr_status_t status = sse_disk_fail(s, rc);
        sse_disk_rollback(s);
        return status;
    }
    s->saved_seq = s->seq;
    return APR_SUCCESS;
}

void sse_disk_rollback(sse_disk_t *s)
{
    /* A failing disk may have ended the transaction already. */
    if (!sqlite3_get_autocommit(s->sql.db))
        sse_sql_run(&s->sql, SSE_SQL_ROLLBACK, "");
    sse_disk_channels_clear(s);
    s->seq = s->saved_seq;
}

apr_status_t sse_disk_probe(sse_disk_t *s)
{
    /* A new value each time: SQLite does not write what is there already. */
    return sse_disk_fail(s, meta_set_int(s, "probe", ++s->probe));
}

int64_t sse_disk_written(const sse_disk_t *s)
{
    return sqlite3_total_changes64(s->sql.db);
}
