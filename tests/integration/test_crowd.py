# SPDX-License-Identifier: Apache-2.0
"""5 000 open streams on MaxRequestWorkers 50, normal pages at the same time."""

import json
import os
import resource
import select
import signal
import socket
import time

import pytest
from event_parser import EventParser
from event_stream import request_bytes
from waiting import wait_until

STREAMS = 5000
MPM = "StartServers 2\nThreadsPerChild 25\nMinSpareThreads 25\nMaxSpareThreads 50\nMaxRequestWorkers 50\nMaxConnectionsPerChild 0\nListenBacklog 2048\n"


@pytest.fixture
def server(make_httpd):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = make_httpd()
    server.log.allow("AH00484|AH10159")  # all fifty workers were busy for a moment, or nearly: that is the point
    yield server.configure(server="SSEHeartbeat 60\nSSEMaxAge 900", mpm_settings=MPM).start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Many clients in one thread; of each the whole text is kept and parsed at the end."""

    def __init__(self, address, count):
        self.poll = select.epoll()
        self.text = {}
        self.socks = {}
        request = request_bytes("GET", "/events?event=crowd", [("Accept", "text/event-stream")])
        for _ in range(count):
            s = socket.socket()
            s.settimeout(30)
            s.connect(address)
            s.send(request)
            s.setblocking(False)
            self.socks[s.fileno()] = s
            self.text[s.fileno()] = b""
            self.poll.register(s.fileno(), select.EPOLLIN)
            self._take(0)

    def _take(self, timeout):
        for fd, _ in self.poll.poll(timeout):
            try:
                chunk = self.socks[fd].recv(65536)
            except BlockingIOError:
                continue
            if not chunk:
                self.poll.unregister(fd)
            self.text[fd] += chunk

    def wait_for(self, mark, timeout):
        """Until every client has got `mark`; returns how long the last one took."""
        began = time.monotonic()
        while True:
            missing = sum(1 for text in self.text.values() if mark not in text)
            if not missing:
                return time.monotonic() - began
            assert time.monotonic() - began < timeout, "%d of %d clients lack %r" % (missing, len(self.text), mark)
            self._take(0.2)

    def events(self):
        for text in self.text.values():
            head, _, body = text.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            parser = EventParser()
            parser.feed(body)
            yield parser.events

    def close(self):
        for s in self.socks.values():
            s.close()
        self.poll.close()


def test_five_thousand_streams_on_fifty_workers(server):
    admin = server.admin()
    crowd = Crowd(server.address, STREAMS)
    crowd.wait_for(b"stream-open", 60)
    wait_until(lambda: admin.get("/presence")["streams"] == STREAMS, 10, "all are counted")
    ids = []
    for n in range(5):
        ids.append(admin.publish("crowd", {"n": n}))
        assert server.fetch("/index.html", timeout=10).body == b"a plain page\n"
    crowd.wait_for(b'{"n":4}', 30)
    for events in crowd.events():
        assert [e.id for e in events if e.type == "crowd"] == ids
        assert [json.loads(e.data)["n"] for e in events if e.type == "crowd"] == list(range(5))
    status = dict(line.split(": ", 1) for line in server.fetch("/server-status?auto").text.splitlines() if ": " in line)
    assert int(status["BusyWorkers"]) <= 2, status
    began = time.monotonic()
    for _ in range(200):
        assert server.fetch("/index.html").status == 200
    assert time.monotonic() - began < 20
    crowd.close()
    wait_until(lambda: admin.get("/presence")["streams"] == 0, 20, "all are gone")


def test_crowd_leaves_and_returns(server):
    """The hub dies under a crowd: retry is spread, and all can come back."""
    server.log.allow("SSE01")
    crowd = Crowd(server.address, 1000)
    crowd.wait_for(b"stream-open", 60)
    os.kill(server.hub_pid(), signal.SIGKILL)
    crowd.close()
    wait_until(lambda: server.fetch("/sse-admin/health").status == 200, 10, "the hub is back")
    crowd = Crowd(server.address, 1000)
    crowd.wait_for(b"stream-open", 60)
    retries = set()
    for text in crowd.text.values():
        parser = EventParser()
        parser.feed(text.partition(b"\r\n\r\n")[2])
        retries.add(parser.retry)
    assert len(retries) > 100, "every client is told another time"
    crowd.close()


def test_returning_crowd_is_spread_wider(server):
    """Shutdown with many streams: the retry of stream-end is spread over more than the jitter of one stream."""
    crowd = Crowd(server.address, 3000)
    crowd.wait_for(b"stream-open", 60)
    server.stop()
    crowd.wait_for(b"stream-end", 30)
    retries = []
    for text in crowd.text.values():
        parser = EventParser()
        parser.feed(text.partition(b"\r\n\r\n")[2])
        retries.append(parser.retry)
    crowd.close()
    assert max(retries) - min(retries) > 1500, (min(retries), max(retries))
