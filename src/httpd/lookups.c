/* SPDX-License-Identifier: Apache-2.0 */
/* Slots that hold the pid of their user, since a child may die with one, and watched connections
 * that a thread of the child looks at. Neither takes a lock that a signal handler of a
 * single-threaded child, which ends the child where it stands, could find held. */
#include "httpd/lookups.h"

#include <ap_mpm.h>
#include <apr_shm.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <fcntl.h>
#include <http_log.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* While look-ups come to an end, waiting for one is worth while. */
#define SLOT_WAIT apr_time_from_msec(1000)
#define STUCK_AFTER apr_time_from_sec(2)
/* Between two looks at slots that other processes give back. */
#define SHARED_STEP apr_time_from_msec(20)
/* Between two looks at watched connections; after this many without any the thread sleeps. */
#define WATCH_STEP_MS 250
#define WATCH_IDLE_STEPS 40

typedef struct slots_t {
    _Atomic(apr_time_t) last_end; /* of a look-up, or when the first of those under way began */
    atomic_int used;
    int n;
    atomic_int pids[]; /* 0: free */
} slots_t;

typedef enum watch_state_t { WATCH_FREE, WATCH_CLAIMED, WATCH_ARMED, WATCH_CLOSING } watch_state_t;

struct sse_watch_t {
    atomic_int state; /* watch_state_t; CLOSING belongs to the thread, then to the waiter */
    atomic_bool closed;
    int fd; /* a duplicate: its number is nobody else's meanwhile */
    apr_time_t deadline;
};

static slots_t *shared; /* made by the parent for its children; NULL: each has its own */

static struct {
    slots_t *slots;
    apr_thread_mutex_t *mutex; /* with slot_free: threads wait for slots of their own child */
    apr_thread_cond_t *slot_free;
    sse_watch_t watches[SSE_LOOKUPS_MAX];
    pthread_t thread;
    atomic_bool running, asleep, stop;
    sem_t wake;
} child;

/* Not the time of day, which may jump. */
static apr_time_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (apr_time_t)ts.tv_sec * APR_USEC_PER_SEC + ts.tv_nsec / 1000;
}

static size_t slots_size(int n)
{
    return sizeof(slots_t) + (size_t)n * sizeof(atomic_int);
}

int sse_lookups_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int threads = 0, daemons = 0;
    apr_shm_t *shm;
    shared = NULL;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &daemons);
    if (threads > 1)
        return OK;
    int n = daemons / 4 > SSE_LOOKUPS_MAX ? daemons / 4 : SSE_LOOKUPS_MAX;
    apr_status_t rv = apr_shm_create(&shm, slots_size(n), NULL, pconf);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s,
                     "SSE0126: the memory for look-ups that children share cannot be made");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    shared = apr_shm_baseaddr_get(shm);
    memset(shared, 0, slots_size(n));
    shared->n = n;
    return OK;
}

/* ---- slots ---- */

static bool claim(slots_t *slots, pid_t pid)
{
    for (int i = 0; i < slots->n; i++) {
        int free_slot = 0;
        if (atomic_compare_exchange_strong(&slots->pids[i], &free_slot, pid))
            return true;
    }
    return false;
}

/* Takes back what children that died had. */
static bool reclaim(slots_t *slots)
{
    bool any = false;
    for (int i = 0; i < slots->n; i++) {
        int pid = atomic_load(&slots->pids[i]);
        if (pid && kill(pid, 0) && errno == ESRCH &&
            atomic_compare_exchange_strong(&slots->pids[i], &pid, 0)) {
            atomic_fetch_sub(&slots->used, 1);
            any = true;
        }
    }
    return any;
}

static bool take(slots_t *slots)
{
    pid_t pid = getpid();
    if (!claim(slots, pid) && !(shared && reclaim(slots) && claim(slots, pid)))
        return false;
    if (!atomic_fetch_add(&slots->used, 1))
        atomic_store(&slots->last_end, clock_now());
    return true;
}

static bool worth_waiting(const slots_t *slots, apr_time_t now, apr_time_t until)
{
    return now < until && now - atomic_load(&slots->last_end) <= STUCK_AFTER;
}

bool sse_lookups_begin(void)
{
    apr_time_t until = clock_now() + SLOT_WAIT, now;
    if (shared) {
        bool got;
        while (!(got = take(shared)) && worth_waiting(shared, clock_now(), until))
            apr_sleep(SHARED_STEP);
        return got;
    }
    apr_thread_mutex_lock(child.mutex);
    bool got;
    while (!(got = take(child.slots)) && worth_waiting(child.slots, now = clock_now(), until))
        apr_thread_cond_timedwait(child.slot_free, child.mutex, until - now);
    apr_thread_mutex_unlock(child.mutex);
    return got;
}

static bool release(slots_t *slots)
{
    for (int i = 0; i < slots->n; i++) {
        int pid = getpid();
        if (atomic_compare_exchange_strong(&slots->pids[i], &pid, 0)) {
            atomic_fetch_sub(&slots->used, 1);
            return true;
        }
    }
    return false;
}

void sse_lookups_end(void)
{
    atomic_store(&child.slots->last_end, clock_now());
    if (shared) {
        release(shared);
        return;
    }
    apr_thread_mutex_lock(child.mutex);
    release(child.slots);
    apr_thread_cond_signal(child.slot_free);
    apr_thread_mutex_unlock(child.mutex);
}

/* ---- watched connections ---- */

/* True if there was any. */
static bool look(void)
{
    apr_time_t now = clock_now();
    bool any = false;
    for (size_t i = 0; i < SSE_LOOKUPS_MAX; i++) {
        sse_watch_t *w = &child.watches[i];
        int state = atomic_load(&w->state);
        any = any || state != WATCH_FREE;
        if (state != WATCH_ARMED || now < w->deadline ||
            !atomic_compare_exchange_strong(&w->state, &state, WATCH_CLAIMED))
            continue;
        shutdown(w->fd, SHUT_RDWR);
        atomic_store(&w->closed, true);
        atomic_store(&w->state, WATCH_CLOSING);
    }
    return any;
}

static void *watch_thread(void *unused)
{
    int idle = 0;
    while (!atomic_load(&child.stop)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WATCH_STEP_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (idle >= WATCH_IDLE_STEPS) {
            atomic_store(&child.asleep, true);
            if (!look())
                while (sem_wait(&child.wake) && errno == EINTR)
                    ;
            atomic_store(&child.asleep, false);
            idle = 0;
        } else {
            sem_timedwait(&child.wake, &until);
        }
        idle = look() ? 0 : idle + 1;
    }
    return NULL;
}

/* Signals are for httpd's own threads. */
static void start_thread(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!pthread_create(&child.thread, NULL, watch_thread, NULL))
        atomic_store(&child.running, true);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The child ends; on prefork perhaps in a signal handler, in the middle of a look-up. */
static apr_status_t leave_child(void *data)
{
    if (atomic_exchange(&child.running, false)) {
        atomic_store(&child.stop, true);
        sem_post(&child.wake);
        pthread_join(child.thread, NULL);
    }
    while (shared && release(shared))
        ;
    return APR_SUCCESS;
}

void sse_lookups_child_init(apr_pool_t *child_pool)
{
    memset(&child, 0, sizeof child);
    child.slots = shared;
    if (!shared) {
        child.slots = apr_pcalloc(child_pool, slots_size(SSE_LOOKUPS_MAX));
        child.slots->n = SSE_LOOKUPS_MAX;
    }
    apr_thread_mutex_create(&child.mutex, APR_THREAD_MUTEX_DEFAULT, child_pool);
    apr_thread_cond_create(&child.slot_free, child_pool);
    sem_init(&child.wake, 0, 0);
    start_thread();
    apr_pool_cleanup_register(child_pool, NULL, leave_child, apr_pool_cleanup_null);
}

sse_watch_t *sse_lookups_watch(int fd, apr_time_t patience)
{
    if (fd < 0 || !atomic_load(&child.running))
        return NULL;
    for (size_t i = 0; i < SSE_LOOKUPS_MAX; i++) {
        sse_watch_t *w = &child.watches[i];
        int expected = WATCH_FREE;
        if (!atomic_compare_exchange_strong(&w->state, &expected, WATCH_CLAIMED))
            continue;
        w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        w->deadline = clock_now() + patience;
        atomic_store(&w->closed, false);
        atomic_store(&w->state, w->fd < 0 ? WATCH_FREE : WATCH_ARMED);
        if (w->fd < 0)
            return NULL;
        if (atomic_exchange(&child.asleep, false))
            sem_post(&child.wake);
        return w;
    }
    return NULL;
}

bool sse_lookups_unwatch(sse_watch_t *w)
{
    int expected = WATCH_ARMED;
    if (!w)
        return false;
    /* The thread may be closing it right now, which takes it a moment. */
    while (!atomic_compare_exchange_strong(&w->state, &expected, WATCH_CLAIMED)) {
        if (expected == WATCH_CLOSING)
            break;
        expected = WATCH_ARMED;
        sched_yield();
    }
    bool closed = atomic_load(&w->closed);
    close(w->fd);
    atomic_store(&w->state, WATCH_FREE);
    return closed;
}
