/* SPDX-License-Identifier: Apache-2.0 */
/* Database servers for tests; see the header. PostgreSQL refuses to run as root: then it is started
 * as its package's user. Runs in the test program's only thread. */
#include "session_dbserver.h"

#include "cmocka_all.h"
#include "session/storeconn.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 60000

/* Runs argv as `user` when this is root (NULL: as it is). Output goes to dir/log. */
static pid_t run(world_t *w, const char *user, char *const argv[])
{
    const char *log = apr_pstrcat(w->pool, w->dir, "/dbserver.log", NULL);
    const struct passwd *pw = user && geteuid() == 0 ? getpwnam(user) : NULL;
    pid_t pid;

    if (user && geteuid() == 0 && !pw)
        fail_msg("no user %s (install the server's Debian package, see script/setup)", user);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        if (pw && (setgroups(0, NULL) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0))
            _exit(126);
        if (chdir("/") != 0)
            _exit(126);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* A sanitizer's runtime in this program is no business of the server's. */
        unsetenv("LD_PRELOAD");
        execvp(argv[0], argv);
        dprintf(2, "%s: %s (install its Debian package, see script/setup)\n", argv[0],
                strerror(errno));
        _exit(127);
    }
    return pid;
}

static void show_log(world_t *w)
{
    FILE *f = fopen(apr_pstrcat(w->pool, w->dir, "/dbserver.log", NULL), "r");
    char line[512];

    while (f && fgets(line, sizeof line, f))
        fputs(line, stderr);
    if (f)
        fclose(f);
}

static void run_to_end(world_t *w, const char *user, char *const argv[])
{
    int status;
    pid_t pid = run(w, user, argv);

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0) {
        show_log(w);
        fail_msg("%s failed", argv[0]);
    }
}

/* An empty directory that belongs to the server's user. */
static char *data_dir(world_t *w, const char *name, const char *user)
{
    char *dir = apr_pstrcat(w->pool, w->dir, "/", name, NULL);
    const struct passwd *pw = user && geteuid() == 0 ? getpwnam(user) : NULL;

    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(chmod(w->dir, 0711), 0);
    if (pw)
        assert_int_equal(chown(dir, pw->pw_uid, pw->pw_gid), 0);
    return dir;
}

/* Opens the driver until the server takes it. */
static void await(world_t *w, dbserver_t *s)
{
    int64_t deadline = sse_storeconn_deadline(START_MS);

    apr_dbd_close(w->driver, w->handle);
    assert_int_equal(apr_dbd_get_driver(w->pool, s->driver, &w->driver), APR_SUCCESS);
    for (;;) {
        const struct timespec pause = {.tv_nsec = 20000000};
        const char *error = NULL;

        if (apr_dbd_open_ex(w->driver, w->pool, s->params, &w->handle, &error) == APR_SUCCESS)
            return;
        if (waitpid(s->pid, NULL, WNOHANG) != 0 || sse_storeconn_deadline(0) >= deadline) {
            show_log(w);
            fail_msg("%s does not start: %s", s->driver, error ? error : "");
        }
        nanosleep(&pause, NULL);
    }
}

void dbserver_start_postgres(world_t *w, dbserver_t *s)
{
    const char *pattern = "/usr/lib/postgresql/*/bin/initdb";
    char *dir, *bin, port[8];
    glob_t found;

    if (glob(pattern, 0, NULL, &found) != 0)
        fail_msg("no PostgreSQL server (install Debian package postgresql, see script/setup)");
    bin = apr_pstrdup(w->pool, found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    *strrchr(bin, '/') = '\0';
    dir = data_dir(w, "pg", "postgres");
    {
        char *const argv[] = {apr_pstrcat(w->pool, bin, "/initdb", NULL),
                              "-D",
                              dir,
                              "-U",
                              "owner",
                              "-A",
                              "trust",
                              "--no-sync",
                              "-E",
                              "UTF8",
                              "--locale=C",
                              NULL};
        run_to_end(w, "postgres", argv);
    }
    snprintf(port, sizeof port, "%d", world_free_port());
    {
        char *const argv[] = {apr_pstrcat(w->pool, bin, "/postgres", NULL),
                              "-D",
                              dir,
                              "-F",
                              "-k",
                              dir,
                              "-h",
                              "127.0.0.1",
                              "-p",
                              port,
                              NULL};
        s->pid = run(w, "postgres", argv);
    }
    s->driver = "pgsql";
    s->params = apr_psprintf(w->pool, "host=127.0.0.1 port=%s user=owner dbname=postgres", port);
    await(w, s);
}

void dbserver_start_mariadb(world_t *w, dbserver_t *s)
{
    char *dir = data_dir(w, "my", "mysql");
    char *sock = apr_pstrcat(w->pool, dir, "/s", NULL);
    char *user = geteuid() == 0 ? "--user=mysql" : "--loose-nothing";
    char *data = apr_pstrcat(w->pool, "--datadir=", dir, NULL);

    {
        char *const argv[] = {"mariadb-install-db",
                              "--no-defaults",
                              data,
                              user,
                              "--auth-root-authentication-method=normal",
                              "--skip-test-db",
                              NULL};
        run_to_end(w, NULL, argv);
    }
    {
        char *const argv[] = {"mariadbd",
                              "--no-defaults",
                              data,
                              user,
                              "--skip-networking",
                              apr_pstrcat(w->pool, "--socket=", sock, NULL),
                              "--innodb-flush-log-at-trx-commit=0",
                              "--innodb-buffer-pool-size=8M",
                              NULL};
        s->pid = run(w, NULL, argv);
    }
    s->driver = "mysql";
    s->params = apr_psprintf(w->pool, "user=root dbname=mysql sock=%s", sock);
    await(w, s);
}

void dbserver_use(world_t *w, const dbserver_t *s, const char *params)
{
    const char *error = NULL;

    apr_dbd_close(w->driver, w->handle);
    assert_int_equal(apr_dbd_get_driver(w->pool, s->driver, &w->driver), APR_SUCCESS);
    if (apr_dbd_open_ex(w->driver, w->pool, params ? params : s->params, &w->handle, &error) !=
        APR_SUCCESS)
        fail_msg("%s: %s", params ? params : s->params, error ? error : "");
}

void dbserver_stop(world_t *w, dbserver_t *s)
{
    /* PostgreSQL's "fast" shutdown; MariaDB heeds SIGTERM. */
    if (s->pid > 0) {
        kill(s->pid, strcmp(s->driver, "pgsql") == 0 ? SIGINT : SIGTERM);
        assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
    }
    s->pid = 0;
}
