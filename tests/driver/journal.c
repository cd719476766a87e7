/* SPDX-License-Identifier: Apache-2.0 */
/* An example of a broker driver that is a shared object: `SSEBroker journal:///path/of/file`, one
 * host. What calls change is a line each in that file, written before it is carried out; the state
 * (journal_state.h) is in memory and read back from the lines at the start. Every call becomes a
 * job that is done in a turn of the loop of its own: so no callback runs within its call, upcalls
 * and answers come in the order of calls, and a history joins what follows it by itself.
 *
 * Built with what `make install` installs and nothing else; docs/brokers.md leads through it.
 * Control loop only. */
#include "journal_state.h"
#include <core/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROBLEM_SIZE 256 /* what create() may write there */
#define LOCK_RETRY_MS 100

typedef void (*state_fn)(state_t *s, sse_str_t line, int64_t now, state_result_t *out);

typedef struct journal_t journal_t;
typedef struct job_t job_t;

/* How a kind of call is carried out and answered. `change`: its line goes to the file. */
typedef struct op_t {
    char letter;
    state_fn change;
    void (*answer)(journal_t *j, job_t *job, apr_status_t status, state_result_t *result);
} op_t;

struct job_t {
    job_t *next;
    const op_t *op;
    sse_buf_t line;
    union {
        sse_published_fn published;
        sse_connected_fn connected;
        sse_record_fn record;
        sse_names_fn names;
        sse_done_fn done;
        sse_history_fn history;
        sse_tracking_fn tracking;
        sse_session_fn session;
    } cb;
    void *baton;
};

struct journal_t {
    sse_broker_t base; /* first */
    char *path;
    int fd; /* locked; -1 until it is this hub's */
    off_t end;
    state_t *state;
    uv_async_t turn;  /* the next turn of the loop: jobs wait */
    uv_timer_t timer; /* to try the lock again */
    unsigned open;    /* of these two */
    job_t *jobs, **last_job;
    bool stopping;
    sse_done_fn stopped;
    void *stopped_baton;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- answers ---- */

static void answer_published(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    bool good = status == APR_SUCCESS;
    job->cb.published(job->baton, status, good ? r->published : NULL, good ? r->n : 0, r->bad);
}

static void answer_connected(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    sse_str_t line = sse_buf_slice(&job->line), realm = line_take(&line);
    sse_pos_t pos = status == APR_SUCCESS ? state_pos(j->state, realm) : (sse_pos_t){0};
    job->cb.connected(job->baton, status, r->record, r->groups, pos);
}

static void answer_record(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    job->cb.record(job->baton, status, r->record);
}

static void answer_done(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    job->cb.done(job->baton, status);
}

static void answer_history(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    sse_history_t h = {0};
    if (status == APR_SUCCESS)
        state_history(j->state, sse_buf_slice(&job->line), now_ms(), &h);
    job->cb.history(job->baton, status, status == APR_SUCCESS ? &h : NULL);
    free((void *)h.messages);
    free((void *)h.gaps);
}

static void answer_members(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    sse_str_t *names = NULL;
    size_t n = 0;
    if (status == APR_SUCCESS)
        n = state_members(j->state, sse_buf_slice(&job->line), &names);
    job->cb.names(job->baton, status, names, n);
    free(names);
}

static void answer_tracking(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    sse_tracking_t t = {0};
    if (status == APR_SUCCESS)
        state_tracking(j->state, sse_buf_slice(&job->line), now_ms(), &t);
    job->cb.tracking(job->baton, status, status == APR_SUCCESS ? &t : NULL);
}

static void answer_session(journal_t *j, job_t *job, apr_status_t status, state_result_t *r)
{
    sse_str_t user = SSE_STR_NONE;
    uint64_t expires = 0;
    if (status == APR_SUCCESS &&
        !state_session_get(j->state, sse_buf_slice(&job->line), now_ms(), &user, &expires))
        status = APR_NOTFOUND;
    job->cb.session(job->baton, status, user, expires);
}

enum {
    OP_PUBLISH,
    OP_CONNECT,
    OP_SUBSCRIBE,
    OP_UNSUBSCRIBE,
    OP_MEMBERS_CHANGE,
    OP_FORGET,
    OP_DISCONNECT,
    OP_CURSORS,
    OP_SESSION_PUT,
    OP_RECORD,
    OP_HISTORY,
    OP_MEMBERS,
    OP_TRACKING,
    OP_SESSION_GET
};

/* The letter is what the line begins with in the file; none: nothing changes. */
static const op_t ops[] = {
    [OP_PUBLISH] = {'p', state_publish, answer_published},
    [OP_CONNECT] = {'c', state_connect, answer_connected},
    [OP_SUBSCRIBE] = {'s', state_subscribe, answer_record},
    [OP_UNSUBSCRIBE] = {'u', state_unsubscribe, answer_record},
    [OP_MEMBERS_CHANGE] = {'m', state_members_change, answer_done},
    [OP_FORGET] = {'f', state_forget, answer_done},
    [OP_DISCONNECT] = {'d', state_disconnect, answer_done},
    [OP_CURSORS] = {'t', state_cursors, answer_done},
    [OP_SESSION_PUT] = {'k', state_session_put, answer_done},
    [OP_RECORD] = {0, state_record, answer_record},
    [OP_HISTORY] = {0, NULL, answer_history},
    [OP_MEMBERS] = {0, NULL, answer_members},
    [OP_TRACKING] = {0, NULL, answer_tracking},
    [OP_SESSION_GET] = {0, NULL, answer_session},
};

/* ---- the file ---- */

/* A line in the file is one field: letter, time, then the call's own. What cannot be written whole
 * is taken back. */
static bool write_line(journal_t *j, const job_t *job, int64_t now)
{
    sse_buf_t inner = {0}, outer = {0};
    sse_buf_char(&inner, job->op->letter);
    line_put_number(&inner, now);
    sse_buf_str(&inner, sse_buf_slice(&job->line));
    line_put(&outer, sse_buf_slice(&inner));
    ssize_t n = pwrite(j->fd, outer.p, outer.n, j->end);
    bool good = n == (ssize_t)outer.n;
    if (good)
        j->end += n;
    else if (ftruncate(j->fd, j->end) != 0)
        sse_log(SSE_LOG_INFO, "journal: %s: %s", j->path, strerror(errno));
    sse_buf_clear(&inner);
    sse_buf_clear(&outer);
    return good;
}

static void replay_line(state_t *state, sse_str_t line)
{
    state_result_t result = {0};
    char letter = *line.p;
    line.p++;
    line.n--;
    int64_t then = line_take_number(&line);
    for (size_t i = 0; i < SSE_ARRAY_LEN(ops); i++)
        if (ops[i].letter && ops[i].letter == letter)
            ops[i].change(state, line, then, &result);
    state_result_clear(&result);
}

/* The first field is the epoch. What is not whole at the end was never acknowledged: cut off. */
static bool read_file(journal_t *j)
{
    struct stat st;
    uint64_t epoch;
    char *text = NULL;
    if (fstat(j->fd, &st) != 0 || (st.st_size && !(text = malloc((size_t)st.st_size))) ||
        pread(j->fd, text, (size_t)st.st_size, 0) != st.st_size) {
        free(text);
        return false;
    }
    sse_str_t rest = {text, (size_t)st.st_size}, line = line_take(&rest);
    if (line.n == sizeof epoch) {
        memcpy(&epoch, line.p, sizeof epoch);
    } else if (st.st_size) { /* somebody else's file */
        free(text);
        errno = EINVAL;
        return false;
    } else {
        sse_buf_t head = {0};
        if (getrandom(&epoch, sizeof epoch, 0) != sizeof epoch)
            abort();
        epoch |= 1;
        line_put(&head, (sse_str_t){(const char *)&epoch, sizeof epoch});
        bool good = pwrite(j->fd, head.p, head.n, 0) == (ssize_t)head.n;
        st.st_size = (off_t)head.n;
        sse_buf_clear(&head);
        if (!good) {
            free(text);
            return false;
        }
    }
    j->state = state_create(j->base.env.conf, epoch);
    while ((line = line_take(&rest)).n)
        replay_line(j->state, line);
    j->end = st.st_size - (off_t)rest.n;
    free(text);
    state_speak(j->state, j->base.env.up, j->base.env.hub);
    return ftruncate(j->fd, j->end) == 0;
}

/* ---- turns ---- */

static void on_again(uv_timer_t *timer);

/* An earlier hub may still hold the file. */
static bool begin(journal_t *j)
{
    const sse_broker_upcalls_t *up = j->base.env.up;
    int fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        j->fd = fd;
        if (read_file(j)) {
            up->state(j->base.env.hub, SSE_BROKER_CONNECTED, "");
            return true;
        }
        state_free(j->state);
        j->state = NULL;
        j->fd = -1;
    }
    if (fd < 0 || errno != EWOULDBLOCK)
        up->state(j->base.env.hub, SSE_BROKER_LOST, strerror(errno));
    if (fd >= 0)
        close(fd);
    uv_timer_start(&j->timer, on_again, LOCK_RETRY_MS, 0);
    return false;
}

static void carry_out(journal_t *j, job_t *job, apr_status_t status)
{
    state_result_t result = {0};
    int64_t now = now_ms();
    if (status == APR_SUCCESS && job->op->letter && !write_line(j, job, now))
        status = APR_EAGAIN;
    if (status == APR_SUCCESS && job->op->change) {
        job->op->change(j->state, sse_buf_slice(&job->line), now, &result);
        status = result.status;
    }
    job->op->answer(j, job, status, &result);
    state_result_clear(&result);
    sse_buf_clear(&job->line);
    free(job);
}

static void on_closed(uv_handle_t *handle)
{
    journal_t *j = handle->data;
    if (--j->open)
        return;
    sse_done_fn stopped = j->stopped;
    void *baton = j->stopped_baton;
    if (j->fd >= 0)
        close(j->fd);
    if (j->state)
        state_free(j->state);
    free(j->path);
    free(j);
    stopped(baton, APR_SUCCESS);
}

static void on_turn(uv_async_t *turn)
{
    journal_t *j = turn->data;
    if (!j->stopping && !j->state && !begin(j))
        return;
    job_t *job = j->jobs;
    j->jobs = NULL;
    j->last_job = &j->jobs;
    while (job) {
        job_t *next = job->next;
        carry_out(j, job, j->stopping ? APR_EOF : APR_SUCCESS);
        job = next;
    }
    if (j->stopping && !j->jobs && !uv_is_closing((uv_handle_t *)turn)) {
        uv_close((uv_handle_t *)turn, on_closed);
        uv_close((uv_handle_t *)&j->timer, on_closed);
    }
}

static void on_again(uv_timer_t *timer)
{
    on_turn(&((journal_t *)timer->data)->turn);
}

/* ---- calls ---- */

static job_t *job_create(sse_broker_t *b, int op, sse_str_t realm, void *baton)
{
    job_t *job = sse_calloc(1, sizeof *job);
    job->op = &ops[op];
    job->baton = baton;
    line_put(&job->line, realm);
    return job;
}

static void submit(sse_broker_t *b, job_t *job)
{
    journal_t *j = (journal_t *)b;
    *j->last_job = job;
    j->last_job = &job->next;
    if (j->state || j->stopping)
        uv_async_send(&j->turn);
}

static void put_channel(job_t *job, sse_channel_t channel)
{
    line_put_number(&job->line, channel.kind);
    line_put(&job->line, channel.name);
}

static void put_names(job_t *job, const sse_str_t *names, size_t n)
{
    line_put_number(&job->line, (int64_t)n);
    for (size_t i = 0; i < n; i++)
        line_put(&job->line, names[i]);
}

static void call_publish(sse_broker_t *b, sse_str_t realm, const sse_publish_t *items, size_t n,
                         sse_published_fn cb, void *baton)
{
    job_t *job = job_create(b, OP_PUBLISH, realm, baton);
    job->cb.published = cb;
    line_put_number(&job->line, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        line_put(&job->line, items[i].event);
        line_put(&job->line, items[i].data);
        line_put_number(&job->line, items[i].raw);
        line_put_number(&job->line, items[i].ttl);
        line_put(&job->line, items[i].key);
        line_put(&job->line, items[i].replace);
        line_put_number(&job->line, (int64_t)items[i].n_channels);
        for (size_t k = 0; k < items[i].n_channels; k++)
            put_channel(job, items[i].channels[k]);
    }
    submit(b, job);
}

static void call_connect(sse_broker_t *b, sse_str_t realm, sse_str_t user, const sse_str_t *groups,
                         size_t n_groups, sse_str_t session, uint64_t session_expires,
                         sse_connected_fn cb, void *baton)
{
    job_t *job = job_create(b, OP_CONNECT, realm, baton);
    job->cb.connected = cb;
    line_put(&job->line, user);
    line_put(&job->line, session);
    line_put_number(&job->line, (int64_t)session_expires);
    if (groups)
        put_names(job, groups, n_groups);
    else
        line_put_number(&job->line, -1);
    submit(b, job);
}

static void call_history(sse_broker_t *b, sse_str_t realm, const sse_range_t *ranges,
                         size_t n_ranges, size_t max_messages, size_t max_bytes, sse_history_fn cb,
                         void *baton)
{
    job_t *job = job_create(b, OP_HISTORY, realm, baton);
    job->cb.history = cb;
    line_put_number(&job->line, (int64_t)max_messages);
    line_put_number(&job->line, (int64_t)max_bytes);
    line_put_number(&job->line, (int64_t)n_ranges);
    for (size_t i = 0; i < n_ranges; i++) {
        put_channel(job, ranges[i].channel);
        line_put_number(&job->line, (int64_t)ranges[i].after);
    }
    submit(b, job);
}

static void change_subs(sse_broker_t *b, int op, sse_str_t realm, sse_channel_t owner,
                        const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                        void *baton)
{
    job_t *job = job_create(b, op, realm, baton);
    job->cb.record = cb;
    put_channel(job, owner);
    line_put(&job->line, session);
    put_names(job, events, n);
    submit(b, job);
}

static void call_subscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                           const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                           void *baton)
{
    change_subs(b, OP_SUBSCRIBE, realm, owner, events, n, session, cb, baton);
}

static void call_unsubscribe(sse_broker_t *b, sse_str_t realm, sse_channel_t owner,
                             const sse_str_t *events, size_t n, sse_str_t session, sse_record_fn cb,
                             void *baton)
{
    change_subs(b, OP_UNSUBSCRIBE, realm, owner, events, n, session, cb, baton);
}

static void call_record(sse_broker_t *b, sse_str_t realm, sse_channel_t owner, sse_record_fn cb,
                        void *baton)
{
    job_t *job = job_create(b, OP_RECORD, realm, baton);
    job->cb.record = cb;
    put_channel(job, owner);
    submit(b, job);
}

static void call_members_change(sse_broker_t *b, sse_str_t realm, sse_str_t group, bool replace,
                                const sse_str_t *add, size_t n_add, const sse_str_t *remove,
                                size_t n_remove, sse_done_fn cb, void *baton)
{
    job_t *job = job_create(b, OP_MEMBERS_CHANGE, realm, baton);
    job->cb.done = cb;
    line_put(&job->line, group);
    line_put_number(&job->line, replace);
    put_names(job, add, n_add);
    put_names(job, remove, n_remove);
    submit(b, job);
}

static void call_members(sse_broker_t *b, sse_str_t realm, sse_str_t group, sse_names_fn cb,
                         void *baton)
{
    job_t *job = job_create(b, OP_MEMBERS, realm, baton);
    job->cb.names = cb;
    line_put(&job->line, group);
    submit(b, job);
}

static void call_forget(sse_broker_t *b, sse_str_t realm, sse_channel_t what, sse_done_fn cb,
                        void *baton)
{
    job_t *job = job_create(b, OP_FORGET, realm, baton);
    job->cb.done = cb;
    put_channel(job, what);
    submit(b, job);
}

static void call_disconnect(sse_broker_t *b, sse_str_t realm, char kind, sse_str_t name, int reason,
                            uint64_t until, sse_done_fn cb, void *baton)
{
    job_t *job = job_create(b, OP_DISCONNECT, realm, baton);
    job->cb.done = cb;
    line_put_number(&job->line, kind);
    line_put(&job->line, name);
    line_put_number(&job->line, (int64_t)until);
    submit(b, job);
}

static void call_cursors(sse_broker_t *b, sse_str_t realm, const sse_cursor_t *list, size_t n,
                         sse_done_fn cb, void *baton)
{
    job_t *job = job_create(b, OP_CURSORS, realm, baton);
    job->cb.done = cb;
    line_put_number(&job->line, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        line_put(&job->line, list[i].user);
        line_put_number(&job->line, (int64_t)list[i].last.epoch);
        line_put_number(&job->line, (int64_t)list[i].last.seq);
        line_put_number(&job->line, list[i].delivered_at);
    }
    submit(b, job);
}

static void call_tracking(sse_broker_t *b, sse_str_t realm, sse_str_t user, sse_tracking_fn cb,
                          void *baton)
{
    job_t *job = job_create(b, OP_TRACKING, realm, baton);
    job->cb.tracking = cb;
    line_put(&job->line, user);
    submit(b, job);
}

static void call_session_put(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_str_t user,
                             uint64_t expires, sse_done_fn cb, void *baton)
{
    job_t *job = job_create(b, OP_SESSION_PUT, realm, baton);
    job->cb.done = cb;
    line_put(&job->line, session);
    line_put(&job->line, user);
    line_put_number(&job->line, (int64_t)expires);
    submit(b, job);
}

static void call_session_get(sse_broker_t *b, sse_str_t realm, sse_str_t session, sse_session_fn cb,
                             void *baton)
{
    job_t *job = job_create(b, OP_SESSION_GET, realm, baton);
    job->cb.session = cb;
    line_put(&job->line, session);
    submit(b, job);
}

/* ---- life ---- */

static void stop(sse_broker_t *b, sse_done_fn done, void *baton)
{
    journal_t *j = (journal_t *)b;
    j->stopping = true;
    j->stopped = done;
    j->stopped_baton = baton;
    uv_async_send(&j->turn);
}

static apr_status_t create(const sse_broker_env_t *env, const char *url, sse_broker_t **out_broker,
                           char *problem)
{
    static const char scheme[] = "journal://";
    if (strncmp(url, scheme, strlen(scheme)) != 0 || url[strlen(scheme)] != '/') {
        snprintf(problem, PROBLEM_SIZE, "journal:// is followed by an absolute path");
        return APR_EINVAL;
    }
    journal_t *j = sse_calloc(1, sizeof *j);
    j->base.driver = &sse_broker_driver;
    j->base.env = *env;
    j->path = sse_strndup(url + strlen(scheme), strlen(url) - strlen(scheme));
    j->fd = -1;
    j->last_job = &j->jobs;
    uv_async_init(env->loop, &j->turn, on_turn);
    uv_timer_init(env->loop, &j->timer);
    j->turn.data = j->timer.data = j;
    j->open = 2;
    uv_async_send(&j->turn);
    *out_broker = &j->base;
    return APR_SUCCESS;
}

/* No presence: the hub's own view is the whole. No interest: all messages come. */
const sse_broker_driver_t sse_broker_driver = {.abi = SSE_BROKER_ABI,
                                               .scheme = "journal",
                                               .create = create,
                                               .stop = stop,
                                               .publish = call_publish,
                                               .connect = call_connect,
                                               .history = call_history,
                                               .subscribe = call_subscribe,
                                               .unsubscribe = call_unsubscribe,
                                               .record = call_record,
                                               .members_change = call_members_change,
                                               .members = call_members,
                                               .forget = call_forget,
                                               .disconnect = call_disconnect,
                                               .cursors = call_cursors,
                                               .tracking = call_tracking,
                                               .session_put = call_session_put,
                                               .session_get = call_session_get};
