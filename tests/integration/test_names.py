# SPDX-License-Identifier: Apache-2.0
"""Event names and the patterns that say which of them a client may ask for."""

from urllib.parse import quote

import pytest
from event_stream import EventStream
from httpd_server import ADMIN, BASIC, basic

GOOD = ["a", "message", "event:name", "x" * 255, "\u00e9\u2603\U0001f600", "a/b", "..", "a%20b", "stream", "opener", "errors", "#?&=;,", "Open", "\u2028"]
BAD = ["", " ", "a b", "a\n", "a\r", "a\0", "\x7f", "a\u0085", "x" * 256, "\u00e9" * 128, "open", "error", "stream-", "stream-open", "stream-anything", "a*", "*"]

LOCATIONS = (
    """
<Location /events>
    SetHandler sse-stream
    SSEAnonymous On
    SSEAllowEvents **
</Location>
<Location /patterns>
    SetHandler sse-stream
    SSEAnonymous On
    SSEAllowEvents news:* deep:** exact user:%{user}:* *:tail a:*:c
</Location>
<Location /mine>
    SetHandler sse-stream
    SSEAllowEvents news:* user:%{user}:*
"""
    + BASIC
    + """
</Location>
<Location /nothing>
    SetHandler sse-stream
    SSEAnonymous On
</Location>
"""
    + ADMIN
)


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    server = make_shared_httpd()
    server.add_users("7", "77", "a*b")
    return server.configure(locations=LOCATIONS).start()


@pytest.fixture(scope="module")
def admin(server):
    return server.admin()


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_good_name(server, admin, name):
    with server.stream("/events?event=" + quote(name, safe="")) as s:
        s.opened()
        admin.publish(name, {"n": 1})
        s.expect(name, '{"n":1}')


@pytest.mark.parametrize("name", BAD, ids=lambda n: ascii(n)[:30])
def test_bad_name(server, admin, name):
    answer = admin.request("POST", "/publish", {"event": name, "data": 1})
    assert answer.status == 400, name
    assert any("event" in str(e) for e in answer.json["errors"]), answer.json
    assert server.fetch("/events?event=" + quote(name, safe="")).status == 400
    assert admin.request("POST", "/subscribe", {"user": "7", "events": [name]}).status == 400
    assert admin.request("POST", "/broadcast", {"event": name, "data": 1}).status == 400


def may(server, target, headers=None):
    with EventStream(server.address, target, headers=headers) as s:
        assert s.status in (200, 403), s.status
        return s.status == 200


@pytest.mark.parametrize(
    "event, allowed",
    [
        ("news:today", True),
        ("news:", True),
        ("news:a:b", False),
        ("news", False),
        ("xnews:a", False),
        ("deep:a:b:c", True),
        ("deep:", True),
        ("exact", True),
        ("exactly", False),
        ("inexact", False),
        ("any:tail", True),
        ("a:b:tail", False),
        ("a:b:c", True),
        ("a::c", True),
        ("a:b:b:c", False),
        ("user::x", False),
        ("user:7:x", False),
        ("user:%{user}:x", False),
    ],
)
def test_pattern(server, event, allowed):
    assert may(server, "/patterns?event=" + quote(event, safe="")) == allowed


@pytest.mark.parametrize(
    "user, event, allowed",
    [
        ("7", "user:7:x", True),
        ("7", "user:77:x", False),
        ("7", "user::x", False),
        ("7", "user:7:x:y", False),
        ("77", "user:77:x", True),
        ("a*b", "user:aXb:z", False),
    ],
)
def test_pattern_with_user(server, user, event, allowed):
    assert may(server, "/mine?event=" + quote(event, safe=""), basic(user)) == allowed


def test_one_refused_name_refuses_all(server):
    assert not may(server, "/patterns?event=exact&event=forbidden")
    assert may(server, "/patterns?event=exact&event=news:x")


def test_no_pattern_allows_nothing(server):
    assert not may(server, "/nothing?event=a")
    assert may(server, "/nothing")


def test_bad_comes_before_forbidden(server):
    assert server.fetch("/nothing?event=stream-x").status == 400


def test_several_events_on_one_stream(server, admin):
    with server.stream("/events?event=one&event=two&event=one") as s:
        s.opened()
        admin.publish("one", 1)
        admin.publish("three", 3)
        admin.publish("two", 2)
        s.expect("one", "1")
        s.expect("two", "2")


def test_names_are_bytes(server, admin):
    """The composed and the decomposed form are two events; case matters."""
    with server.stream("/events?event=" + quote("caf\u00e9")) as s:
        s.opened()
        admin.publish("cafe\u0301", 1)
        admin.publish("CAF\u00c9", 2)
        admin.publish("caf\u00e9", 3)
        s.expect("caf\u00e9", "3")
