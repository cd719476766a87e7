# SPDX-License-Identifier: Apache-2.0
"""How long streams live and who ends them: heartbeats, clients that go, limits, max-age, slow clients, shutdown."""

import json
import socket
import time

import pytest
from event_stream import EventStream
from httpd_server import ADMIN, BASIC, STREAM, basic
from waiting import wait_until

PRIVATE = "<Location /private>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n"


def streams_of(admin):
    return admin.get("/presence")["streams"]


def end_of(stream, timeout=None):
    """The reason that the stream's last event tells."""
    last = stream.rest(timeout)[-1]
    assert last.type == "stream-end", last
    return json.loads(last.data)["reason"], last.id


# ---- heartbeats and clients that go ----


@pytest.fixture(scope="module")
def server(make_shared_httpd, each_mpm):
    server = make_shared_httpd(each_mpm)
    return server.configure(server="SSEHeartbeat 1\nSSEPresenceGrace 0", locations=STREAM + ADMIN).start()


def test_heartbeat_is_a_comment(server):
    with server.stream() as s:
        s.opened()
        mark = len(s.raw)
        began = time.monotonic()
        s.wait_comment(2, 10)
        took = time.monotonic() - began
        assert 0.9 <= took <= 4.5, took
        lines = set(s.raw[mark:].split(b"\n"))
        assert lines <= {b":", b""}, lines


def test_heartbeats_only_on_idle_streams(httpd):
    httpd.configure(server="SSEHeartbeat 2").start()
    with httpd.stream("/events?event=idle") as s:
        s.opened()
        admin = httpd.admin()
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            admin.publish("idle", 1)
            s.expect("idle")
        assert s.comments == []
        s.wait_comment(1, 5)


@pytest.mark.parametrize("way", ["close", "reset"])
def test_disconnect_is_noticed_at_once(server, way):
    admin = server.admin()
    wait_until(lambda: streams_of(admin) == 0, 5, "streams of earlier tests are gone")
    streams = [server.stream() for _ in range(5)]
    for s in streams:
        s.opened()
    assert streams_of(admin) == 5
    began = time.monotonic()
    for s in streams:
        getattr(s, way)()
    wait_until(lambda: streams_of(admin) == 0, 5, "the streams are gone")
    assert time.monotonic() - began < 0.9, "noticed by a failed heartbeat, not at once"


def test_half_closed_client_is_gone(server):
    """A client that shuts its sending side has left EventSource's world: browsers never do that with a stream they want."""
    admin = server.admin()
    wait_until(lambda: streams_of(admin) == 0, 5, "streams of earlier tests are gone")
    with server.stream() as s:
        s.opened()
        assert streams_of(admin) == 1
        s.connection.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: streams_of(admin) == 0, 5, "the stream is gone")


def test_garbage_after_the_request(server):
    """Pipelined requests and noise do not disturb the stream, nor anyone else's."""
    with server.stream("/events?event=noise") as s, server.stream("/events?event=noise") as other:
        s.opened()
        other.opened()
        s.connection.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(range(256)) * 64)
        server.admin().publish("noise", 1)
        other.expect("noise")
        # The hub may end a client that talks, or read its noise away: what it may not is send it anything but the stream.
        try:
            s.expect("noise")
        except AssertionError:
            assert s.connection.eof
        assert b"HTTP/1.1" not in s.raw


def test_garbage_in_one_packet_with_the_request(server):
    from event_stream import Connection, request_bytes

    with Connection(server.address) as c:
        c.send(request_bytes("GET", "/events?event=noise", []) + b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n" + b"\0\xff" * 1000)
        head = c.read_head()
        assert head.status == 200
    assert server.fetch("/index.html").body == b"a plain page\n"


def test_endless_garbage_is_not_stored(server):
    """A client that only sends is ended, or read away: either way it cannot fill the hub."""
    with server.stream() as s:
        s.opened()
        s.connection.sock.settimeout(3)
        try:
            for _ in range(64):
                s.connection.send(b"x" * 1_000_000)
        except OSError:
            pass
    admin = server.admin()
    assert admin.get("/health") is not None
    assert server.fetch("/index.html").status == 200


def test_no_heartbeat(httpd):
    httpd.configure(server="SSEHeartbeat 0").start()
    with httpd.stream("/events?event=e") as s:
        s.opened()
        mark = len(s.raw)
        with pytest.raises(AssertionError, match="nothing came"):
            s.next(2.5)
        assert len(s.raw) == mark


# ---- limits ----


def test_streams_per_user(httpd):
    """The user's oldest stream is closed for the newest, with an end mark."""
    httpd.add_users("u", "v")
    httpd.configure(server="SSEMaxStreamsPerUser 2", locations=PRIVATE + STREAM + ADMIN).start()
    with httpd.stream("/private", headers=basic("v")) as other:
        other.opened()
        streams = []
        for _ in range(3):
            streams.append(httpd.stream("/private", headers=basic("u")))
            streams[-1].opened()
        reason, end_id = end_of(streams[0])
        assert reason == "replaced"
        assert httpd.fetch("/private", headers={**basic("u"), "Last-Event-ID": end_id}).status == 204
        httpd.admin().broadcast("all", 1)
        for s in (streams[1], streams[2], other):
            s.expect("all")
            s.close()
    anonymous = [httpd.stream("/events") for _ in range(4)]
    for s in anonymous:
        s.opened()
    httpd.admin().broadcast("all", 2)
    for s in anonymous:
        s.expect("all")
        s.close()


def test_streams_per_host(httpd):
    httpd.configure(server="SSEMaxStreamsPerHost 2").start()
    streams = [httpd.stream() for _ in range(2)]
    for s in streams:
        s.opened()
    _check_busy(httpd)
    with httpd.stream(source="127.0.0.9") as s:
        s.opened()
    streams.pop().close()
    wait_until(lambda: _opens(httpd), 5, "there is room again")


def test_streams_per_host_goes_by_remoteip(httpd):
    httpd.configure(server="SSEMaxStreamsPerHost 1\nRemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1").start()
    held = []
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        held.append(httpd.stream(headers={"X-Forwarded-For": address}))
        held[-1].opened()
        with httpd.stream(headers={"X-Forwarded-For": address}) as s:
            assert s.next().type == "stream-end"
    for s in held:
        s.close()


def test_streams_on_this_host(httpd):
    httpd.configure(server="SSEMaxStreams 3").start()
    streams = [httpd.stream() for _ in range(3)]
    for s in streams:
        s.opened()
    _check_busy(httpd)
    streams.pop().close()
    wait_until(lambda: _opens(httpd), 5, "there is room again")
    assert httpd.fetch("/index.html").status == 200


def _opens(httpd):
    with httpd.stream() as s:
        return s.next().type == "stream-open"


def _check_busy(httpd):
    """A limit is a thing that will pass: 200, stream-end, a long retry, Retry-After, no end mark."""
    with httpd.stream() as s:
        assert s.head.get("content-type") == "text/event-stream"
        assert int(s.head.get("retry-after")) >= 1
        assert end_of(s)[0] == "busy"
        assert s.retry > 3000
        assert ".end" not in s.last_id


def test_busy_client_gets_what_it_missed(httpd):
    """What it missed can be read, so it comes with the refusal."""
    httpd.configure(server="SSEMaxStreams 1").start()
    admin = httpd.admin()
    start = admin.publish("missed", 0)
    admin.publish("missed", 1)
    with httpd.stream():
        with httpd.stream("/events?event=missed", headers={"Last-Event-ID": start}) as s:
            types = [(e.type, e.data) for e in s.rest()]
            assert ("missed", "1") in types
            assert types[-1][0] == "stream-end"


# ---- ages ----


def test_max_age(httpd):
    """Streams end cleanly at 80 to 100 per cent of the age, spread, and resume where they were."""
    httpd.configure(server="SSEMaxAge 5\nSSEHeartbeat 1").start()
    admin = httpd.admin()
    began = time.monotonic()
    streams = [httpd.stream("/events?event=aged") for _ in range(10)]
    for s in streams:
        s.opened()
    admin.publish("aged", 1)
    ages, ids = [], []
    for s in streams:
        s.expect("aged")
        reason, last = end_of(s, 15)
        ages.append(time.monotonic() - began)
        ids.append(last)
        assert reason == "max-age"
        assert s.retry <= 3000, "back within a second or so"
        s.close()
    assert min(ages) >= 3.5 and max(ages) <= 6.5, ages
    admin.publish("aged", 2)
    with httpd.stream("/events?event=aged", headers={"Last-Event-ID": ids[0]}) as s:
        assert json.loads(s.opened().data) == {"resumed": True}
        s.expect("aged", "2")


# ---- slow clients ----


def test_client_that_never_reads(httpd):
    """Ended after SSEStreamBuffer bytes; the others get everything, and the deaf one resumes from history."""
    httpd.configure(server="SSEStreamBuffer 65536\nSSEHistory 1000").start()
    admin = httpd.admin()
    deaf = EventStream(httpd.address, "/events?event=flood", rcvbuf=4096)
    deaf.opened()
    position = deaf.last_id
    with httpd.stream("/events?event=flood") as good:
        good.opened()
        for n in range(120):
            admin.publish("flood", {"n": n, "text": "x" * 100_000})
            assert json.loads(good.expect("flood", timeout=20).data)["n"] == n
        wait_until(lambda: streams_of(admin) == 1, 10, "the deaf client is ended")
    got = [e for e in deaf.rest(20) if e.type == "flood"]
    assert [json.loads(e.data)["n"] for e in got] == list(range(len(got))), "what came is a whole beginning"
    position = got[-1].id if got else position
    deaf.close()
    with httpd.stream("/events?event=flood", headers={"Last-Event-ID": position}, timeout=30) as s:
        assert s.next().type == "stream-open"
        for n in range(len(got), 120):
            assert json.loads(s.expect("flood", timeout=30).data)["n"] == n


def test_slow_client_that_reads_gets_everything(httpd):
    httpd.configure(server="SSEStreamBuffer 67108864").start()
    admin = httpd.admin()
    with httpd.stream("/events?event=slow", rcvbuf=8192, timeout=30) as s:
        s.opened()
        for n in range(60):
            admin.publish("slow", {"n": n, "text": "y" * 50_000})
        for n in range(60):
            assert json.loads(s.expect("slow", timeout=30).data)["n"] == n


# ---- shutdown ----


def test_stop_tells_the_clients(make_httpd, each_mpm):
    httpd = make_httpd(each_mpm)
    httpd.configure().start()
    streams = [httpd.stream("/events?event=e") for _ in range(5)]
    for s in streams:
        s.opened()
    position = httpd.admin().publish("e", 1)
    for s in streams:
        s.expect("e")
    httpd.stop()
    for s in streams:
        reason, last = end_of(s)
        assert reason == "shutdown"
        assert last == position, "the last position, without an end mark"
        s.close()


@pytest.mark.parametrize("how", ["graceful", "restart"])
def test_restart(make_httpd, each_mpm, how):
    """Streams end with shutdown, clients come back; three times over."""
    httpd = make_httpd(each_mpm)
    httpd.configure().start()
    for _ in range(3):
        with httpd.stream("/events?event=e") as s:
            s.opened()
            getattr(httpd, how)()
            assert end_of(s, 20)[0] == "shutdown"
        with httpd.stream("/events?event=e") as s:
            s.opened()
            httpd.admin().publish("e", 1)
            s.expect("e")
