# SPDX-License-Identifier: Apache-2.0
"""A session's end is the end of its streams, at once: logout and account changes in Django, DELETE /sessions, its own time."""

import hashlib
import json
import re
import time
import urllib.parse

import pytest
from django_site import PASSWORD, DjangoSite
from event_stream import EventStream, fetch
from httpd_server import ADMIN
from waiting import wait_until


def name_of(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def end_of(stream, timeout=15):
    last = stream.rest(timeout)[-1]
    assert last.type == "stream-end", last
    return json.loads(last.data)["reason"], last.id


# ---- by Django ----


@pytest.fixture(scope="module", params=["db", "signed_cookies"])
def site(request, make_shared_httpd):
    return DjangoSite(make_shared_httpd(), request.param).start()


def stream_of(site, session):
    s = site.httpd.stream(headers={"Cookie": "sessionid=" + session}, timeout=20)
    s.opened()
    return s


def status_of(site, session, **headers):
    with EventStream(site.httpd.address, headers={"Cookie": "sessionid=" + session, **headers}, timeout=20) as s:
        return s.status


def test_logout_ends_this_sessions_streams(site):
    """All streams of the session, none of the user's other sessions; the end mark keeps the browser away."""
    first = site.log_in("bob")
    # Two signed cookies of one user made in the same second are the same cookie, that is the same session.
    second = wait_until(lambda: (lambda session: session if session != first else None)(site.log_in("bob")), 10, step=0.2)
    with stream_of(site, first) as a, stream_of(site, first) as b, stream_of(site, second) as other:
        site.log_out(first)
        for s in (a, b):
            reason, last = end_of(s)
            assert reason == "logout"
            assert status_of(site, first, **{"Last-Event-ID": last}) == 204
        site.shell("Events.publish('still', 1, users=[User.objects.get(username='bob')])")
        other.expect("still")


def test_page_survives_its_own_password_change(site):
    """Django gives the session a new key with the answer to the form; the stream's end leaves the browser time to get it, since coming
    back with the old cookie would be its end: EventSource takes 403 for good."""
    old = site.log_in("alice")
    page = site.httpd.fetch("/admin/password_change/", headers={"Cookie": "sessionid=" + old}, timeout=30)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
    csrf = re.search(r"csrftoken=([^;]+)", page.head.get("set-cookie"))[1]
    headers = {"Cookie": "sessionid=%s; csrftoken=%s" % (old, csrf), "Content-Type": "application/x-www-form-urlencoded"}
    form = {"csrfmiddlewaretoken": token, "old_password": PASSWORD, "new_password1": PASSWORD + "2", "new_password2": PASSWORD + "2"}
    with stream_of(site, old) as s:
        answer = fetch(site.httpd.address, "POST", "/admin/password_change/", headers, urllib.parse.urlencode(form).encode(), timeout=30)
        assert answer.status == 302, answer.text
        new = next(re.match(r'sessionid="?([^";]+)', value)[1] for value in answer.head.all("set-cookie") if value.startswith("sessionid"))
        reason, last = end_of(s)
        assert reason == "expired" and ".end" not in last
        assert s.parser.retry >= 5000
    assert status_of(site, old, **{"Last-Event-ID": last}) == 403
    site.shell("Events.publish('meanwhile', 1, users=[User.objects.get(username='alice')])")
    with site.httpd.stream(headers={"Cookie": "sessionid=" + new, "Last-Event-ID": last}, timeout=20) as s:
        assert json.loads(s.opened().data) == {"resumed": True}
        s.expect("meanwhile")
    site.shell("u = User.objects.get(username='alice'); u.set_password(%r); u.save()" % PASSWORD)


def test_password_change_ends_the_users_streams(site):
    with stream_of(site, site.log_in("carol")) as s, stream_of(site, site.log_in("bob")) as other:
        site.shell("u = User.objects.get(username='carol'); u.set_password('another'); u.save()")
        assert end_of(s)[0] in ("logout", "deactivated", "disconnected", "expired")
        site.shell("u = User.objects.get(username='carol'); u.set_password(%r); u.save()" % PASSWORD)
        site.shell("Events.broadcast('still', 1)")
        other.expect("still")


def test_deactivation_ends_the_users_streams(site):
    session = site.log_in("carol")
    with stream_of(site, session) as s:
        site.shell("u = User.objects.get(username='carol'); u.is_active = False; u.save()")
        assert end_of(s)[0] == "deactivated"
    assert status_of(site, session) == 403
    site.shell("u = User.objects.get(username='carol'); u.is_active = True; u.save()")


def test_group_changes_reach_open_streams(site):
    with stream_of(site, site.log_in("bob")) as s:
        site.shell(
            "g = Group.objects.get(name='editors'); u = User.objects.get(username='bob')\n"
            "Events.publish('g', 'before', groups=[g])\n"
            "g.user_set.add(u)\n"
            "Events.publish('g', 'in', groups=[g])\n"
            "u.groups.remove(g)\n"
            "Events.publish('g', 'out', groups=[g])\n"
            "Events.broadcast('end', 0)"
        )
        s.expect("g", '"in"')
        s.expect("end")


# ---- by the admin handler ----

HUB = "<Location /events>\n    SetHandler sse-stream\n    SSESession hub\n</Location>\n"


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    return make_shared_httpd().configure(server="SSEPresenceGrace 0", locations=HUB + ADMIN).start()


def cookie(key):
    return {"Cookie": "sessionid=" + key}


def test_mirrored_session(server):
    admin = server.admin()
    key = "a" * 32
    with EventStream(server.address, headers=cookie(key)) as s:
        assert s.status == 403
    admin.call("PUT", "/sessions/" + name_of(key), {"user": 7, "expires": int(time.time()) + 100})
    with server.stream(headers=cookie(key)) as s:
        s.opened()
        admin.publish("direct", 1, users=["7"])
        s.expect("direct")
        admin.call("DELETE", "/sessions/" + name_of(key))
        assert end_of(s)[0] == "logout"
    with EventStream(server.address, headers=cookie(key)) as s:
        assert s.status == 403


def test_session_ends_at_its_own_time(server):
    """Open streams end at that second, and then EventSource is answered 403."""
    admin = server.admin()
    key = "b" * 32
    admin.call("PUT", "/sessions/" + name_of(key), {"user": "8", "expires": int(time.time()) + 3})
    with server.stream(headers=cookie(key)) as s:
        s.opened()
        reason, last = end_of(s)
        assert reason == "expired" and ".end" not in last
    wait_until(lambda: server.fetch("/events", headers=cookie(key)).status == 403, 5)


def test_keys_never_stand_in_a_url(server):
    admin = server.admin()
    for path in ("/sessions/" + "a" * 32, "/sessions?name=" + "a" * 32, "/sessions/sha256:abc", "/sessions/sha256:" + "g" * 64, "/sessions/md5:" + "a" * 64):
        for method, body in (("PUT", {"user": "7", "expires": int(time.time()) + 100}), ("DELETE", None)):
            answer = admin.request(method, path, body)
            assert answer.status == 400, (method, path, answer.status)


@pytest.mark.parametrize("body", [{}, {"user": "7"}, {"expires": 1}, {"user": "7", "expires": "soon"}, {"user": "7", "expires": -5}, {"user": "", "expires": 9999999999},
                                  {"user": {}, "expires": 9999999999}, {"user": "7", "expires": 1.5}, {"user": "7", "expires": 9999999999, "x": 1}, []])  # fmt: skip
def test_bad_mirror(server, body):
    assert server.admin().request("PUT", "/sessions/" + name_of("c" * 32), json.dumps(body).encode()).status == 400


def test_subscriptions_of_a_session(server):
    """They go to all of the user's streams, and end with the session."""
    admin = server.admin()
    first, second = "d" * 32, "e" * 32
    for key in (first, second):
        admin.call("PUT", "/sessions/" + name_of(key), {"user": "9", "expires": int(time.time()) + 100})
    assert admin.subscribe("tied", user="9", session=name_of(first)) == ["tied"]
    assert sorted(admin.subscribe("kept", user="9")) == ["kept", "tied"]
    with server.stream(headers=cookie(second)) as s:
        s.opened()
        admin.publish("tied", 1)
        s.expect("tied")
        admin.call("DELETE", "/sessions/" + name_of(first))
        wait_until(lambda: admin.get("/subscriptions?user=9")["events"] == ["kept"], 5)
        admin.publish("tied", 2)
        admin.publish("kept", 3)
        s.expect("kept")
    # In a body the key itself is taken, too.
    assert sorted(admin.subscribe("tied", user="9", session=second)) == ["kept", "tied"]
    assert admin.unsubscribe("tied", user="9", session=name_of(second)) == ["kept"]
    admin.subscribe("both", user="9", session=second)
    admin.subscribe("both", user="9")
    assert admin.unsubscribe("both", user="9") == ["kept"], "without a session both kinds go"


def test_disconnect_a_session(server):
    admin = server.admin()
    first, second = "f" * 32, "0" * 32
    for key in (first, second):
        admin.call("PUT", "/sessions/" + name_of(key), {"user": "10", "expires": int(time.time()) + 100})
    with server.stream(headers=cookie(first)) as a, server.stream(headers=cookie(second)) as b:
        a.opened()
        b.opened()
        assert admin.post("/disconnect", {"session": name_of(first)})["closed"] == 1
        assert end_of(a)[0] == "disconnected"
        admin.broadcast("still", 1)
        b.expect("still")
