/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps one hub running for as long as httpd runs. Everything here runs in the parent, in its one
 * thread, but for the fork handler, which runs in whatever the parent forks.
 *
 * States of the hub as the parent sees it: none -> running (start_hub) -> none (died: start_hub
 * again after a pause, or at the next look around where that failed; stopped: by stop_hub when the
 * configuration goes). */
#include "httpd/supervisor.h"

#include "core/fdpass.h"
#include "httpd/adminlisten.h"
#include "httpd/hubspawn.h"
#include "httpd/statedir.h"

#include <ap_mpm.h>
#include <apr_strings.h>
#include <errno.h>
#include <http_core.h>
#include <http_main.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unixd.h>

#define USERDATA_KEY "mod_sse:supervisor"
/* Raised whenever the struct changes: a newer module may find an older one's after a restart. */
#define LAYOUT 1

#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 5000
#define HEALTHY_LIFE apr_time_from_sec(10)
#define STOP_MS 10000

/* In the process pool: outlives the module's own code over a restart, so it holds no pointers into
 * it. */
typedef struct sse_supervisor_t {
    uint32_t layout;
    pid_t owner;       /* the parent; forked processes inherit a copy of no use */
    int rendezvous[2]; /* workers' end, hub's end */
    sse_adminlisten_t admin;
    pid_t hub;    /* 0: none */
    int hub_fd;   /* our end of the lifeline, -1: none */
    int pause_ms; /* before the next start */
    apr_time_t born;
} sse_supervisor_t;

/* How to start a hub of this configuration; in the configuration pool. */
typedef struct plan_t {
    apr_pool_t *pool;
    sse_hubspawn_t spawn;
    sse_str_t config; /* JSON */
    apr_proc_t proc;
    struct sigaction old_sigchld;
} plan_t;

static sse_supervisor_t *sup;
static plan_t *plan;
static bool spawning; /* the fork under way makes a hub */

static void maintain_hub(int reason, void *data, int status);

int sse_supervisor_rendezvous(void)
{
    return sup ? sup->rendezvous[0] : -1;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Only to interrupt the second that the parent sleeps between two looks at its children. */
static void wake(int number) {}

/* Runs in each process that the parent forks: workers keep the workers' end, all others (mod_cgid,
 * mod_wsgi's daemons) must not keep the hub's ends either: the hub would not see its parent die,
 * nor the lock of the admin socket be free. */
static void leave_to_parent(void)
{
    struct sigaction now;
    if (spawning || !sup)
        return;
    close_fd(&sup->rendezvous[1]);
    close_fd(&sup->hub_fd);
    close_fd(&sup->admin.fd);
    close_fd(&sup->admin.lock_fd);
    if (!sigaction(SIGCHLD, NULL, &now) && now.sa_handler == wake)
        signal(SIGCHLD, SIG_DFL);
}

static apr_status_t start_hub(server_rec *s, int pause_ms)
{
    int lifeline[2] = {-1, -1};
    int config_fd = -1;
    pid_t pid;
    apr_status_t rv = sse_fdpass_memfd("sse-hub.conf", plan->config, &config_fd);
    if (rv == APR_SUCCESS && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lifeline))
        rv = errno;
    if (rv == APR_SUCCESS) {
        plan->spawn.config_fd = config_fd;
        plan->spawn.rendezvous_fd = sup->rendezvous[1];
        plan->spawn.parent_fd = lifeline[1];
        plan->spawn.admin_fd = sup->admin.fd;
        plan->spawn.delay_ms = pause_ms;
        spawning = true;
        rv = sse_hubspawn_fork(&plan->spawn, &pid);
        spawning = false;
    }
    close_fd(&config_fd);
    close_fd(&lifeline[1]);
    if (rv != APR_SUCCESS) {
        close_fd(&lifeline[0]);
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "SSE0117: the hub cannot be started");
        return rv;
    }
    sup->hub = pid;
    sup->hub_fd = lifeline[0];
    sup->born = apr_time_now() + apr_time_from_msec(pause_ms);
    plan->proc.pid = pid;
    apr_proc_other_child_register(&plan->proc, maintain_hub, plan, NULL, plan->pool);
    return APR_SUCCESS;
}

/* `next` says what happens now. */
static void log_death(server_rec *s, pid_t pid, int status, const char *next)
{
    const char *how = "ended";
    int number = 0;
    if (status >= 0 && WIFSIGNALED(status)) {
        how = "was ended by signal";
        number = WTERMSIG(status);
    } else if (status >= 0 && WIFEXITED(status)) {
        how = "ended with status";
        number = WEXITSTATUS(status);
    }
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "SSE0118: the hub (pid %ld) %s %d; %s", (long)pid,
                 how, number, next);
}

/* The hub ended while httpd stops or restarts, which it was asked to; a fault on the way there is
 * no secret. */
static void note_end(pid_t pid, int status)
{
    bool asked_for = status < 0 || (WIFEXITED(status) && !WEXITSTATUS(status)) ||
                     (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    if (!asked_for)
        log_death(ap_server_conf, pid, status, "httpd was stopping it");
}

/* Next pause after a death: short for a hub that had lived, doubling for one that keeps dying. */
static int next_pause(void)
{
    if (apr_time_now() - sup->born >= HEALTHY_LIFE)
        sup->pause_ms = 0;
    sup->pause_ms = sup->pause_ms ? sup->pause_ms * 2 : FIRST_PAUSE_MS;
    if (sup->pause_ms > LONGEST_PAUSE_MS)
        sup->pause_ms = LONGEST_PAUSE_MS;
    return sup->pause_ms;
}

static void hub_died(int status)
{
    pid_t pid = sup->hub;
    int mpm_state = AP_MPMQ_RUNNING;
    sup->hub = 0;
    close_fd(&sup->hub_fd);
    apr_proc_other_child_unregister(plan);
    ap_mpm_query(AP_MPMQ_MPM_STATE, &mpm_state);
    if (mpm_state == AP_MPMQ_STOPPING) {
        note_end(pid, status);
        return;
    }
    int pause_ms = next_pause();
    char next[64];
    apr_snprintf(next, sizeof(next), "another is started in %d ms", pause_ms);
    log_death(ap_server_conf, pid, status, next);
    start_hub(ap_server_conf, pause_ms);
}

/* httpd's notice of what happened to an "other child". Unregistering calls it too. */
static void maintain_hub(int reason, void *data, int status)
{
    if (!sup->hub || sup->owner != getpid())
        return;
    if (reason == APR_OC_REASON_DEATH || reason == APR_OC_REASON_LOST)
        hub_died(reason == APR_OC_REASON_DEATH ? status : -1);
    else if (reason == APR_OC_REASON_RESTART) /* httpd stops or restarts: time to say goodbye */
        kill(sup->hub, SIGTERM);
}

int sse_supervisor_monitor(apr_pool_t *p, server_rec *s)
{
    if (plan && sup && !sup->hub && sup->owner == getpid())
        start_hub(s, 0);
    return OK;
}

/* True once the process has ended, which the end of its lifeline announces. */
static bool wait_for_end(pid_t pid, int fd, int timeout_ms)
{
    apr_time_t until = apr_time_now() + apr_time_from_msec(timeout_ms);
    for (bool alive = true;;) {
        int status;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended > 0)
            note_end(pid, status);
        if (ended)
            return true;
        int left = (int)apr_time_as_msec(until - apr_time_now());
        if (left <= 0)
            return false;
        /* Between the end of the lifeline and that of the process there are moments only. */
        struct pollfd p = {alive ? fd : -1, POLLIN, 0};
        char ready;
        if (poll(&p, 1, alive ? left : 5) == 1 && read(fd, &ready, 1) <= 0)
            alive = false;
    }
}

static void stop_hub(server_rec *s)
{
    pid_t pid = sup->hub;
    if (!pid)
        return;
    sup->hub = 0;
    kill(pid, SIGTERM);
    if (!wait_for_end(pid, sup->hub_fd, STOP_MS)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "SSE0119: the hub (pid %ld) did not end within %d s and is killed", (long)pid,
                     STOP_MS / 1000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    close_fd(&sup->hub_fd);
}

/* The configuration goes: httpd restarts (the admin socket stays for the next hub) or ends. */
static apr_status_t leave_configuration(void *data)
{
    if (!sup || sup->owner != getpid())
        return APR_SUCCESS;
    stop_hub(ap_server_conf);
    sigaction(SIGCHLD, &plan->old_sigchld, NULL);
    plan = NULL;
    return APR_SUCCESS;
}

/* httpd ends. Registered before all else of the process pool by code that a restart may unload, so
 * it is taken back with the configuration; at the end of httpd it runs before that. */
static apr_status_t leave_process(void *data)
{
    if (sup && sup->owner == getpid())
        sse_adminlisten_close(&sup->admin);
    return APR_SUCCESS;
}

static apr_status_t forget_leave_process(void *process_pool)
{
    apr_pool_cleanup_kill(process_pool, NULL, leave_process);
    return APR_SUCCESS;
}

int sse_supervisor_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    void *found = NULL;
    sup = NULL;
    apr_pool_userdata_get(&found, USERDATA_KEY, apr_pool_parent_get(pconf));
    if (found && ((sse_supervisor_t *)found)->layout == LAYOUT)
        sup = found;
    pthread_atfork(NULL, NULL, leave_to_parent);
    return OK;
}

static apr_status_t make_state(server_rec *s)
{
    apr_pool_t *pool = s->process->pool;
    if (sup)
        return APR_SUCCESS;
    sup = apr_pcalloc(pool, sizeof(*sup));
    sup->layout = LAYOUT;
    sup->owner = getpid();
    sup->admin.fd = sup->admin.lock_fd = sup->hub_fd = -1;
    apr_status_t rv = sse_fdpass_pair(sup->rendezvous);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s,
                     "SSE0124: the sockets between workers and hub cannot be made");
        sup = NULL;
        return rv;
    }
    /* This call copies the key, which lies in code that a restart unloads. */
    return apr_pool_userdata_set(sup, USERDATA_KEY, NULL, pool);
}

static int64_t default_parked_streams(void)
{
    int daemons = 0, threads = 0;
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    int64_t workers = (int64_t)daemons * (threads > 0 ? threads : 1);
    return workers > 4 ? workers / 4 : 1;
}

static sse_str_t hub_config(server_rec *s, const sse_global_conf_t *g, apr_pool_t *p)
{
    sse_hubconf_t conf = g->hub; /* its strings stay theirs */
    sse_buf_t json = {0};
    conf.broker = (char *)g->broker;
    conf.state_dir = (char *)g->state_dir;
    conf.driver_dir = (char *)g->driver_dir;
    conf.durability = (char *)g->durability;
    if (!g->parked_set)
        conf.parked_streams = default_parked_streams();
    conf.revocation_memory = g->longest_cache + apr_time_sec(s->timeout) + 1;
    int level = ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);
    conf.log_level = level < APLOG_CRIT ? APLOG_CRIT : level > APLOG_DEBUG ? APLOG_DEBUG : level;
    conf.rendezvous_fd = SSE_HUBSPAWN_RENDEZVOUS_FD;
    conf.parent_fd = SSE_HUBSPAWN_PARENT_FD;
    conf.admin_fd = sup->admin.fd >= 0 ? SSE_HUBSPAWN_ADMIN_FD : -1;
    conf.uid = sse_statedir_uid();
    sse_hubconf_write(&conf, &json);
    sse_str_t out = {apr_pmemdup(p, json.p, json.n), json.n};
    sse_buf_clear(&json);
    return out;
}

static void make_plan(server_rec *s, const sse_global_conf_t *g, apr_pool_t *p)
{
    plan = apr_pcalloc(p, sizeof(*plan));
    plan->pool = p;
    plan->config = hub_config(s, g, p);
    plan->spawn.program = g->hub_program;
    plan->spawn.max_streams = g->hub.max_streams;
    plan->spawn.drop = !geteuid();
    plan->spawn.uid = sse_statedir_uid();
    plan->spawn.gid = sse_statedir_gid();
    const struct passwd *user = getpwuid(plan->spawn.uid);
    plan->spawn.user_name = user ? apr_pstrdup(p, user->pw_name) : NULL;
}

int sse_supervisor_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                               server_rec *s)
{
    sse_global_conf_t *g = sse_config_global();
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    if (make_state(s) != APR_SUCCESS || sse_statedir_prepare(s, g, ptemp) != APR_SUCCESS ||
        sse_statedir_make_keys(s, g, pconf) != APR_SUCCESS ||
        sse_adminlisten_open(&sup->admin, s, g, ptemp) != APR_SUCCESS)
        return HTTP_INTERNAL_SERVER_ERROR;

    make_plan(s, g, pconf);
    struct sigaction action = {.sa_handler = wake, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    sigaction(SIGCHLD, &action, &plan->old_sigchld);
    apr_pool_pre_cleanup_register(s->process->pool, NULL, leave_process);
    apr_pool_cleanup_register(pconf, s->process->pool, forget_leave_process, apr_pool_cleanup_null);
    apr_pool_cleanup_register(pconf, NULL, leave_configuration, apr_pool_cleanup_null);
    sup->pause_ms = 0;
    return start_hub(s, 0) == APR_SUCCESS ? OK : HTTP_INTERNAL_SERVER_ERROR;
}
