/* SPDX-License-Identifier: Apache-2.0 */
/* Cache servers that answer nonsense, too much, too slowly or not at all: a look-up is unavailable
 * within its time-out and takes no more memory than its limit. The servers are threads of this
 * program that send canned bytes. */
#include "session_fixture.h"

#include "cmocka_all.h"

#include <apr_strings.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct rogue_t {
    int listener, port, stop[2];
    const char *answer;
    size_t n;
    size_t times; /* the answer is sent so often */
    bool drip;    /* a byte each 10 ms */
    bool hang;    /* keep the connection afterwards, else close */
    pthread_t thread;
} rogue_t;

/* True when the test is over, or after so many milliseconds. */
static bool stopped(const rogue_t *r, int ms)
{
    struct pollfd p = {.fd = r->stop[0], .events = POLLIN};
    return poll(&p, 1, ms) != 0;
}

static void answer(const rogue_t *r, int fd)
{
    char buf[4096];

    if (recv(fd, buf, sizeof buf, 0) <= 0)
        return;
    for (size_t t = 0; t < r->times; t++) {
        for (size_t done = 0; done < r->n;) {
            size_t step = r->drip ? 1 : r->n - done;
            ssize_t k = send(fd, r->answer + done, step, MSG_NOSIGNAL);
            if (k <= 0 || (r->drip && stopped(r, 10)))
                return;
            done += (size_t)k;
        }
    }
    if (r->hang)
        stopped(r, -1);
}

static void *rogue_main(void *arg)
{
    rogue_t *r = arg;

    for (;;) {
        struct pollfd p[2] = {{.fd = r->listener, .events = POLLIN},
                              {.fd = r->stop[0], .events = POLLIN}};
        int fd;

        poll(p, 2, -1);
        if (p[1].revents)
            return NULL;
        fd = accept(r->listener, NULL, NULL);
        if (fd < 0)
            continue;
        answer(r, fd);
        close(fd);
    }
}

static void rogue_start(rogue_t *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET};

    r->port = world_free_port();
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons((uint16_t)r->port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(r->listener, 16), 0);
    assert_int_equal(pipe(r->stop), 0);
    assert_int_equal(pthread_create(&r->thread, NULL, rogue_main, r), 0);
}

static void rogue_stop(rogue_t *r)
{
    close(r->stop[1]);
    pthread_join(r->thread, NULL);
    close(r->stop[0]);
    close(r->listener);
}

/* Unavailable (or, for a value that is merely too large, nobody), in time. */
static void expect_refusal(const char *scheme, rogue_t rogue, sse_who_t want)
{
    sse_session_conf_t conf;
    apr_time_t began;
    sse_who_t got;

    if (rogue.times == 0)
        rogue.times = 1;
    rogue_start(&rogue);
    fixture_site(
        &world, &conf, SSE_ENGINE_CACHE,
        apr_psprintf(world.test_pool, "%s://127.0.0.1:%d?timeout=300", scheme, rogue.port));
    began = apr_time_now();
    got = fixture_look_up(&world, &conf, NULL);
    if (got != want)
        fail_msg("%s, answer \"%.20s\": got %d", scheme, rogue.answer, got);
    assert_true(apr_time_now() - began < apr_time_from_sec(2));
    rogue_stop(&rogue);
}

#define CANNED(text) .answer = (text), .n = sizeof(text) - 1

static void rogue_redis(void **state)
{
    static const rogue_t garbage[] = {
        {CANNED("")},                            /* closes at once */
        {CANNED(""), .hang = true},              /* never answers */
        {CANNED("$10000\r\nabc"), .hang = true}, /* half an answer */
        {CANNED("$10000\r\nabc")},
        {CANNED("HTTP/1.1 400 Bad Request\r\n\r\n")},
        {CANNED("*1000000000\r\n"), .hang = true}, /* room for 10^9 elements */
        {CANNED("%1000000000\r\n"), .hang = true},
        {CANNED("$-1\r\n*1000000000\r\n"), .hang = true},
        {CANNED("-LOADING Redis is loading the dataset in memory\r\n:-2\r\n")},
        {CANNED("+OK\r\n:1\r\n")},
        {CANNED(":1\r\n:1\r\n")},
        {CANNED("$-1\r\n:-2\r\n"), .drip = true, .hang = true, .times = 1},
    };

    for (size_t i = 0; i + 1 < SSE_ARRAY_LEN(garbage); i++)
        expect_refusal("redis", garbage[i], SSE_WHO_UNAVAILABLE);
    /* Slow, but whole within the time. */
    expect_refusal("redis", garbage[SSE_ARRAY_LEN(garbage) - 1], SSE_WHO_ANONYMOUS);
    /* A time to live beyond reason, and a reply too many. */
    expect_refusal("redis", (rogue_t){CANNED("$2\r\n{}\r\n:9223372036854775807\r\n")},
                   SSE_WHO_ANONYMOUS);
    expect_refusal("redis", (rogue_t){CANNED("$-1\r\n:-2\r\n+OK\r\n")}, SSE_WHO_ANONYMOUS);
    /* Slower than the whole time allows, though each byte comes soon. */
    expect_refusal(
        "redis",
        (rogue_t){CANNED("$1000\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), .drip = true},
        SSE_WHO_UNAVAILABLE);
    /* Endless: broken off at the limit. */
    {
        static char much[65536] = "$2000000000\r\n";
        memset(much + 13, 'x', sizeof much - 13);
        expect_refusal("redis", (rogue_t){.answer = much, .n = sizeof much, .times = 1000},
                       SSE_WHO_ANONYMOUS);
    }
}

static void rogue_memcached(void **state)
{
    static const rogue_t garbage[] = {
        {CANNED("")},
        {CANNED(""), .hang = true},
        {CANNED("VA 5 t-1\r\nhel"), .hang = true},
        {CANNED("VA 5 t-1\r\nhelloXX\r\n")},
        {CANNED("VA -5 t-1\r\n")},
        {CANNED("VA x\r\n")},
        {CANNED("VA 3 tx\r\nabc\r\n")},
        {CANNED("SERVER_ERROR out of memory\r\n")},
        {CANNED("\n")},
        {CANNED("no line end, "), .times = 1000},
        {CANNED("VA 5 t-1\r\nhello\r\n"), .drip = true, .times = 10},
    };

    for (size_t i = 0; i + 1 < SSE_ARRAY_LEN(garbage); i++)
        expect_refusal("memcached", garbage[i], SSE_WHO_UNAVAILABLE);
    expect_refusal("memcached", (rogue_t){CANNED("VA 2000000000 t-1\r\n"), .hang = true},
                   SSE_WHO_ANONYMOUS);
    expect_refusal("memcached", (rogue_t){CANNED("EN\r\n")}, SSE_WHO_ANONYMOUS);
    /* A server without meta commands says ERROR; what it then says to "get" is taken. */
    expect_refusal("memcached", (rogue_t){CANNED("ERROR\r\nEND\r\n"), .hang = true},
                   SSE_WHO_ANONYMOUS);
    expect_refusal("memcached", (rogue_t){CANNED("ERROR\r\nERROR\r\n"), .hang = true},
                   SSE_WHO_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(rogue_redis),
        fixture_test(rogue_memcached),
    };

    return cmocka_run_group_tests(tests, fixture_group_begins, fixture_group_ends);
}
