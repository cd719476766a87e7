/* SPDX-License-Identifier: Apache-2.0 */
/* See relay_loop.h. httpd's filters are entered here from a thread that is not httpd's, which is
 * right for a suspended connection: nobody else uses it. Nothing here blocks: a block from the hub
 * is read only when the client's socket has taken all before it. */
#include "httpd/relay_loop.h"

#include "core/tcppeer.h"
#include "httpd/config.h"

#include <ap_mpm.h>
#include <errno.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_request.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <util_filter.h>

/* The core filter blocks when much more than this waits in it. */
#define BLOCK 16384
/* What a client may send after its request before it is taken for broken. */
#define INPUT_MAX (64 * 1024)
#define EVENTS 128
#define LOOK_MS 1000
/* How long a client may take for the last bytes. */
#define DRAIN apr_time_from_sec(5)
/* After the hook that hands a connection over the MPM's worker writes two words into it: NULL as
 * its scoreboard handle, and that it is suspended. Nothing tells when that is done, so a connection
 * lives on until the first is seen and this long beyond. */
#define SETTLE apr_time_from_sec(1)

/* The child's loop. `incoming` and `started` are under the mutex, the rest is the thread's own. */
static struct {
    pthread_mutex_t mutex;
    bool started;
    sse_relay_t *incoming;
    atomic_bool quit;
    pthread_t thread;
    int epoll, wake;
    sse_relay_t *open, *dead;
    apr_time_t look_at; /* when the open ones are looked at again */
} loop = {.mutex = PTHREAD_MUTEX_INITIALIZER, .epoll = -1, .wake = -1};

/* ---- the connection ---- */

/* Where plain bytes become what goes to the network: past mod_ssl's filter that holds back small
 * writes. */
static ap_filter_t *entry(const conn_rec *c)
{
    for (ap_filter_t *f = c->output_filters; f; f = f->next)
        if (!strcasecmp(f->frec->name, "ssl/tls filter"))
            return f;
    return c->output_filters;
}

/* Lets the network filter write what it holds, as far as the socket takes it. */
static bool push_out(conn_rec *c)
{
    ap_filter_t *last = c->output_filters;
    while (last->next)
        last = last->next;
    return last->frec->filter_func.out_func(last, NULL) == APR_SUCCESS && !c->aborted;
}

static bool pass(sse_relay_t *relay, ap_filter_t *to, apr_bucket *b)
{
    APR_BRIGADE_INSERT_TAIL(relay->bb, b);
    apr_status_t rv = ap_pass_brigade(to, relay->bb);
    apr_brigade_cleanup(relay->bb);
    return rv == APR_SUCCESS && !relay->c->aborted;
}

static bool write_out(sse_relay_t *relay, const char *p, size_t n)
{
    conn_rec *c = relay->c;
    relay->r->bytes_sent += (apr_off_t)n;
    return pass(relay, entry(c), apr_bucket_transient_create(p, n, c->bucket_alloc)) && push_out(c);
}

/* What the client says is read, since TLS may need it, and dropped. False at its end. */
static bool read_away(sse_relay_t *relay)
{
    conn_rec *c = relay->c;
    for (;;) {
        apr_off_t n = 0;
        apr_status_t rv = ap_get_brigade(c->input_filters, relay->bb, AP_MODE_READBYTES,
                                         APR_NONBLOCK_READ, BLOCK);
        if (rv == APR_SUCCESS)
            rv = apr_brigade_length(relay->bb, 1, &n);
        bool eos = !APR_BRIGADE_EMPTY(relay->bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(relay->bb));
        apr_brigade_cleanup(relay->bb);
        relay->input += (size_t)n;
        if (eos || relay->input > INPUT_MAX)
            return false;
        if (rv != APR_SUCCESS)
            return APR_STATUS_IS_EAGAIN(rv);
        if (n == 0)
            return true;
    }
}

/* ---- the set ---- */

/* The address of a relay with a bit that says which of its descriptors it is. */
static void watch(sse_relay_t *relay, int op, bool hub, uint32_t events)
{
    struct epoll_event ev = {.events = events};
    ev.data.u64 = (uint64_t)(uintptr_t)relay | (hub ? 1 : 0);
    epoll_ctl(loop.epoll, op, hub ? relay->hub : relay->client, &ev);
}

/* Back-pressure both ways: the hub is read while the client has taken everything. */
static void adjust(sse_relay_t *relay, int op)
{
    bool holds = relay->c->data_in_output_filters;
    watch(relay, op, false, EPOLLIN | EPOLLRDHUP | (holds ? EPOLLOUT : 0u));
    if (relay->hub >= 0)
        watch(relay, op, true, holds ? 0u : EPOLLIN);
}

static void link_to(sse_relay_t **list, sse_relay_t *relay)
{
    relay->next = *list;
    relay->prev = list;
    if (*list)
        (*list)->prev = &relay->next;
    *list = relay;
}

static void unlink_from(sse_relay_t *relay)
{
    *relay->prev = relay->next;
    if (relay->next)
        relay->next->prev = relay->prev;
}

static void close_hub(sse_relay_t *relay)
{
    if (relay->hub >= 0)
        close(relay->hub); /* leaves the set by itself: nobody else holds it */
    relay->hub = -1;
}

/* Ends the stream. `clean`: the client is told so by TLS where it can still be. */
static void end(sse_relay_t *relay, bool clean)
{
    conn_rec *c = relay->c;
    close_hub(relay);
    watch(relay, EPOLL_CTL_DEL, false, 0);
    if (clean && !c->aborted && pass(relay, entry(c), ap_bucket_eoc_create(c->bucket_alloc)))
        push_out(c);
    else
        c->aborted = 1;
    shutdown(relay->client, SHUT_RDWR);
    relay->state = SSE_RELAY_DEAD;
    unlink_from(relay);
    link_to(&loop.dead, relay);
}

static bool settled(sse_relay_t *relay, apr_time_t now)
{
    if (!relay->settles_at && !__atomic_load_n(&relay->c->sbh, __ATOMIC_ACQUIRE))
        relay->settles_at = now + SETTLE;
    return relay->settles_at && relay->settles_at <= now;
}

/* The last act: the request is logged, the connection goes. */
static void bury(sse_relay_t *relay)
{
    conn_rec *c = relay->c;
    unlink_from(relay);
    pass(relay, c->output_filters, ap_bucket_eor_create(c->bucket_alloc, relay->r));
    apr_pool_destroy(c->pool);
}

/* ---- events ---- */

static void hub_is_through(sse_relay_t *relay)
{
    close_hub(relay);
    if (!relay->c->data_in_output_filters) {
        end(relay, true);
        return;
    }
    relay->state = SSE_RELAY_DRAINING;
    relay->give_up_at = apr_time_now() + DRAIN;
}

static void on_hub(sse_relay_t *relay)
{
    char block[BLOCK];
    if (relay->hub < 0 || relay->c->data_in_output_filters)
        return;
    ssize_t n = recv(relay->hub, block, sizeof(block), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hub_is_through(relay);
    } else if (!write_out(relay, block, (size_t)n)) {
        end(relay, false);
    } else if (relay->c->data_in_output_filters) {
        adjust(relay, EPOLL_CTL_MOD);
    }
}

static void on_client(sse_relay_t *relay, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP) || (events & (EPOLLIN | EPOLLRDHUP) && !read_away(relay)) ||
        events & EPOLLRDHUP) {
        end(relay, !(events & (EPOLLERR | EPOLLHUP)));
        return;
    }
    if (!(events & EPOLLOUT) || !relay->c->data_in_output_filters)
        return;
    if (!push_out(relay->c)) {
        end(relay, false);
    } else if (!relay->c->data_in_output_filters) {
        if (relay->state == SSE_RELAY_DRAINING)
            end(relay, true);
        else
            adjust(relay, EPOLL_CTL_MOD);
    }
}

static void take_incoming(void)
{
    uint64_t count;
    if (read(loop.wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    pthread_mutex_lock(&loop.mutex);
    sse_relay_t *taken = loop.incoming;
    loop.incoming = NULL;
    pthread_mutex_unlock(&loop.mutex);
    while (taken) {
        sse_relay_t *relay = taken;
        taken = relay->next;
        link_to(&loop.open, relay);
        adjust(relay, EPOLL_CTL_ADD);
    }
}

/* The child stops. Half a close asks the hub to take leave of the client; what it writes still goes
 * out, and its own close is the end. */
static void stop_all(void)
{
    int state = AP_MPMQ_RUNNING;
    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    if (state != AP_MPMQ_STOPPING)
        return;
    for (sse_relay_t *relay = loop.open; relay; relay = relay->next) {
        if (relay->stopped)
            continue;
        relay->stopped = true;
        relay->give_up_at = apr_time_now() + DRAIN;
        if (relay->hub >= 0)
            shutdown(relay->hub, SHUT_WR);
    }
}

/* Whether the client still answers the kernel. */
static bool is_there(sse_relay_t *relay)
{
    if (sse_tcppeer_unacknowledged(relay->client) > 0)
        return sse_tcppeer_there(relay->client, relay->heartbeat, &relay->stalled);
    sse_tcppeer_taken(relay->client, relay->heartbeat, &relay->stalled);
    return true;
}

static void look_at_open(apr_time_t now)
{
    sse_relay_t *next;
    stop_all();
    for (sse_relay_t *relay = loop.open; relay; relay = next) {
        next = relay->next;
        (void)settled(relay, now);
        if ((relay->give_up_at && relay->give_up_at <= now) || !is_there(relay))
            end(relay, false);
    }
}

static void look_around(void)
{
    apr_time_t now = apr_time_now();
    sse_relay_t *next;
    if (now >= loop.look_at) {
        loop.look_at = now + apr_time_from_msec(LOOK_MS);
        look_at_open(now);
    }
    for (sse_relay_t *relay = loop.dead; relay; relay = next) {
        next = relay->next;
        if (settled(relay, now))
            bury(relay);
    }
}

static void *run(void *unused)
{
    struct epoll_event events[EVENTS];
    while (!atomic_load(&loop.quit)) {
        int n = epoll_wait(loop.epoll, events, EVENTS, loop.open || loop.dead ? LOOK_MS : -1);
        for (int i = 0; i < n; i++) {
            sse_relay_t *relay = (sse_relay_t *)(uintptr_t)(events[i].data.u64 & ~UINT64_C(1));
            /* The dead stay in memory until the batch is through. */
            if (!relay)
                take_incoming();
            else if (relay->state == SSE_RELAY_DEAD)
                continue;
            else if (events[i].data.u64 & 1)
                on_hub(relay);
            else
                on_client(relay, events[i].events);
        }
        look_around();
    }
    return NULL;
}

/* ---- life ---- */

static void wake(void)
{
    uint64_t one = 1;
    if (write(loop.wake, &one, sizeof(one)) < 0)
        return; /* it is awake enough */
}

/* Before anything of the child's pool goes: connections that are left go with it. */
static apr_status_t stop(void *unused)
{
    if (!loop.started)
        return APR_SUCCESS;
    atomic_store(&loop.quit, true);
    wake();
    pthread_join(loop.thread, NULL);
    close(loop.epoll);
    close(loop.wake);
    loop.started = false;
    return APR_SUCCESS;
}

void sse_relay_loop_child_init(apr_pool_t *child_pool)
{
    apr_pool_pre_cleanup_register(child_pool, NULL, stop);
}

static apr_status_t start_locked(void)
{
    sigset_t all, before;
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    loop.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN};
    if (loop.epoll < 0 || loop.wake < 0 || epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.wake, &ev)) {
        apr_status_t rv = errno;
        if (loop.epoll >= 0)
            close(loop.epoll);
        if (loop.wake >= 0)
            close(loop.wake);
        return rv;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rv = pthread_create(&loop.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rv) {
        close(loop.epoll);
        close(loop.wake);
        return rv;
    }
    loop.started = true;
    return APR_SUCCESS;
}

apr_status_t sse_relay_loop_start(void)
{
    pthread_mutex_lock(&loop.mutex);
    apr_status_t rv = loop.started ? APR_SUCCESS : start_locked();
    pthread_mutex_unlock(&loop.mutex);
    return rv;
}

void sse_relay_loop_take_post(sse_relay_t *relay)
{
    pthread_mutex_lock(&loop.mutex);
    relay->next = loop.incoming;
    loop.incoming = relay;
    pthread_mutex_unlock(&loop.mutex);
    wake();
}
