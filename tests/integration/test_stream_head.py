# SPDX-License-Identifier: Apache-2.0
"""The head of a stream and what httpd does around it, on each MPM: headers, filters, methods, CORS, HTTP/1.0, logs."""

import json
import time

import pytest
from event_stream import Connection, EventStream, request_bytes
from httpd_server import ADMIN, BASIC, basic
from waiting import wait_until

LOCATIONS = (
    """
<Location /events>
    SetHandler sse-stream
    SSEAnonymous On
    SSEAllowEvents **
    SSEAllowOrigin https://friend.example http://localhost:8000
    Header always set X-From-Mod-Headers yes
    Header set X-Only-Good fine
    RequestHeader set X-Seen 1
    SetOutputFilter BROTLI_COMPRESS;DEFLATE;SUBSTITUTE
    AddOutputFilterByType DEFLATE text/event-stream
    Substitute s/data/DATA/
</Location>
<Location /private>
    SetHandler sse-stream
</Location>
"""
    + ADMIN
)


@pytest.fixture(scope="module")
def server(make_shared_httpd, each_mpm):
    return make_shared_httpd(each_mpm).configure(locations=LOCATIONS, modules=["substitute"]).start()


def test_head(server):
    with server.stream() as s:
        assert s.head.version == "HTTP/1.1"
        assert s.head.all("content-type") == ["text/event-stream"]
        assert s.head.get("cache-control") == "private, no-cache, no-store, no-transform"
        assert s.head.get("x-accel-buffering") == "no"
        assert s.head.get("connection").lower() == "close"
        for absent in ("transfer-encoding", "content-length", "content-encoding", "etag", "last-modified"):
            assert absent not in s.head, absent
        assert "date" in s.head


def test_first_bytes(server):
    with server.stream() as s:
        event = s.opened()
        assert json.loads(event.data) == {"resumed": False}
        assert event.id and all(33 <= ord(c) < 127 for c in event.id)
        assert s.raw.startswith(b"retry: ")
        assert 3000 <= s.retry <= 4500


def test_retry_has_jitter(server):
    values = set()
    for _ in range(8):
        with server.stream() as s:
            s.opened()
            values.add(s.retry)
    assert len(values) > 1


def test_mod_headers_works(server):
    with server.stream() as s:
        assert s.head.get("x-from-mod-headers") == "yes"
        assert s.head.get("x-only-good") == "fine"


def test_no_content_filter_touches_the_stream(server):
    with server.stream("/events?event=filter:test", headers={"Accept-Encoding": "gzip, br, deflate"}) as s:
        assert "content-encoding" not in s.head
        s.opened()
        server.admin().publish("filter:test", {"data": "data"})
        s.expect("filter:test", '{"data":"data"}')


def test_http_1_0(server):
    with server.stream("/events?event=old", version="1.0") as s:
        assert s.head.version in ("HTTP/1.0", "HTTP/1.1")
        assert "transfer-encoding" not in s.head
        s.opened()
        server.admin().publish("old", 1)
        s.expect("old", "1")


def test_http_1_0_keep_alive_is_not_promised(server):
    with server.stream(version="1.0", headers={"Connection": "keep-alive"}) as s:
        assert s.head.get("connection", "close").lower() == "close"


def test_stream_as_second_request_of_a_connection(server):
    with Connection(server.address) as c:
        c.send(request_bytes("GET", "/index.html", []))
        head = c.read_head()
        assert c.read_body(head) == b"a plain page\n"
        c.send(request_bytes("GET", "/events?event=second", []))
        head = c.read_head()
        assert head.status == 200 and head.get("content-type") == "text/event-stream"


def test_head_request(server):
    answer = server.fetch("/events", method="HEAD")
    assert answer.status == 200
    assert answer.head.get("content-type") == "text/event-stream"
    assert answer.head.get("cache-control") == "private, no-cache, no-store, no-transform"


def test_head_request_counts_no_stream(server):
    before = server.admin().get("/presence")["streams"]
    for _ in range(5):
        server.fetch("/events", method="HEAD")
    assert server.admin().get("/presence")["streams"] <= before


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods(server, method):
    answer = server.fetch("/events", method=method)
    assert answer.status == 405
    allowed = {m.strip() for m in answer.head.get("allow").split(",")}
    assert {"GET", "HEAD", "OPTIONS"} <= allowed and method not in allowed


def test_own_origin(server):
    origin = {"Origin": "http://127.0.0.1:%d" % server.port, "Host": "127.0.0.1:%d" % server.port}
    with server.stream(headers=origin) as s:
        s.opened()


def test_foreign_origin_is_refused(server):
    for origin in ("https://evil.example", "null", "https://friend.example.evil.example", "https://friend.example:444", "http://friend.example"):
        with EventStream(server.address, headers={"Origin": origin}) as s:
            assert s.status == 403, origin
            assert "access-control-allow-origin" not in s.head


def test_allowed_origin(server):
    for origin in ("https://friend.example", "http://localhost:8000"):
        with server.stream(headers={"Origin": origin, "Host": "site.example"}) as s:
            assert s.head.get("access-control-allow-origin") == origin
            assert s.head.get("access-control-allow-credentials") == "true"
            assert "origin" in s.head.get("vary").lower()
            s.opened()


def test_preflight(server):
    asked = {
        "Origin": "https://friend.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    answer = server.fetch("/events", method="OPTIONS", headers=asked)
    assert answer.status == 204
    assert answer.body == b""
    assert answer.head.get("access-control-allow-origin") == "https://friend.example"
    assert answer.head.get("access-control-allow-credentials") == "true"
    allowed = answer.head.get("access-control-allow-headers").lower()
    assert "last-event-id" in allowed and "authorization" in allowed
    assert "origin" in answer.head.get("vary").lower()


def test_preflight_of_a_stranger(server):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = server.fetch("/events", method="OPTIONS", headers=asked)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.head


def test_no_user_is_403(server):
    with EventStream(server.address, "/private") as s:
        assert s.status == 403
        assert "www-authenticate" not in s.head


def test_access_log_has_its_line(server):
    with server.stream("/events?event=logged:line") as s:
        s.opened()
        line = wait_until(lambda: [x for x in server.access_log.read_text().splitlines() if "logged:line" in x], 5, "the access log has the line")
    assert " 200 " in line[0]
    assert '"GET /events?event=logged:line HTTP/1.1"' in line[0]


def test_scoreboard_slot_is_free(server):
    """An open stream is no request under way: of what server-status counts as busy there is only its own request."""
    streams = [server.stream() for _ in range(6)]
    for s in streams:
        s.opened()

    def busy():
        text = server.fetch("/server-status?auto").text
        fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        closing = int(fields.get("ConnsAsyncClosing", 0)) + int(fields.get("ConnsAsyncKeepAlive", 0))
        return int(fields["BusyWorkers"]) <= 1 and closing == 0 and fields["Scoreboard"].count("W") <= 1

    wait_until(busy, 10, "no worker is busy with a stream")
    for s in streams:
        s.close()


def test_errors_in_the_query(server):
    for target in ("/events?event=", "/events?event=a%20b", "/events?event=stream-open", "/events?event=error", "/events?event=open",
                   "/events?event=a*", "/events?event=%00", "/events?event=a%0Ab", "/events?event=%FF", "/events?event=" + "x" * 256):
        answer = server.fetch(target)
        assert answer.status == 400, (target, answer.status)
    answer = server.fetch("/events?" + "&".join("event=e%d" % n for n in range(200)))
    assert answer.status == 400


def test_conditions_and_ranges_mean_nothing(server):
    """A stream is no document: it is never "not modified", and no part of it can be asked for."""
    asked = {
        "If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT",
        "If-None-Match": "*",
        "Range": "bytes=0-9",
    }
    with server.stream("/events?event=conditions", headers=asked) as s:
        assert "content-range" not in s.head and "accept-ranges" not in s.head
        s.opened()
        server.admin().publish("conditions", 1)
        s.expect("conditions", "1")


@pytest.mark.parametrize("length", [5, 100_000])
def test_a_body_with_the_request(server, length):
    """Read away or refused, but never taken for a second request, nor in the stream's way."""
    with Connection(server.address) as c:
        c.send(request_bytes("GET", "/events?event=bodied", [], body=b"GET / HTTP/1.1\r\n\r\n".ljust(length, b"x")[:length]))
        head = c.read_head()
        assert head.status in (200, 400, 413), head.raw
        if head.status == 200:
            server.admin().publish("bodied", 1)
            deadline = time.monotonic() + 10
            while b"event: bodied" not in c.buffer:
                chunk = c.read_some(deadline)
                assert chunk, "the stream ended"
                c.buffer += chunk
            assert b"HTTP/1.1" not in c.buffer


def test_foreign_origin_counts_nothing(httpd):
    """Refused before any limit is looked at: a page elsewhere cannot push out the user's own stream."""
    httpd.add_users("u")
    locations = "<Location /events>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n" + ADMIN
    httpd.configure(server="SSEMaxStreamsPerUser 1", locations=locations).start()
    with httpd.stream("/events?event=e", headers=basic("u")) as s:
        s.opened()
        with EventStream(httpd.address, headers={**basic("u"), "Origin": "https://evil.example"}) as other:
            assert other.status == 403
        httpd.admin().publish("e", 1)
        s.expect("e", "1")
