# SPDX-License-Identifier: Apache-2.0
"""Who is it: real Django behind real mod_wsgi logs people in, and httpd knows them from the session cookie."""

import concurrent.futures
import json
import time

import pytest
from django_site import DjangoSite
from event_stream import EventStream
from httpd_server import ADMIN, BASIC, basic
from waiting import wait_until


def cookie(session):
    return {"Cookie": "csrftoken=x; sessionid=%s; other=y" % session}


def status_of(httpd, headers, target="/events"):
    with EventStream(httpd.address, target, headers=headers, timeout=20) as s:
        return s.status


def stream_of(site, session, query=""):
    s = site.httpd.stream("/events" + query, headers=cookie(session), timeout=20)
    s.opened()
    return s


@pytest.fixture(scope="module", params=["sqlite", "postgres", "signed_cookies"])
def site(request, make_shared_httpd):
    """Sessions in the database on SQLite and on PostgreSQL, and sessions in signed cookies (users on SQLite)."""
    port = None
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        postgres.create_database("site")
        port = postgres.port
    engine = "signed_cookies" if request.param == "signed_cookies" else "db"
    return DjangoSite(make_shared_httpd(), engine, port).start()


def test_main_job(site):
    """A logged-in Django user opens a stream, Django publishes, the user's stream carries it."""
    session = site.log_in("alice")
    with stream_of(site, session) as s:
        site.shell("Events.publish('main:job', {'n': 1}, users=[User.objects.get(username='alice')])")
        s.expect("main:job", '{"n":1}')
        admin = site.httpd.admin()
        admin.publish("direct", 1, users=[site.ids["alice"]])
        admin.publish("direct", 2, users=[site.ids["bob"]])
        admin.publish("direct", 3, users=[site.ids["alice"]])
        s.expect("direct", "1")
        s.expect("direct", "3")
        wait_until(lambda: admin.get("/presence/users/" + site.ids["alice"])["online"], 5)
        assert site.shell("print(User.objects.get(username='alice').is_online(), User.objects.get(username='carol').is_online())").split()[-2:] == ["True", "False"]


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_main_job_on_the_other_mpms(make_httpd, mpm):
    site = DjangoSite(make_httpd(mpm), "db").start()
    with stream_of(site, site.log_in("alice")) as s:
        site.shell("Events.publish('main:job', {'n': 1}, users=[User.objects.get(username='alice')])")
        s.expect("main:job", '{"n":1}')
        assert site.httpd.fetch("/login/", timeout=30).status == 200


def test_groups_come_from_djangos_tables(site):
    admin = site.httpd.admin()
    with stream_of(site, site.log_in("alice")) as alice, stream_of(site, site.log_in("bob")) as bob:
        admin.publish("to:group", 1, groups=["editors"])
        admin.broadcast("end", 0)
        alice.expect("to:group", "1")
        alice.expect("end")
        bob.expect("end")
        assert admin.get("/presence/groups/editors")["online"] == [site.ids["alice"]]


def test_as_many_groups_as_may_be(httpd):
    """A user in a thousand groups with the longest names that Django allows has a stream like any other."""
    site = DjangoSite(httpd, "db").start()
    site.shell(
        "from django.contrib.auth.models import Group\n"
        "made = Group.objects.bulk_create([Group(name='%04d' % n + '\\u20ac' * 146) for n in range(1000)])\n"
        "User.objects.get(username='bob').groups.set(Group.objects.filter(name__gte='0', name__lt=':'))"
    )
    with stream_of(site, site.log_in("bob")) as s:
        site.httpd.admin().publish("to:group", 1, groups=["0999" + "\u20ac" * 146])
        s.expect("to:group", "1")


def test_seed_api(site):
    """The calls of the sketch, as they stand in it."""
    with stream_of(site, site.log_in("alice")) as s:
        out = site.shell(
            "user = User.objects.get(username='alice')\n"
            "user.subscribe('event:name another:event')\n"
            "user.unsubscribe('event:name')\n"
            "admins = Group(name='editors')\n"
            "admins.subscribe('event:name2 group:event')\n"
            "admins.unsubscribe('event:name2')\n"
            "Events.publish('event:name', {})\n"
            "Events.publish('event:name2', {})\n"
            "Events.publish('another:event', {})\n"
            "Events.publish('group:event', {})\n"
            "Events.broadcast('to:everyone', {'data': 'set'})\n"
            "print('online', user.is_online(), [u.username for u in admins.online_users()])"
        )
        assert "online True ['alice']" in out
        s.expect("another:event", "{}")
        s.expect("group:event", "{}")
        s.expect("to:everyone", '{"data":"set"}')
        site.shell("User.objects.get(username='alice').unsubscribe('another:event'); Group(name='editors').unsubscribe('group:event')")


def test_allowed_events_know_the_user(site):
    session = site.log_in("bob")
    with stream_of(site, session, "?event=user:%s:x&event=public:y" % site.ids["bob"]) as s:
        site.httpd.admin().publish("user:%s:x" % site.ids["bob"], 1)
        s.expect("user:%s:x" % site.ids["bob"])
    assert status_of(site.httpd, cookie(session), "/events?event=user:%s:x" % site.ids["alice"]) == 403


def test_logout(site):
    session = site.log_in("carol")
    with stream_of(site, session):
        pass
    if site.engine == "db":
        site.log_out(session)
        assert status_of(site.httpd, cookie(session)) == 403


def test_password_change_ends_the_session(site):
    session = site.log_in("carol")
    stream_of(site, session).close()
    site.shell("u = User.objects.get(username='carol'); u.set_password('other'); u.save()")
    assert status_of(site.httpd, cookie(session)) == 403
    site.shell("u = User.objects.get(username='carol'); u.set_password('a-password-of-tests'); u.save()")
    stream_of(site, site.log_in("carol")).close()


def test_inactive_and_deleted_users(site):
    session = site.log_in("carol")
    site.shell("User.objects.filter(username='carol').update(is_active=False)")
    assert status_of(site.httpd, cookie(session)) == 403
    site.shell("User.objects.filter(username='carol').update(is_active=True)")
    stream_of(site, session).close()
    site.shell("User.objects.create_user('short-lived', password='a-password-of-tests')")
    session = site.log_in("short-lived")
    stream_of(site, session).close()
    site.shell("User.objects.get(username='short-lived').delete()")
    assert status_of(site.httpd, cookie(session)) == 403


def test_expired_session(site):
    session = site.log_in("bob")
    stream_of(site, session).close()
    if site.engine == "db":
        site.shell(
            "from django.contrib.sessions.models import Session\nfrom django.utils import timezone\nimport datetime\n"
            "Session.objects.filter(pk=%r).update(expire_date=timezone.now() - datetime.timedelta(seconds=1))" % session
        )
        assert status_of(site.httpd, cookie(session)) == 403
    else:
        code = (
            "import time\nfrom unittest import mock\nfrom django.contrib.sessions.backends.signed_cookies import SessionStore\n"
            "from django.core import signing\n"
            "data = SessionStore(%r).load()\n"
            "with mock.patch('time.time', lambda: __import__('datetime').datetime.now().timestamp() - 1209700):\n"
            "    print('OLD', signing.dumps(data, compress=True, salt='django.contrib.sessions.backends.signed_cookies'))\n" % session
        )
        old = site.shell(code).split("OLD ")[-1].split()[0]
        assert status_of(site.httpd, cookie(old)) == 403


def bad_cookies(session):
    """Header values that name nobody."""
    return [
        "",
        "sessionid",
        "sessionid=",
        "sessionid=nonsense",
        "sessionid=" + session[:-1],
        "sessionid=" + session + "x",
        "sessionid=" + session.swapcase(),
        "sessionid=" + session[:10] + "\t" + session[10:],
        "sessionid=" + "a" * 7000,
        "sessionid=' OR 1=1 --",
        "sessionid=%s' --" % session,
        "sessionid=" + ":" * 500,
        "sessionid=.:.:.",
        "sessionid=\xff\xfe\xfd",
        'sessionid="' + session,
        "sessionid=" + session + "; sessionid=other",
        ";" * 3000,
        "; ".join("c%d=x" % n for n in range(900)),
        "SESSIONID=" + session,
        "xsessionid=" + session,
    ]


def test_malformed_cookies(site):
    session = site.log_in("bob")
    for value in bad_cookies(session):
        assert status_of(site.httpd, {"Cookie": value}) == 403, value[:80]
    stream_of(site, session).close()


def test_cookie_headers_as_djangos(site):
    session = site.log_in("bob")
    for value in ("sessionid=%s", "a=b;sessionid=%s", "sessionid=first; sessionid=%s", '  sessionid="%s"  ; x', "sessionid = %s", "junk; sessionid=%s; ="):
        assert status_of(site.httpd, {"Cookie": value % session}) == 200, value


def test_no_cookie(site):
    assert status_of(site.httpd, {}) == 403


def test_session_key_stands_in_no_log(site):
    session = site.log_in("bob")
    with stream_of(site, session) as s:
        s.next
    status_of(site.httpd, cookie(session + "x"))
    for path in (site.httpd.log.path, site.httpd.access_log):
        assert session not in path.read_text(errors="replace")


def test_plain_pages_beside_streams(site):
    session = site.log_in("alice")
    streams = [stream_of(site, session) for _ in range(20)]
    assert site.httpd.fetch("/plain.html").body == b"a plain page\n"
    assert site.httpd.fetch("/login/", timeout=30).status == 200
    for s in streams:
        s.close()


# ---- what needs a server of its own ----


@pytest.mark.parametrize("engine", ["db", "signed_cookies"])
def test_key_rotation(httpd, engine):
    """Sessions made with the old key stay good while it stands on a later line, and no longer."""
    site = DjangoSite(httpd, engine, secret="the old secret key").start()
    old = site.log_in("bob")
    stream_of(site, old).close()

    def keys(*lines):
        site.write_keys(*lines)
        httpd.restart()

    keys("a new secret key", "the old secret key")
    expected = 200 if '"fallback_hash": true' in (httpd.dir / "django.json").read_text() else 403
    # The session's signature is good under a fallback key; whether the log-in's own hash is depends on Django's version.
    assert status_of(httpd, cookie(old)) == expected
    keys("a new secret key")
    assert status_of(httpd, cookie(old)) == 403
    keys("the old secret key", "one before")
    assert status_of(httpd, cookie(old)) == 200


def test_database_away(httpd, request):
    """A store that does not answer will pass: the stream is told unavailable, never 403."""
    from backends import PostgresServer

    postgres = PostgresServer()
    request.addfinalizer(postgres.remove)
    postgres.create_database("site")
    httpd.log.allow("dbd|DBD|SSE|AH006")
    httpd.log.allow("wsgi:error")
    site = DjangoSite(httpd, "db", postgres.port).start()
    session = site.log_in("bob")
    stream_of(site, session).close()
    postgres.stop()
    with EventStream(httpd.address, headers=cookie(session), timeout=30) as s:
        assert s.status == 200
        end = s.rest(30)[-1]
        assert end.type == "stream-end" and json.loads(end.data) == {"reason": "unavailable"}
        assert int(s.head.get("retry-after")) >= 1
    assert httpd.fetch("/plain.html").status == 200
    postgres.start()

    def back():
        with EventStream(httpd.address, headers=cookie(session), timeout=30) as s:
            return s.status == 200 and s.next(20).type == "stream-open"

    wait_until(back, 30, "the database is used again", step=0.2)


def test_none_takes_httpds_user(httpd):
    httpd.add_users("alice", "bob")
    httpd.configure(locations="<Location /events>\n    SetHandler sse-stream\n    SSESession none\n" + BASIC + "</Location>\n" + ADMIN).start()
    with EventStream(httpd.address) as s:
        assert s.status == 401
    with EventStream(httpd.address, headers=basic("alice", "wrong")) as s:
        assert s.status == 401
    httpd.log.expect("AH01617")  # the wrong password
    with httpd.stream(headers=basic("alice")) as alice, httpd.stream(headers=basic("bob")) as bob:
        alice.opened()
        bob.opened()
        httpd.admin().publish("to:alice", 1, users=["alice"])
        httpd.admin().publish("to:bob", 2, users=["bob"])
        alice.expect("to:alice")
        bob.expect("to:bob")


def test_session_cookie_name(httpd):
    site = DjangoSite(httpd, "db", settings='SESSION_COOKIE_NAME = "my_session"', location="SSESessionCookie my_session").start()
    session = site.shell(
        "from django.contrib.sessions.backends.db import SessionStore\nfrom django.contrib.auth import *\n"
        "u = User.objects.get(username='bob'); s = SessionStore()\n"
        "s[SESSION_KEY] = str(u.pk); s[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'\n"
        "s[HASH_SESSION_KEY] = u.get_session_auth_hash(); s.save(); print('KEY', s.session_key)"
    ).split("KEY ")[-1].split()[0]  # fmt: skip
    assert status_of(httpd, {"Cookie": "my_session=" + session}) == 200
    assert status_of(httpd, {"Cookie": "sessionid=" + session}) == 403


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_database_hangs(make_httpd, request, mpm):
    """A database that no longer says a word, though its host does: streams are told unavailable within seconds, one after the other and
    many at once; pages are served; it is used again when it comes back."""
    from backends import PostgresServer

    postgres = PostgresServer()
    request.addfinalizer(postgres.remove)
    postgres.create_database("site")
    httpd = make_httpd(mpm)
    httpd.log.allow("dbd|DBD|SSE0120|SSE0121|SSE0502|AH006")
    site = DjangoSite(httpd, "db", postgres.port).start()
    session = site.log_in("bob")

    def refused(_):
        began = time.monotonic()
        with EventStream(httpd.address, headers=cookie(session), timeout=60) as s:
            end = s.rest(60)[-1]
            assert s.status == 200 and end.type == "stream-end" and json.loads(end.data) == {"reason": "unavailable"}
        return time.monotonic() - began

    def longest(count):
        with concurrent.futures.ThreadPoolExecutor(count) as many:
            return max(many.map(refused, range(count)))

    for _ in range(12):  # connections that will hang
        stream_of(site, session).close()
    postgres.pause()
    try:
        assert longest(20) < 8
        assert httpd.fetch("/plain.html", timeout=8).status == 200
        assert longest(1) < 8
        assert longest(20) < 8
    finally:
        postgres.resume()

    def back():
        with EventStream(httpd.address, headers=cookie(session), timeout=30) as s:
            return s.status == 200 and s.next(20).type == "stream-open"

    wait_until(back, 30, "the database is used again", step=0.2)
