/* SPDX-License-Identifier: Apache-2.0 */
/* The stores that session tests read; see the header. Runs in the test program's only thread. */
#include "session_world.h"

#include "cmocka_all.h"
#include "core/buf.h"
#include "core/crypto.h"
#include "session/storeconn.h"

#include <apr_general.h>
#include <apr_md5.h>
#include <apr_strings.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 20000

void world_open(world_t *w)
{
    char template[] = "/tmp/sse-session-XXXXXX";

    *w = (world_t){0};
    assert_int_equal(apr_initialize(), APR_SUCCESS);
    assert_int_equal(apr_pool_create(&w->pool, NULL), APR_SUCCESS);
    assert_int_equal(apr_pool_create(&w->test_pool, w->pool), APR_SUCCESS);
    assert_non_null(mkdtemp(template));
    w->dir = apr_pstrdup(w->pool, template);
    assert_int_equal(apr_dbd_init(w->pool), APR_SUCCESS);
    assert_int_equal(apr_dbd_get_driver(w->pool, "sqlite3", &w->driver), APR_SUCCESS);
    assert_int_equal(apr_dbd_open(w->driver, w->pool,
                                  apr_pstrcat(w->pool, w->dir, "/django.sqlite3", NULL),
                                  &w->handle),
                     APR_SUCCESS);
    /* The file lives as long as the test: no waiting for the disk. */
    world_sql(w, "PRAGMA synchronous = OFF");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void world_stop(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGTERM);
        assert_int_equal(waitpid(*pid, NULL, 0), *pid);
    }
    *pid = 0;
}

void world_close(world_t *w)
{
    world_stop(&w->redis);
    world_stop(&w->memcached);
    apr_dbd_close(w->driver, w->handle);
    nftw(w->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    apr_pool_destroy(w->pool);
    /* No apr_terminate: it would unload the database drivers, and a leak checker then misses what
     * their libraries keep to the end. */
}

/* Ten ports for each process, so that tests that run at the same time do not take each other's. */
int world_free_port(void)
{
    static int next;

    for (int tries = 0; tries < 1000; tries++, next++) {
        int port = 20000 + (int)(getpid() % 1200) * 10 + next % 10 + next / 10 * 7;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        rc = port < 32768 ? bind(fd, (struct sockaddr *)&a, sizeof a) : -1;
        close(fd);
        if (rc == 0) {
            next++;
            return port;
        }
    }
    fail_msg("no free port");
    return 0;
}

static pid_t start(char *const argv[])
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 0);
        dup2(null, 1);
        execvp(argv[0], argv);
        fprintf(stderr, "%s: %s (install its Debian package, see script/setup)\n", argv[0],
                strerror(errno));
        _exit(127);
    }
    return pid;
}

/* Until the port takes connections; a server that ends instead fails the test. */
static void await_port(world_t *w, pid_t pid, int port)
{
    int64_t deadline = sse_storeconn_deadline(START_MS);
    char text[8];
    sse_endpoint_t to = {.host = "127.0.0.1", .port = text};
    int fd;

    snprintf(text, sizeof text, "%d", port);
    to.names = sse_storenames_create(to.host, to.port, w->test_pool);
    while (sse_storeconn_open(&to, deadline, &fd) != APR_SUCCESS) {
        const struct timespec pause = {.tv_nsec = 5000000};
        if (waitpid(pid, NULL, WNOHANG) != 0)
            fail_msg("the server ended before it took connections");
        if (sse_storeconn_deadline(0) >= deadline)
            fail_msg("the server does not take connections");
        nanosleep(&pause, NULL);
    }
    close(fd);
}

void world_start_redis(world_t *w)
{
    char port[8];

    if (!w->redis_port)
        w->redis_port = world_free_port();
    snprintf(port, sizeof port, "%d", w->redis_port);
    {
        char *const argv[] = {"redis-server",
                              "--port",
                              port,
                              "--bind",
                              "127.0.0.1",
                              "--save",
                              "",
                              "--appendonly",
                              "no",
                              "--dir",
                              (char *)(uintptr_t)w->dir,
                              "--unixsocket",
                              apr_pstrcat(w->pool, w->dir, "/redis.sock", NULL),
                              "--logfile",
                              "/dev/null",
                              NULL};
        w->redis = start(argv);
    }
    await_port(w, w->redis, w->redis_port);
}

void world_start_memcached(world_t *w)
{
    char port[8];

    if (!w->memcached_port)
        w->memcached_port = world_free_port();
    snprintf(port, sizeof port, "%d", w->memcached_port);
    {
        char *const argv[] = {"memcached", "-l", "127.0.0.1", "-p",
                              port,        "-U", "0",         geteuid() == 0 ? "-u" : NULL,
                              "root",      NULL};
        w->memcached = start(argv);
    }
    await_port(w, w->memcached, w->memcached_port);
}

const char *world_quote(world_t *w, const char *text)
{
    return apr_pstrcat(w->test_pool, "'", apr_dbd_escape(w->driver, w->test_pool, text, w->handle),
                       "'", NULL);
}

void world_sql(world_t *w, const char *fmt, ...)
{
    va_list ap;
    char *sql;
    int rows, rc;

    va_start(ap, fmt);
    assert_true(vasprintf(&sql, fmt, ap) >= 0); /* APR's formatter lacks %lld */
    va_end(ap);
    rc = apr_dbd_query(w->driver, w->handle, &rows, sql);
    if (rc != 0)
        fail_msg("%s: %s", sql, apr_dbd_error(w->driver, w->handle, rc));
    free(sql);
}

static redisContext *redis(world_t *w)
{
    redisContext *c = redisConnect("127.0.0.1", w->redis_port);

    assert_true(c && !c->err);
    return c;
}

void world_redis_set(world_t *w, const char *key, sse_str_t value, int64_t ms)
{
    redisContext *c = redis(w);
    redisReply *r = ms > 0 ? redisCommand(c, "SET %s %b PX %lld", key, value.p ? value.p : "",
                                          value.n, (long long)ms)
                           : redisCommand(c, "SET %s %b", key, value.p ? value.p : "", value.n);

    assert_true(r && r->type == REDIS_REPLY_STATUS);
    freeReplyObject(r);
    redisFree(c);
}

void world_redis_command(world_t *w, const char *command)
{
    redisContext *c = redis(w);
    redisReply *r = redisCommand(c, command);

    if (!r || r->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", command, r ? r->str : c->errstr);
    freeReplyObject(r);
    redisFree(c);
}

void world_redis_flush(world_t *w)
{
    world_redis_command(w, "FLUSHALL");
}

/* Sends a command to memcached and expects that answer. */
static void memcached_command(world_t *w, sse_str_t command, const char *answer)
{
    char port[8], got[64];
    sse_endpoint_t to = {.host = "127.0.0.1", .port = port};
    int64_t deadline = sse_storeconn_deadline(5000);
    size_t n = 0;
    int fd;

    snprintf(port, sizeof port, "%d", w->memcached_port);
    to.names = sse_storenames_create(to.host, to.port, w->test_pool);
    assert_int_equal(sse_storeconn_open(&to, deadline, &fd), APR_SUCCESS);
    assert_int_equal(sse_storeconn_send(fd, command, deadline), APR_SUCCESS);
    while (n < strlen(answer)) {
        size_t k;
        assert_int_equal(sse_storeconn_recv(fd, got + n, sizeof got - n, deadline, &k),
                         APR_SUCCESS);
        n += k;
    }
    assert_memory_equal(got, answer, strlen(answer));
    close(fd);
}

void world_memcached_set(world_t *w, const char *key, sse_str_t value, int64_t seconds)
{
    sse_buf_t b = {0};

    sse_buf_printf(&b, "set %s 1 %lld %zu\r\n", key, (long long)seconds, value.n);
    sse_buf_str(&b, value);
    sse_buf_cstr(&b, "\r\n");
    memcached_command(w, sse_buf_slice(&b), "STORED\r\n");
    sse_buf_clear(&b);
}

void world_memcached_flush(world_t *w)
{
    memcached_command(w, SSE_STR("flush_all\r\n"), "OK\r\n");
}

const char *world_md5_name(world_t *w, const char *key)
{
    unsigned char md5[APR_MD5_DIGESTSIZE];
    char hex[2 * APR_MD5_DIGESTSIZE + 1];

    apr_md5(md5, key, strlen(key));
    sse_crypto_hex(md5, sizeof md5, hex);
    return apr_pstrcat(w->test_pool, hex, ".djcache", NULL);
}

const char *world_subdir(world_t *w, const char *name)
{
    const char *path = apr_pstrcat(w->test_pool, w->dir, "/", name, NULL);

    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

void world_file(world_t *w, const char *subdir, const char *name, sse_str_t content, int64_t mtime)
{
    const char *path = apr_pstrcat(w->test_pool, subdir, "/", name, NULL);
    const struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content.p, content.n), content.n);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static const sse_session_db_t *lend(void *baton)
{
    world_t *w = baton;

    w->db_lent++;
    return w->db_away ? NULL : &w->db;
}

static void prepare(world_t *w, const sse_session_conf_t *conf)
{
    const sse_statement_t *st;
    size_t n;

    w->db = (sse_session_db_t){w->driver, w->handle, apr_hash_make(w->test_pool)};
    assert_int_equal(sse_session_statements(conf, apr_dbd_name(w->driver), w->test_pool, &st, &n),
                     APR_SUCCESS);
    for (size_t i = 0; i < n; i++) {
        apr_dbd_prepared_t *prepared = NULL;
        /* A name of its own each time: PostgreSQL keeps what was prepared before. */
        const char *name = apr_psprintf(w->test_pool, "%s_%d", st[i].label, ++w->prepared);
        int rc = apr_dbd_prepare(w->driver, w->test_pool, w->handle, st[i].sql, name, &prepared);
        if (rc != 0)
            fail_msg("%s: %s", st[i].sql, apr_dbd_error(w->driver, w->handle, rc));
        apr_hash_set(w->db.prepared, st[i].label, APR_HASH_KEY_STRING, prepared);
    }
}

void world_resolve(world_t *w, const sse_session_conf_t *conf, const char *cookie_header,
                   apr_time_t now, sse_identity_t *out)
{
    const sse_session_request_t req = {
        .cookie_header = cookie_header, .now = now, .db = lend, .db_baton = w};

    if (!w->keep_statements)
        prepare(w, conf);
    if (w->before_resolve)
        world_sql(w, "%s", w->before_resolve);
    w->before_resolve = NULL;
    sse_session_resolve(conf, &req, w->test_pool, out);
}
