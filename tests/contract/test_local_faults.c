/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded driver when things go wrong underneath: a disk that is full, a file that is damaged,
 * written by a newer version, copied, or held by another hub; a machine that lost power. */
#include "rig.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

world_t world;

static char dir[4096];

static void path_of(const char *name, char out[4200])
{
    snprintf(out, 4200, "%s/%s", dir, name);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/sse-faults-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    world = (world_t){.url = "local", .state_dir = dir};
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Runs SQL on the database of a driver that is stopped. */
static void sql(const char *text)
{
    char path[4200], *problem = NULL;
    sqlite3 *db;
    path_of("broker.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &problem) != SQLITE_OK)
        fail_msg("%s", problem);
    sqlite3_close(db);
}

/* How many files are named so. */
static unsigned count_files(const char *prefix)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return n;
}

static apr_status_t create(const char *state_dir, char problem[256])
{
    static const sse_broker_upcalls_t none;
    uv_loop_t loop;
    sse_hubconf_t conf;
    sse_broker_t *broker;
    uv_loop_init(&loop);
    sse_hubconf_init(&conf);
    free(conf.state_dir);
    conf.state_dir = state_dir ? sse_strndup(state_dir, strlen(state_dir)) : NULL;
    sse_broker_env_t env = {.loop = &loop, .conf = &conf, .up = &none};
    apr_status_t status = sse_broker_create(&env, "local", &broker, problem);
    sse_hubconf_clear(&conf);
    assert_int_equal(uv_loop_close(&loop), 0);
    return status;
}

static void an_unfit_directory_is_refused(void **state)
{
    char problem[256] = "", path[4200];
    path_of("missing", path);
    assert_int_equal(create(path, problem), APR_EINVAL);
    assert_non_null(strstr(problem, "No such file"));
    path_of("file", path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(create(path, problem), APR_EINVAL);
    assert_non_null(strstr(problem, "not a directory"));
    assert_int_equal(create(NULL, problem), APR_EINVAL);
}

static void the_files_are_not_for_everybody(void **state)
{
    struct stat st;
    char path[4200];
    rig_t *r = rig_start();
    rig_send(r, rig_realm(), EVENT("e"), "1");
    const char *names[] = {"broker.db", "broker.db-wal", "broker.db-shm", "lock"};
    for (size_t i = 0; i < SSE_ARRAY_LEN(names); i++) {
        path_of(names[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07, 0);
    }
    rig_stop(r);
}

static void two_hubs_do_not_share_a_directory(void **state)
{
    sse_str_t realm = rig_realm();
    rig_t *first = rig_start();
    uint64_t seq = rig_send(first, realm, EVENT("e"), "1");
    /* The second waits, as the new hub of a restart does, and is there when the first has gone. */
    rig_t *second = rig_start_until(SSE_BROKER_STARTING);
    rig_run_ms(second, 300);
    assert_int_equal(second->state, SSE_BROKER_STARTING);
    rig_stop(first);
    assert_int_equal(rig_history_of(second, realm, EVENT("e"), 0), APR_SUCCESS);
    assert_int_equal(second->state, SSE_BROKER_CONNECTED);
    assert_int_equal(second->history[0]->pos.seq, seq);
    rig_stop(second);
}

static void a_newer_schema_is_left_alone(void **state)
{
    rig_t *r = rig_start();
    rig_send(r, rig_realm(), EVENT("e"), "1");
    rig_stop(r);
    sql("PRAGMA user_version = 99");
    r = rig_start_until(SSE_BROKER_LOST);
    assert_non_null(strstr(r->detail, "newer version"));
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = event.name, .data = SSE_STR("1"), .channels = &event, .n_channels = 1};
    assert_int_equal(rig_publish(r, rig_realm(), &item, 1), APR_EAGAIN);
    assert_int_equal(rig_history_of(r, rig_realm(), event, 0), APR_EAGAIN);
    rig_stop(r);
    assert_int_equal(count_files("broker.db.corrupt"), 0);
    sql("PRAGMA user_version = 1");
    rig_stop(rig_start());
}

static void scribble(off_t from)
{
    char path[4200], junk[4096];
    struct stat st;
    path_of("broker.db", path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    memset(junk, 0xa5, sizeof(junk));
    for (off_t at = from; at < st.st_size; at += (off_t)sizeof(junk))
        assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
    close(fd);
}

static void a_damaged_file_is_set_aside_at_start(void **state)
{
    for (int whole = 0; whole < 2; whole++) {
        rig_t *r = rig_start();
        sse_str_t realm = rig_realm();
        for (int i = 0; i < 100; i++)
            rig_send(r, realm, EVENT("e"), "1");
        assert_int_equal(rig_connect(r, realm, "", NULL, 0), APR_SUCCESS);
        sse_pos_t before = r->pos;
        rig_stop(r);
        unsigned aside = count_files("broker.db.corrupt");
        scribble(whole ? 0 : 4096);
        r = rig_start();
        assert_true(count_files("broker.db.corrupt") > aside);
        assert_int_equal(rig_connect(r, realm, "", NULL, 0), APR_SUCCESS);
        assert_true(r->pos.epoch != before.epoch);
        rig_send(r, realm, EVENT("e"), "1");
        rig_stop(r);
    }
}

static void damage_met_at_work_is_set_aside(void **state)
{
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    static char data[3000];
    memset(data, 'x', sizeof(data) - 1);
    for (int i = 0; i < 400; i++)
        rig_send(r, realm, EVENT("e"), data);
    rig_stop(r); /* all of it is in the database file now */
    r = rig_start();
    assert_int_equal(rig_connect(r, realm, "", NULL, 0), APR_SUCCESS);
    sse_pos_t before = r->pos;
    unsigned aside = count_files("broker.db.corrupt");
    scribble(2 * 4096);
    /* The reader meets it; the writer looks and begins anew. */
    uint64_t begun = uv_hrtime();
    while (!r->resets && uv_hrtime() - begun < 10000000000ull) {
        rig_history_of(r, realm, EVENT("e"), 0);
        rig_run_ms(r, 50);
    }
    assert_int_equal(r->resets, 1);
    rig_wait_state(r, SSE_BROKER_CONNECTED);
    assert_true(count_files("broker.db.corrupt") > aside);
    assert_int_equal(rig_connect(r, realm, "", NULL, 0), APR_SUCCESS);
    assert_true(r->pos.epoch != before.epoch);
    uint64_t seq = rig_send(r, realm, EVENT("e"), "1");
    assert_int_equal(rig_history_of(r, realm, EVENT("e"), 0), APR_SUCCESS);
    assert_int_equal(r->n_history, 1);
    assert_int_equal(r->history[0]->pos.seq, seq);
    rig_stop(r);
}

/* A file that may not grow stands for a disk that is full. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_refuses_and_recovers_by_itself(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    rig_history_count = 10000;
    rig_t *r = rig_start();
    sse_str_t realm = rig_realm();
    const char *groups[] = {"g", "h"};
    static char data[20000];
    memset(data, 'x', sizeof(data) - 1);
    sse_channel_t event = EVENT("e");
    sse_publish_t item = {
        .event = event.name, .data = sse_str(data), .channels = &event, .n_channels = 1};
    assert_int_equal(rig_connect(r, realm, "1", groups, 1), APR_SUCCESS);
    uint64_t first = rig_send(r, realm, event, "1"), last = first;
    limit_files(300000);
    unsigned accepted = 1;
    while (rig_publish(r, realm, &item, 1) == APR_SUCCESS) {
        last = r->published[0].pos.seq;
        accepted++;
        assert_true(accepted < 1000);
    }
    assert_int_equal(r->status, APR_EAGAIN);
    /* What is small may still have found room. */
    item.data = SSE_STR("1");
    while (rig_publish(r, realm, &item, 1) == APR_SUCCESS) {
        last = r->published[0].pos.seq;
        accepted++;
        assert_true(accepted < 10000);
    }
    assert_int_equal(r->status, APR_EAGAIN);
    rig_wait_state(r, SSE_BROKER_LOST);
    /* Who connects gets what is known, with the groups as they are named. */
    assert_int_equal(rig_connect(r, realm, "1", groups, 2), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 2);
    assert_int_equal(r->n_groups, 2);
    assert_int_equal(r->pos.seq, last);
    /* All that was acknowledged is there, and nothing that was not. */
    assert_int_equal(rig_history_of(r, realm, event, first - 1), APR_SUCCESS);
    assert_int_equal(r->n_history, accepted);
    assert_int_equal(rig_subscribe(r, realm, USER("1"), "e", NO_SESSION), APR_EAGAIN);
    limit_files(RLIM_INFINITY);
    rig_wait_state(r, SSE_BROKER_CONNECTED);
    uint64_t next = rig_send(r, realm, event, "2");
    assert_int_equal(next, last + 1);
    rig_stop(r);
    r = rig_start();
    assert_int_equal(rig_history_of(r, realm, event, first - 1), APR_SUCCESS);
    assert_int_equal(r->n_history, accepted + 1);
    assert_int_equal(rig_record(r, realm, USER("1")), APR_SUCCESS);
    assert_int_equal(r->record->n_memberships, 1);
    rig_stop(r);
    rig_history_count = 1000;
}

/* As if the machine had gone down in the midst of work. */
static void lose_power(void)
{
    sql("UPDATE meta SET v = 0 WHERE k = 'clean'; UPDATE meta SET v = 'another boot' WHERE k = "
        "'boot'");
}

static uint64_t epoch_now(void)
{
    rig_t *r = rig_start();
    assert_int_equal(rig_connect(r, rig_realm(), "", NULL, 0), APR_SUCCESS);
    uint64_t epoch = r->pos.epoch;
    rig_stop(r);
    return epoch;
}

static void an_epoch_ends_only_when_ids_may_be_lost(void **state)
{
    char path[4200], copy[4200], command[20000];
    uint64_t epoch = epoch_now();
    assert_int_equal(epoch_now(), epoch);
    /* Another boot after an orderly end: nothing was lost. */
    sql("UPDATE meta SET v = 'another boot' WHERE k = 'boot'");
    assert_int_equal(epoch_now(), epoch);
    /* Without one the newest messages may be. */
    lose_power();
    uint64_t second = epoch_now();
    assert_true(second != epoch);
    /* Where every commit was synced they are not. */
    sql("UPDATE meta SET v = 1 WHERE k = 'full'");
    lose_power();
    assert_int_equal(epoch_now(), second);
    /* A file that is a copy may be older than the ids that clients hold. */
    path_of("broker.db", path);
    path_of("copy.db", copy);
    snprintf(command, sizeof(command), "cp '%s' '%s' && mv '%s' '%s'", path, copy, copy, path);
    assert_int_equal(system(command), 0);
    assert_true(epoch_now() != second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unfit_directory_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(the_files_are_not_for_everybody, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(two_hubs_do_not_share_a_directory, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_newer_schema_is_left_alone, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_set_aside_at_start, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(damage_met_at_work_is_set_aside, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_recovers_by_itself, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(an_epoch_ends_only_when_ids_may_be_lost, make_dir,
                                        remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
