# SPDX-License-Identifier: Apache-2.0
"""TLS streams that stay in httpd: relayed by one thread of a child under the event MPM, with back-pressure both ways and ends that
the client can tell from a cut; parked in their worker under the other MPMs."""

import contextlib
import json
import os
import pathlib
import re

import pytest
from event_stream import Connection, EventStream, request_bytes
from httpd_server import ADMIN, STREAM
from s_client import SClient
from tls_site import CBC, TlsSite, client_context
from waiting import wait_until

OFF = "SSETLSHandoff Off\n"
SMALL = "StartServers 1\nServerLimit 1\nThreadsPerChild 10\nMaxRequestWorkers 10\nMinSpareThreads 1\nMaxSpareThreads 10\nAsyncRequestWorkerFactor 20\n"


@pytest.fixture
def make_site(make_httpd):
    def make(mpm="event", server="", **more):
        return TlsSite(make_httpd(mpm), server=OFF + server, **more).start()

    return make


def streams_of(site):
    return site.admin().get("/presence")["streams"]


def threads_of(pid):
    return len(os.listdir("/proc/%d/task" % pid))


def test_many_streams_hold_no_threads(make_site):
    site = make_site(mpm_settings=SMALL, server="SSEHeartbeat 1")
    context = client_context()
    streams = [site.stream(tls=context) for _ in range(60)]
    for s in streams:
        s.opened()
    assert site.carried() == {"relayed": 60}
    assert site.fetch("/").text == "a plain page\n"
    workers = [pid for pid in site.httpd.family() if "apache2" in pathlib.Path("/proc/%d/comm" % pid).read_text()]
    # A child that has just begun has one more, which starts the others.
    wait_until(lambda: max(threads_of(pid) for pid in workers) <= 10 + 4, 10, "10 workers, listener, main, relay, and the look-ups' watch")
    for i in range(20):
        site.admin().publish("e", i)
    for s in streams:
        for i in range(20):
            s.expect("e", str(i))
    for s in streams:
        s.wait_comment(1)
        s.close()
    wait_until(lambda: streams_of(site) == 0, 10, "the hub has seen them go")


def test_bytes_of_all_sizes(make_site):
    site = make_site(server="SSEMaxMessageSize 1000000")
    for version, suite in (("1.3", None), ("1.2", None), ("1.2", CBC)):
        with site.stream(tls=client_context(version, suite)) as s:
            s.opened()
            texts = ["%d " % i + "x" * n for i, n in enumerate((0, 100, 16384, 200000, 900000))]
            for text in texts:
                site.admin().publish("e", text)
            for text in texts:
                s.expect("e", json.dumps(text))


def test_slow_reader_gets_all(make_site):
    site = make_site(server="SSEStreamBuffer 50000000\nSSEHeartbeat 0")
    n = 8000
    with site.stream(rcvbuf=8192, timeout=60) as s, site.stream() as quick:
        s.opened()
        quick.opened()
        with site.httpd.admin_socket() as admin:
            for i in range(0, n, 500):
                admin.call("POST", "/publish", [{"event": "e", "data": "%d %s" % (k, "s" * 1400)} for k in range(i, i + 500)])
        for i in range(n):
            assert quick.next().data.startswith('"%d ' % i)
        wait_until(lambda: sum(t["queued_bytes"] for t in site.admin().get("/status")["threads"]) > 1 << 20, 5, "it waits in the hub, not in httpd")
        for i in range(n):
            assert s.next().data.startswith('"%d ' % i)


def test_reader_that_does_not_read_is_ended(make_site):
    site = make_site(server="SSEStreamBuffer 65536\nSSEHeartbeat 0")
    with site.stream(rcvbuf=8192, timeout=30) as s:
        s.opened()
        with site.httpd.admin_socket() as admin:
            admin.call("POST", "/publish", [{"event": "e", "data": "%d %s" % (k, "s" * 1000)} for k in range(8000)])
        wait_until(lambda: sum(t["ended_slow"] for t in site.admin().get("/status")["threads"]) == 1, 20, "the hub gives it up")
        for i, event in enumerate(e for e in s.rest() if e.type == "e"):
            assert event.data.startswith('"%d ' % i)


@pytest.mark.parametrize("way", ["close", "reset", "unwrap"])
def test_client_that_goes_is_noticed(make_site, way):
    site = make_site()
    streams = [site.stream() for _ in range(5)]
    for s in streams:
        s.opened()
    assert streams_of(site) == 5
    for s in streams:
        if way == "unwrap":
            s.connection.sock.unwrap().close()
        else:
            getattr(s, way)()
    wait_until(lambda: streams_of(site) == 0, 5, "the hub has seen them go")


def test_key_updates_of_the_client_go_on(make_site):
    site = make_site()
    with SClient(site.address, "-tls1_3") as c:
        c.say("GET /events?event=e HTTP/1.1\r\nHost: localhost\r\n\r\n")
        c.wait("stream-open")
        assert site.carried() == {"relayed": 1}
        for i, command in enumerate("kKkK"):
            c.say(command + "\n")
            c.wait("KEYUPDATE")
            site.admin().publish("e", i)
            c.wait("data: %d\n\n" % i)


def test_chatter_is_dropped_and_flood_ends(make_site):
    site = make_site()
    connection = Connection(site.address, tls=client_context())
    connection.send(request_bytes("GET", "/events?event=e", []))
    with EventStream.on(connection) as s:
        s.opened()
        connection.send(b"x" * 1000)
        site.admin().publish("e", 1)
        s.expect("e", "1")
        with contextlib.suppress(OSError):  # the end may come before all of it is sent
            connection.send(b"x" * 100000)
        s.rest()
    wait_until(lambda: streams_of(site) == 0, 5, "the stream is gone")


def test_is_logged_when_it_ends(make_site):
    site = make_site()
    with site.stream() as s:
        s.opened()
        site.admin().publish("e", "y" * 5000)
        s.next()
        assert "GET /events" not in site.httpd.access_log.read_text()
    line = wait_until(lambda: re.search(r'.*"GET /events\?event=e HTTP/1.1" 200 (\d+).*', site.httpd.access_log.read_text()), 5, "the line")
    assert int(line.group(1)) > 5000


def test_short_streams_come_and_go(make_site):
    """The MPM's worker is hardly done with the connection when the client leaves: each is logged and let go once."""
    site = make_site()
    context = client_context()
    for i in range(150):
        s = site.stream(tls=context)
        if i % 3 == 0:
            s.opened()
        if i % 2:
            s.reset()
        else:
            s.close()
    logged = lambda: site.httpd.access_log.read_text().count('"GET /events?event=e HTTP/1.1" 200')  # noqa: E731
    wait_until(lambda: logged() >= 150, 10, "all have ended")
    assert logged() == 150
    wait_until(lambda: re.search("ConnsTotal: [01]$", site.httpd.fetch("/server-status?auto").text, re.M), 5, "httpd holds none of their connections")


def test_graceful_restart(make_site):
    site = make_site()
    for _ in range(3):
        streams = [site.stream() for _ in range(10)]
        for s in streams:
            s.opened()
        site.httpd.graceful()
        for s in streams:
            last = s.rest()[-1]
            assert (last.type, json.loads(last.data)["reason"]) == ("stream-end", "shutdown")
            assert not s.connection.cut


def test_child_that_ends_takes_leave(make_site):
    """MaxConnectionsPerChild: the child's streams end with what they had; the client resumes in another child."""
    site = make_site(mpm_settings=SMALL.replace("ServerLimit 1", "ServerLimit 4").replace("MaxRequestWorkers 10", "MaxRequestWorkers 40") + "MaxConnectionsPerChild 20\n")
    s = site.stream()
    s.opened()
    site.admin().publish("e", "before")
    s.expect("e", '"before"')
    for _ in range(25):
        site.fetch("/")
    last = s.rest()[-1]
    assert (last.type, json.loads(last.data)["reason"]) == ("stream-end", "shutdown")
    assert not s.connection.cut
    site.admin().publish("e", "between")
    with site.stream(headers={"Last-Event-ID": s.last_id}) as again:
        again.opened()
        again.expect("e", '"between"')


def test_hub_that_dies(make_site):
    import signal

    site = make_site()
    site.httpd.log.expect(r"SSE0118")
    streams = [site.stream() for _ in range(5)]
    for s in streams:
        s.opened()
    os.kill(site.httpd.hub_pid(), signal.SIGKILL)
    for s in streams:
        assert s.rest() == []
        assert not s.connection.cut


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_parked_where_nothing_suspends(make_site, mpm):
    """A quarter of the workers may be held; who comes later polls: gets what was missed, and comes back."""
    site = make_site(mpm, server="SSEParkedStreams 3\nSSERetry 200\nSSEPresenceGrace 0")
    streams = [site.stream() for _ in range(3)]
    for s in streams:
        s.opened()
    assert site.carried() == {"parked": 3}
    polled = site.stream()
    opened = polled.opened()
    assert polled.rest() == [] and 200 <= polled.retry <= 300
    site.admin().publish("e", "missed")
    for s in streams:
        s.expect("e", '"missed"')
    again = site.stream(headers={"Last-Event-ID": opened.id})
    assert [e.data for e in again.rest()] == ['{"resumed": true}', '"missed"']
    assert site.admin().get("/status")["streams"]["polled"] == 2
    streams[0].close()
    wait_until(lambda: streams_of(site) == 2, 5, "the place is free")
    with site.stream(headers={"Last-Event-ID": again.last_id}) as parked:
        parked.opened()
        site.admin().publish("e", "live")
        parked.expect("e", '"live"')
    site.httpd.stop()
