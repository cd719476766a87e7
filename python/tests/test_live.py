# SPDX-License-Identifier: Apache-2.0
"""The package, a real httpd and its hub: what Django does is seen on open streams."""

import datetime
import json
import sqlite3
import threading

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from mod_sse import AccessDenied, Events, KeyConflict, MessageTooLarge, RequestRefused, presence
from mod_sse.exceptions import NotThere
from mod_sse.names import session_id
from mod_sse.transport import call
from waiting import wait_until


def reason(event):
    assert event.type == "stream-end", event
    return json.loads(event.data)["reason"]


def test_to_a_user_a_group_and_everybody(live):
    alice, bob = live.make_user("alice"), live.make_user("bob")
    alice.groups.add(Group.objects.create(name="editors / 1"))
    with live.stream(live.log_in("alice")) as a, live.stream(live.log_in("bob")) as b:
        Events.publish("u", {"at": datetime.date(2026, 1, 2), "n": 10**40, "s": "ü\n\u2028"}, users=[alice])
        Events.publish("g", 1, groups=["editors / 1"])
        Events.publish("raw", "two\nlines", users=[bob], raw=True)
        Events.broadcast("all")
        a.expect("u", '{"at":"2026-01-02","n":1' + "0" * 40 + ',"s":"ü\\n\u2028"}')
        a.expect("g", "1")
        a.expect("all", "null")
        b.expect("raw", "two\nlines")
        b.expect("all", "null")


def test_keys_and_batches(live):
    alice = live.make_user("alice")
    with live.stream(live.log_in("alice")) as stream:
        first = Events.publish("e", 1, users=[alice], key="k")
        assert Events.publish("e", 1, users=[alice], key="k") == first
        with pytest.raises(KeyConflict):
            Events.publish("e", 2, users=[alice], key="k")
        ids = Events.publish_many([{"event": "e", "data": n, "users": [alice]} for n in (3, 4)])
        assert len(set(ids)) == 2
        for n in (1, 3, 4):
            stream.expect("e", str(n))


def test_who_is_online(live):
    users = [live.make_user(name) for name in ("alice", "bob", "carol")]
    group = Group.objects.create(name="g")
    group.user_set.add(*users[:2])
    assert group.online_users() == [] and not users[0].is_online()
    with live.stream(live.log_in("alice")), live.stream(live.log_in("bob")), live.stream(live.log_in("carol")):
        assert users[0].is_online()
        with CaptureQueriesContext(connection) as queries:
            assert sorted(user.username for user in group.online_users()) == ["alice", "bob"]
        assert len(queries) == 1
        assert len(presence.online_users()) == 3
        # Users of the tests before may still be within their grace.
        wait_until(lambda: presence.totals()["users"] == 3, 20, "three users are online")
        assert presence.presence(users[0])["streams"] == 1
    wait_until(lambda: not users[0].is_online(), 10, "alice is offline")


def test_subscriptions_reach_open_streams(live):
    alice = live.make_user("alice")
    group = Group.objects.create(name="g")
    alice.groups.add(group)
    with live.stream(live.log_in("alice")) as stream:
        Events.publish("mine", 1)
        alice.subscribe("mine")
        group.subscribe("ours")
        Events.publish("mine", 2)
        Events.publish("ours", 3)
        alice.unsubscribe("mine")
        group.unsubscribe("ours")
        Events.publish("mine", 4)
        Events.publish("ours", 5)
        Events.broadcast("end")
        stream.expect("mine", "2")
        stream.expect("ours", "3")
        stream.expect("end")


def test_a_changed_group_reaches_open_streams(live):
    alice = live.make_user("alice")
    group = Group.objects.create(name="g")
    with live.stream(live.log_in("alice")) as stream:
        for n, change in enumerate(
            (lambda: alice.groups.add(group), alice.groups.clear, lambda: group.user_set.add(alice), lambda: group.user_set.remove(alice))
        ):
            change()
            Events.publish("g", n, groups=[group])
        group.user_set.add(alice)
        group.name = "renamed"
        group.save()
        Events.publish("g", 8, groups=["g"])
        Events.publish("g", 9, groups=["renamed"])
        group.delete()
        Events.publish("g", 10, groups=["renamed"])
        Events.broadcast("end")
        for n in (0, 2, 9):
            stream.expect("g", str(n))
        stream.expect("end")


def test_a_logout_ends_the_sessions_streams_and_no_others(live):
    alice = live.make_user("alice")
    one, two = live.log_in("alice"), live.log_in("alice")
    one.get("/subscribe/", {"events": "tied"})
    key = one.session.session_key
    with live.stream(one) as first, live.stream(two) as second:
        Events.publish("tied", 1)
        first.expect("tied", "1")
        second.expect("tied", "1")
        cookie = one.cookies["sessionid"].value
        one.get("/out/")
        end = first.next()
        assert reason(end) == "logout"
        assert first.rest() == []
        # The subscription went with its session; the other session lives.
        Events.publish("tied", 2)
        Events.publish("after", 3, users=[alice])
        second.expect("after", "3")
    headers = [("Cookie", "sessionid=" + cookie)]
    assert live.httpd.fetch("/events", headers=headers).status == 403
    assert live.httpd.fetch("/events", headers=[*headers, ("Last-Event-ID", end.id)]).status == 204
    assert alice.subscriptions() == []
    assert key == cookie


def test_a_deleted_session_row(live):
    live.make_user("alice")
    client = live.log_in("alice")
    with live.stream(client) as stream:
        Session.objects.filter(session_key=client.session.session_key).delete()
        assert reason(stream.next()) == "logout"
    assert live.status(client) == 403


def test_a_changed_password(live):
    """Streams of all sessions end; the session that changed it goes on under a new key, with its subscriptions."""
    alice = live.make_user("alice")
    client, other = live.log_in("alice", events="tied"), live.log_in("alice")
    with live.stream(client) as stream, live.stream(other) as others:
        client.get("/password/")
        assert reason(stream.next()) == "expired"
        assert reason(others.next()) == "expired"
    with live.stream(client) as stream:
        Events.publish("tied", 1)
        stream.expect("tied", "1")
    assert alice.subscriptions() == ["tied"]


def test_a_deactivated_user(live):
    alice = live.make_user("alice")
    client = live.log_in("alice")
    with live.stream(client) as stream:
        alice.is_active = False
        alice.save()
        assert reason(stream.next()) == "deactivated"
    assert live.status(client) == 403


def test_a_deleted_user(live):
    alice = live.make_user("alice")
    alice.subscribe("e", session=False)
    client = live.log_in("alice")
    pk = alice.pk
    with live.stream(client) as stream:
        alice.delete()
        assert reason(stream.next()) == "deactivated"
    assert live.status(client) == 403
    assert call("GET", "/subscriptions", query={"user": pk}).body["events"] == []


def test_disconnect(live):
    alice = live.make_user("alice")
    client = live.log_in("alice")
    with live.stream(client) as stream:
        assert presence.disconnect(user=alice, seconds=60) == 1
        assert reason(stream.next()) == "disconnected"
    assert live.status(client) == 403


def test_what_was_missed_comes_after_a_reconnect(live):
    alice = live.make_user("alice")
    client = live.log_in("alice")
    with live.stream(client) as stream:
        Events.publish("e", 1, users=[alice])
        last = stream.expect("e", "1").id
    Events.publish("e", 2, users=[alice])
    Events.broadcast("b", 3)
    with live.stream(client, headers=[("Last-Event-ID", last)], opened=False) as stream:
        assert json.loads(stream.opened().data) == {"resumed": True}
        stream.expect("e", "2")
        stream.expect("b", "3")


def test_stored_subscriptions(live, settings_override):
    settings_override(SSE_SUBSCRIPTIONS="db")
    alice = live.make_user("alice")
    alice.subscribe("a b")
    with live.stream(live.log_in("alice")) as stream:
        Events.publish("a", 1)
        stream.expect("a", "1")
        alice.unsubscribe("a")
        Events.publish("a", 2)
        Events.publish("b", 3)
        stream.expect("b", "3")
    alice.delete()
    assert call("GET", "/subscriptions", query={"user": 1}).body["events"] == []


def test_refusals_say_why(live, settings_override):
    with pytest.raises(MessageTooLarge, match="300002 bytes of JSON, more than SSE_MAX_MESSAGE_SIZE"):
        Events.publish("e", "x" * 300_000)
    with pytest.raises(RequestRefused, match="limit"):
        call("GET", "/presence/users", query={"limit": "many"})
    with pytest.raises(NotThere):
        call("GET", "/nothing-here")
    if live.way == "http":
        settings_override(SSE_ADMIN_KEY="wrong")
        with pytest.raises(AccessDenied, match="SSE_ADMIN_KEY"):
            Events.publish("e")
        settings_override(SSE_ADMIN_URL=f"http://127.0.0.1:{live.httpd.port}/elsewhere/")
        with pytest.raises(NotThere, match="SetHandler sse-admin"):
            Events.publish("e")


def test_names_that_no_path_can_carry(live):
    alice = live.make_user("alice")
    for name in ("..", "a/b", "ü ?&=#%", "a+b"):
        group = Group.objects.create(name=name)
        alice.groups.add(group)
        group.subscribe("e:" + name.replace(" ", ""))
    with live.stream(live.log_in("alice")) as stream:
        for group in Group.objects.all():
            assert group.online_users() == [alice]
            assert group.subscriptions() == ["e:" + group.name.replace(" ", "")]
            Events.publish("g", group.name, groups=[group])
            stream.expect("g", json.dumps(group.name, ensure_ascii=False))


def test_a_look_up_waits_while_the_database_is_written(live):
    live.make_user("alice")
    client = live.log_in("alice")
    lock = sqlite3.connect(live.state / "site.sqlite3", isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(1, lock.rollback)
    release.start()
    with live.stream(client):
        assert not lock.in_transaction
    release.join()
    lock.close()


def test_session_names(live):
    """The hub knows a session by the hash that Django computes of its key."""
    live.make_user("alice")
    client = live.log_in("alice")
    with live.stream(client) as stream:
        assert presence.disconnect(session=session_id(client.session.session_key)) == 1
        assert reason(stream.next()) == "disconnected"
    assert User.objects.count() == 1
