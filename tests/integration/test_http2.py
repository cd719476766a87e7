# SPDX-License-Identifier: Apache-2.0
"""HTTP/2, where a stream cannot leave httpd: some are parked in a worker, the rest polls, pages always have workers, and every
event arrives. And the virtual host that keeps streams on HTTP/1.1 beside an HTTP/2 site."""

import json
import select
import subprocess
import time

import pytest
from event_parser import EventParser
from h2_crowd import Crowd
from httpd_server import ADMIN, BASIC, STREAM, basic
from tls_site import TlsSite, certificates, client_context
from waiting import wait_until

H2 = "Protocols h2 h2c http/1.1\n"
FIFTY = "StartServers 2\nServerLimit 2\nThreadsPerChild 25\nMaxRequestWorkers 50\nMinSpareThreads 25\nMaxSpareThreads 50\n"
# Idle HTTP/2 connections between two polls count here: (factor + 1) * 50 of them.
FIFTY += "AsyncRequestWorkerFactor 15\n"


@pytest.fixture
def make_site(make_httpd):
    def make(server="", **more):
        return TlsSite(make_httpd(), server=H2 + server, modules=["http2"], **more).start()

    return make


class Piped:
    """A client as a process whose output is an event stream."""

    def __init__(self, *command):
        self.parser = EventParser()
        self.process = subprocess.Popen(["stdbuf", "-o0", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._taken = 0

    def next(self):
        while self._taken >= len(self.parser.events):
            assert select.select([self.process.stdout], [], [], 20)[0], "nothing came in time"
            chunk = self.process.stdout.read1(65536)
            assert chunk, "the client ended"
            self.parser.feed(chunk)
        self._taken += 1
        return self.parser.events[self._taken - 1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


def clients(site):
    url = "https://localhost:%d/events?event=e" % site.port
    clear = "http://localhost:%d/events?event=e" % site.httpd.port
    ca = ["--cacert", str(certificates() / "ca.pem"), "-sN", "--max-time", "60"]
    return {
        "curl --http2": ["curl", *ca, "--http2", url],
        "curl h2c upgrade": ["curl", *ca, "--http2", clear],
        "curl h2c prior knowledge": ["curl", *ca, "--http2-prior-knowledge", clear],
        "nghttp": ["nghttp", "--no-verify-peer", "-t", "60", url],
    }


@pytest.mark.parametrize("client", ["curl --http2", "curl h2c upgrade", "curl h2c prior knowledge", "nghttp"])
def test_parked_stream(make_site, client):
    site = make_site(server="SSEParkedStreams 4")
    with Piped(*clients(site)[client]) as c:
        assert c.next().type == "stream-open"
        assert site.carried() == {"parked": 1}
        with site.httpd.admin_socket() as admin:
            for i in range(1000):
                admin.call("POST", "/publish", {"event": "e", "data": i})
        for i in range(1000):
            assert c.next().data == str(i)
    wait_until(lambda: site.admin().get("/presence")["streams"] == 0, 10, "the hub has seen it go")


def test_head(make_site):
    site = make_site()
    done = subprocess.run(
        ["curl", "--cacert", str(certificates() / "ca.pem"), "-sI", "--http2", "https://localhost:%d/events?event=e" % site.port],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    head = done.stdout.lower()
    assert head.startswith("http/2 200") and "content-type: text/event-stream" in head
    assert "connection:" not in head and "transfer-encoding" not in head


def test_places_are_given_back(make_site):
    site = make_site(server="SSEParkedStreams 2\nSSERetry 300\nSSEHeartbeat 1")
    command = clients(site)["curl --http2"]
    for _ in range(3):
        with Piped(*command) as a, Piped(*command) as b:
            a.next()
            b.next()
            polled = subprocess.run(command, capture_output=True, text=True, timeout=20)
            assert "stream-open" in polled.stdout and "stream-end" not in polled.stdout
        wait_until(lambda: site.admin().get("/status")["streams"]["carried"]["parked"]["open"] == 0, 10, "both places are free")


def test_who_polls_is_online_until_overdue(make_site):
    locations = "<Location /events>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n" + ADMIN
    site = make_site(server="SSEParkedStreams 0\nSSERetry 1000\nSSEPresenceGrace 1", locations=locations)
    site.httpd.add_users("ann")
    admin = site.admin()
    command = [*clients(site)["curl --http2"], "-H", "Authorization: " + basic("ann")["Authorization"]]
    assert not admin.get("/presence/users/ann")["online"]
    began = time.monotonic()
    for _ in range(2):
        subprocess.run(command, check=True, capture_output=True)
        assert admin.get("/presence/users/ann")["online"]
        assert admin.get("/presence/users")["users"] == ["ann"]
    wait_until(lambda: not admin.get("/presence/users/ann")["online"], 10, "overdue")
    assert time.monotonic() - began > 1.5, "retry with its jitter, then the grace"


def test_poll_brings_what_was_missed(make_site):
    site = make_site(server="SSEParkedStreams 0\nSSERetry 1000")
    command = clients(site)["curl --http2"]
    parser = EventParser()
    parser.feed(subprocess.run(command, check=True, capture_output=True).stdout)
    assert [e.type for e in parser.events] == ["stream-open"] and 1000 <= parser.retry <= 1500
    for i in range(100):
        site.admin().publish("e", i)
    later = EventParser()
    later.feed(subprocess.run([*command, "-H", "Last-Event-ID: " + parser.last_id], check=True, capture_output=True).stdout)
    assert [json.loads(e.data) for e in later.events] == [{"resumed": True}, *range(100)]
    empty = EventParser()
    empty.feed(subprocess.run([*command, "-H", "Last-Event-ID: " + later.last_id], check=True, capture_output=True).stdout)
    assert [e.type for e in empty.events] == ["stream-open"] and empty.last_id == later.last_id


def test_five_hundred_sources_on_fifty_workers(make_site):
    site = make_site(mpm_settings=FIFTY, server="SSERetry 2000\nKeepAliveTimeout 30\nTimeout 60\nMaxKeepAliveRequests 0\n")
    # httpd says that it is near MaxRequestWorkers; mod_http2, that a client left before its answer.
    site.httpd.log.allow(r"AH0048[45]|AH10159|http2:warn.*in state CLOSED")
    n, events = 500, 20
    with Crowd(site.address, client_context(alpn=["h2"]), n) as crowd:
        wait_until(lambda: all(s.last_id for s in crowd.sources) or crowd.problem, 90, "all are in")
        assert site.carried() == {"parked": 12}
        slowest = 0.0
        for i in range(events):
            site.admin().publish("e", i)
            began = time.monotonic()
            assert site.fetch("/", timeout=20).text == "a plain page\n"
            slowest = max(slowest, time.monotonic() - began)
        wait_until(lambda: all(len(s.of("e")) >= events for s in crowd.sources) or crowd.problem, 60, "all have all")
        assert crowd.problem is None
        for s in crowd.sources:
            assert s.of("e") == [str(i) for i in range(events)]
            assert set(s.statuses) == {"200"}
        assert sum(1 for s in crowd.sources if s.requests == 1) == 12
        print("slowest page %.2f s" % slowest)


def test_graceful_restart_ends_them(make_site):
    site = make_site(server="SSEParkedStreams 4")
    with Piped(*clients(site)["curl --http2"]) as c:
        c.next()
        site.httpd.graceful()
        last = c.next()
        assert (last.type, json.loads(last.data)["reason"]) == ("stream-end", "shutdown")
    site.httpd.log.allow(r"AH03490|AH00045")


def test_streams_on_a_host_of_their_own(make_site):
    """What docs/operations.md shows: the site speaks HTTP/2, its streams' host HTTP/1.1 only, and there no worker is held."""
    hosts = [("one.test", H2), ("two.test", "Protocols http/1.1\n")]
    site = make_site(server="SSEParkedStreams 0", hosts=hosts, locations=STREAM.replace("SSEAnonymous", "SSEAllowOrigin https://one.test\n    SSEAnonymous") + ADMIN)
    offers = client_context(alpn=["h2", "http/1.1"])
    with site.stream(tls=offers, server_name="two.test", headers={"Host": "two.test", "Origin": "https://one.test"}) as s:
        assert s.connection.sock.selected_alpn_protocol() == "http/1.1"
        assert s.head.get("access-control-allow-origin") == "https://one.test"
        s.opened()
        site.admin().publish("e", 1)
        s.expect("e", "1")
        assert site.carried() == {"tls": 1}
