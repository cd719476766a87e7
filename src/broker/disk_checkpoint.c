/* SPDX-License-Identifier: Apache-2.0 */
/* Copying the log into the database, with its fsyncs, on a thread and connection of its own, while
 * the writer goes on appending. The log can begin anew only when all of it is copied, which under
 * steady load is never so: when it has grown long, the writer does the small rest itself. */
#include "broker/disk_impl.h"

#include <stdlib.h>

/* Pages that are worth copying; pages at which the writer lends a hand (64 MiB). */
#define PAGES_WORTH 1000
#define PAGES_LONG 16384

struct sse_disk_copier_t {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool asked;
    bool ending;
    bool full;
    char path[4096];
};

static void copy(sqlite3 *db)
{
    /* Whatever hinders it now will not the next time, or the writer meets it. */
    sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void *copier_main(void *baton)
{
    sse_disk_copier_t *c = baton;
    sqlite3 *db = NULL;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        while (!c->asked && !c->ending)
            pthread_cond_wait(&c->wake, &c->lock);
        bool ending = c->ending;
        c->asked = false;
        pthread_mutex_unlock(&c->lock);
        if (ending)
            break;
        if (!db && sqlite3_open_v2(c->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                                   NULL) == SQLITE_OK) {
            sqlite3_exec(db, "PRAGMA wal_autocheckpoint = 0", NULL, NULL, NULL);
            sqlite3_exec(db, c->full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                         NULL, NULL, NULL);
        }
        if (db)
            copy(db);
    }
    sqlite3_close(db);
    return NULL;
}

void sse_disk_copier_start(sse_disk_t *s)
{
    sse_disk_copier_t *c = sse_calloc(1, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    c->full = s->conf.full;
    sse_disk_place_path(s->conf.dir, "", c->path, sizeof(c->path));
    if (pthread_create(&c->thread, NULL, copier_main, c) != 0)
        abort();
    s->copier = c;
}

void sse_disk_copier_stop(sse_disk_t *s)
{
    sse_disk_copier_t *c = s->copier;
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
    s->copier = NULL;
}

void sse_disk_checkpoint(sse_disk_t *s)
{
    if (s->log_pages < s->log_copied) /* it began anew */
        s->log_copied = 0;
    if (s->log_pages >= PAGES_LONG) {
        copy(s->sql.db);
    } else if (s->log_pages - s->log_copied >= PAGES_WORTH) {
        s->log_copied = s->log_pages;
        pthread_mutex_lock(&s->copier->lock);
        s->copier->asked = true;
        pthread_cond_signal(&s->copier->wake);
        pthread_mutex_unlock(&s->copier->lock);
    }
}
