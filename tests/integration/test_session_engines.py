# SPDX-License-Identifier: Apache-2.0
"""Every session engine, with sessions that Django 3.2, 4.2 and 5.2 themselves wrote into real stores, on SQLite, PostgreSQL and
MariaDB: each opens a stream with the right user and groups, and none does after logout. One httpd with a location and a realm for each
store."""

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import time

import pytest
from backends import MariadbServer, MemcachedServer, PostgresServer, RedisServer
from event_stream import EventStream
from httpd_server import ADMIN
from stage import RUN_AS, TOP, give
from waiting import wait_until

# Django, database, USE_TZ (without it SQLite and MariaDB hold local times of Chicago)
SITES = [("3.2", "sqlite", True), ("4.2", "sqlite", False), ("5.2", "sqlite", True), ("4.2", "postgres", True), ("4.2", "mariadb", False)]
SECRET = "the secret of these sessions"


class Site:
    """Django of one version, its stores, and an httpd that reads them."""

    def __init__(self, httpd, version, database, use_tz, redis, memcached):
        self.httpd = httpd
        self.version = version
        # Copies that httpd's user may read, wherever this clone stands.
        self.path = [httpd.stage.path / "python"]
        if version != "3.2":
            self.path.insert(0, httpd.stage.path / ("django-" + version))
        self.state = httpd.dir / "site"
        self.state.mkdir()
        entry, self.dbd = database(self.state)
        site = {"redis": redis.port, "memcached": memcached.port, "database": entry, "use_tz": use_tz}
        (self.state / "site.json").write_text(json.dumps(site))
        give(self.state)
        self.config = self.run("prepare")
        self.sessions = self.locations()
        (httpd.dir / "session.keys").write_text(SECRET + "\n")
        (httpd.dir / "django.json").write_text(self.config)

    def python(self, *arguments):
        env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(map(str, self.path)), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
        done = subprocess.run(["/usr/bin/python3", *arguments], capture_output=True, text=True, timeout=120, env=env, **self.user())
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def user():
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam(RUN_AS)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def run(self, command):
        """Runs the writer with this Django as httpd's user, from a copy that the user may read."""
        return self.python(str(self.httpd.stage.path / "session_writer.py"), str(self.state), command)

    def locations(self):
        code = (
            "import json, sys; sys.path.insert(0, %r); import session_writer as w\n"
            "print(json.dumps({n: s[3] for n, s in w.stores(%r, json.load(open(%r))).items()}))"
            % (str(self.httpd.stage.path), str(self.state), str(self.state / "site.json"))
        )
        return json.loads(self.python("-c", code))

    def start(self):
        places = "".join(
            """
<Location /events/{name}>
    SetHandler sse-stream
    SSERealm {name}
    SSESession {session}
    SSESecretKeyFile "{{dir}}/session.keys"
    SSEDjangoConfig "{{dir}}/django.json"
    SSESessionCache 0
</Location>
<Location /sse-admin/{name}>
    SetHandler sse-admin
    SSERealm {name}
    SSEAdminKeyFile "{{dir}}/keys"
</Location>
""".format(name=name, session=session)
            for name, session in self.sessions.items()
        )
        self.httpd.configure(server='DBDriver %s\nDBDParams "%s"\n' % self.dbd, locations=places).start()
        return self

    def stream(self, name, cookie):
        return EventStream(self.httpd.address, "/events/" + name, headers={"Cookie": "sessionid=" + cookie}, timeout=30)

    def status(self, name, cookie):
        with self.stream(name, cookie) as s:
            return s.status


def sqlite(state):
    path = "%s/site.sqlite3" % state
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path}, ("sqlite3", path)


def postgres(server):
    entry = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": server.port, "USER": "postgres", "NAME": "site"}
    params = "host=127.0.0.1 port=%d user=postgres dbname=site connect_timeout=2 tcp_user_timeout=3000" % server.port
    return lambda state: (entry, ("pgsql", params))


def mariadb(server):
    entry = {"ENGINE": "django.db.backends.mysql", "HOST": server.socket, "USER": "root", "NAME": "site"}
    return lambda state: (entry, ("mysql", "sock=%s user=root dbname=site group=sse" % server.socket))


@pytest.fixture(scope="module", params=SITES, ids=lambda site: "-".join(site[:2]))
def site(request, make_shared_httpd, stage):
    version, kind, use_tz = request.param
    unpacked = stage.path / ("django-" + version)
    if version != "3.2" and not unpacked.exists():
        subprocess.run([str(TOP / "script" / "fetch-django"), version], check=True, capture_output=True, timeout=600)
        shutil.copytree(TOP / "build" / "django" / version, unpacked, ignore_dangling_symlinks=True)
    database, server = sqlite, None
    if kind != "sqlite":
        server = PostgresServer() if kind == "postgres" else MariadbServer()
        request.addfinalizer(server.remove)
        server.create_database("site")
        database = (postgres if kind == "postgres" else mariadb)(server)
    redis, memcached = RedisServer(), MemcachedServer()
    request.addfinalizer(redis.remove)
    request.addfinalizer(memcached.remove)
    writer = stage.path / "session_writer.py"
    writer.write_text((TOP / "tests" / "support" / "session_writer.py").read_text())
    site = Site(make_shared_httpd(), version, database, use_tz, redis, memcached)
    site.redis, site.memcached = redis, memcached
    site.database = server
    return site.start()


def test_every_store(site):
    cookies = json.loads(site.run("log-in"))
    assert set(cookies) == set(site.sessions) and len(cookies) >= 7
    for name, cookie in cookies.items():
        with site.stream(name, cookie) as s:
            assert s.status == 200, name
            s.opened()
            admin = site.httpd.admin("/sse-admin/" + name)
            assert wait_until(lambda: admin.get("/presence/users")["users"], 5, name) == ["1"], name
            assert admin.get("/presence/groups/editors")["online"] == ["1"], name
            admin.publish("to:group", 7, groups=["größe & <co>"])
            s.expect("to:group", "7")
        other = [n for n in cookies if n != name]
        if name == "signed_cookies":
            assert site.status("db", cookie) == 403
        else:
            assert site.status("signed_cookies", cookie) == 403
            assert site.status(name, cookies[other[0]][::-1]) == 403
    site.run("log-out")
    for name, cookie in cookies.items():
        # A cookie that is the session cannot be taken back (docs/sessions.md).
        assert site.status(name, cookie) == (200 if name == "signed_cookies" else 403), name


def test_end_of_a_session(site):
    """The session's own end ends its streams, to the second, and opens none afterwards."""
    with contextlib.ExitStack() as streams:
        found = json.loads(site.run("log-in-briefly"))
        assert len(found) >= 6
        opened = {}
        for name, (cookie, _) in found.items():
            opened[name] = streams.enter_context(site.stream(name, cookie))
            assert opened[name].status == 200, name
            opened[name].opened()
        for name, (_, end) in sorted(found.items(), key=lambda item: item[1][1]):
            last = opened[name].rest(30)[-1]
            ended = time.time()
            assert last.type == "stream-end" and json.loads(last.data) == {"reason": "expired"}, name
            assert end - 1.5 <= ended <= end + 2, (name, ended - end)
        for name, (cookie, _) in found.items():
            # memcached's clock ticks once a second and forgets that much later
            wait_until(lambda: site.status(name, cookie) == 403, 3, name, step=0.2)


def test_cache_away(site):
    """Redis or memcached away: a passing fault with `cache`, the database instead with `cached_db`; both come back."""
    cookies = json.loads(site.run("log-in"))
    site.httpd.log.allow("SSE0506|SSE0120")
    cached = [n for n, s in site.sessions.items() if s.startswith("cache ") and ("redis:" in s or "memcached:" in s)]
    cached_db = [n for n, s in site.sessions.items() if s.startswith("cached_db ")]
    assert cached and cached_db
    site.redis.stop()
    site.memcached.stop()
    for name in cached:
        with site.stream(name, cookies[name]) as s:
            assert s.status == 200
            end = s.rest(30)[-1]
            assert end.type == "stream-end" and json.loads(end.data) == {"reason": "unavailable"}, name
    for name in cached_db:
        with site.stream(name, cookies[name]) as s:
            assert s.status == 200
            s.opened()
    site.redis.start()
    site.memcached.start()
    cookies = json.loads(site.run("log-in"))
    for name in cached + cached_db:
        with site.stream(name, cookies[name]) as s:
            assert s.status == 200
            s.opened()


def test_sessions_mirrored_to_the_hub(httpd):
    """`SSESession hub`: whatever made the session, the application says whose it is; httpd needs no database and no secret."""
    key = "c$A-custom-engine's-Key"
    name = "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    httpd.configure(locations="<Location /events>\n    SetHandler sse-stream\n    SSESession hub\n    SSESessionCache 0\n</Location>\n" + ADMIN).start()
    admin = httpd.admin()

    def status():
        with EventStream(httpd.address, headers={"Cookie": "sessionid=" + key}) as s:
            return s.status

    assert status() == 403
    end = int(time.time()) + 4
    admin.call("PUT", "/sessions/" + name, {"user": "7", "expires": end})
    with httpd.stream(headers={"Cookie": "sessionid=" + key}, timeout=20) as s:
        s.opened()
        admin.publish("to:seven", 1, users=["7"])
        s.expect("to:seven", "1")
        last = s.rest(20)[-1]
        assert json.loads(last.data) == {"reason": "expired"}
        assert end - 1 <= time.time() <= end + 2
    assert status() == 403

    admin.call("PUT", "/sessions/" + name, {"user": "7", "expires": int(time.time()) + 600})
    with httpd.stream(headers={"Cookie": "sessionid=" + key}, timeout=20) as s:
        s.opened()
        admin.call("DELETE", "/sessions/" + name)
        last = s.rest(20)[-1]
        assert json.loads(last.data) == {"reason": "logout"} and last.id.endswith(".end")
    assert status() == 403
    assert not httpd.log.matching("custom-engine")


@pytest.mark.parametrize("site", [site for site in SITES if site[1] == "mariadb"], ids=["mariadb"], indirect=True)
def test_table_locked_for_long(site):
    """A query that waits behind somebody's lock is given up within seconds; the next one after the lock is answered."""
    cookie = json.loads(site.run("log-in"))["db"]
    site.httpd.log.allow("dbd|DBD|SSE0120|SSE0121|SSE0502")
    site.stream("db", cookie).close()
    with site.database.locked("site", "auth_user"):
        began = time.monotonic()
        with site.stream("db", cookie) as s:
            assert json.loads(s.rest(20)[-1].data) == {"reason": "unavailable"}
        assert time.monotonic() - began < 8

    def back():
        with site.stream("db", cookie) as s:
            return s.next(20).type == "stream-open"

    wait_until(back, 30, "the database is used again", step=0.2)
