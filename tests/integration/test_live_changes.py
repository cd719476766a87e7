# SPDX-License-Identifier: Apache-2.0
"""A changed subscription or group takes effect on open streams at once, from the position at which it was made."""

import json

import pytest
from httpd_server import ADMIN, BASIC, basic

LOCATIONS = "<Location /events>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n" + ADMIN


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    server = make_shared_httpd()
    server.add_users(*["u%d" % n for n in range(1, 9)])
    return server.configure(locations=LOCATIONS).start()


@pytest.fixture(scope="module")
def admin(server):
    return server.admin()


def stream_of(server, user, query="", last_id=None):
    headers = basic(user)
    if last_id:
        headers["Last-Event-ID"] = last_id
    s = server.stream("/events" + query, headers=headers)
    s.opened()
    return s


def test_subscribe_on_a_live_stream(server, admin):
    with stream_of(server, "u1") as s:
        admin.publish("live:a", "before")
        admin.subscribe("live:a", user="u1")
        admin.publish("live:a", "after")
        s.expect("live:a", '"after"')
        admin.unsubscribe("live:a", user="u1")
        admin.publish("live:a", "gone")
        admin.broadcast("end", 0)
        s.expect("end")


def test_subscription_starts_where_it_was_made(server, admin):
    """A resume from before it brings nothing from before it."""
    with stream_of(server, "u2") as s:
        start = s.last_id
    admin.publish("start:a", "before")
    admin.subscribe("start:a", user="u2")
    admin.publish("start:a", "after")
    with stream_of(server, "u2", last_id=start) as s:
        s.expect("start:a", '"after"')
        admin.broadcast("end", 0)
        s.expect("end")


def test_subscribing_again_changes_nothing(server, admin):
    with stream_of(server, "u2") as s:
        start = s.last_id
    admin.subscribe("again", user="u2")
    admin.publish("again", 1)
    admin.subscribe("again", user="u2")
    admin.publish("again", 2)
    with stream_of(server, "u2", last_id=start) as s:
        s.expect("again", "1")
        s.expect("again", "2")


def test_leaving_and_coming_back_starts_anew(server, admin):
    with stream_of(server, "u3") as s:
        start = s.last_id
    admin.subscribe("back", user="u3")
    admin.publish("back", 1)
    admin.unsubscribe("back", user="u3")
    admin.publish("back", 2)
    admin.subscribe("back", user="u3")
    admin.publish("back", 3)
    with stream_of(server, "u3", last_id=start) as s:
        s.expect("back", "3")


def test_joining_a_group_on_a_live_stream(server, admin):
    admin.subscribe("group:event", group="crew")
    with stream_of(server, "u4") as s:
        admin.publish("group:event", "before")
        admin.publish("note", "before", groups=["crew"])
        admin.call("PATCH", "/groups/crew", {"add": ["u4"]})
        admin.publish("group:event", "in")
        admin.publish("note", "in", groups=["crew"])
        s.expect("group:event", '"in"')
        s.expect("note", '"in"')
        admin.call("PATCH", "/groups/crew", {"remove": ["u4"]})
        admin.publish("group:event", "out")
        admin.publish("note", "out", groups=["crew"])
        admin.broadcast("end", 0)
        s.expect("end")


def test_membership_starts_where_it_was_made(server, admin):
    with stream_of(server, "u5") as s:
        start = s.last_id
    admin.publish("note", "secret of before", groups=["late"])
    admin.call("PUT", "/groups/late", {"users": ["u5"]})
    admin.publish("note", "for members", groups=["late"])
    with stream_of(server, "u5", last_id=start) as s:
        s.expect("note", '"for members"')


def test_group_subscription_on_a_live_stream(server, admin):
    admin.call("PUT", "/groups/live-crew", {"users": ["u6"]})
    with stream_of(server, "u6") as s:
        admin.publish("crew:e", "before")
        admin.subscribe("crew:e", group="live-crew")
        admin.publish("crew:e", "on")
        s.expect("crew:e", '"on"')
        admin.unsubscribe("crew:e", group="live-crew")
        admin.publish("crew:e", "off")
        admin.call("DELETE", "/groups/live-crew")
        admin.publish("note", "deleted", groups=["live-crew"])
        admin.broadcast("end", 0)
        s.expect("end")


def test_two_reasons_for_one_event(server, admin):
    """Losing one of them does not stop the event."""
    admin.call("PUT", "/groups/two-reasons", {"users": ["u7"]})
    admin.subscribe("two", user="u7")
    admin.subscribe("two", group="two-reasons")
    with stream_of(server, "u7", "?event=two") as s:
        admin.unsubscribe("two", user="u7")
        admin.publish("two", 1)
        s.expect("two", "1")
        admin.unsubscribe("two", group="two-reasons")
        admin.publish("two", 2)
        s.expect("two", "2")
        admin.broadcast("end", 0)
        s.expect("end")


def test_many_changes_under_publishing(server, admin):
    """Each message comes exactly when its number says that the subscription stood."""
    with stream_of(server, "u8") as s:
        for n in range(60):
            if n % 2:
                admin.unsubscribe("flip", user="u8")
            else:
                admin.subscribe("flip", user="u8")
            admin.publish("flip", n)
        admin.broadcast("end", 0)
        got = []
        event = s.next()
        while event.type != "end":
            got.append(json.loads(event.data))
            event = s.next()
        assert got == list(range(0, 60, 2))
