# SPDX-License-Identifier: Apache-2.0
"""Servers for connects with a login: the same Django site, sessions in PostgreSQL, asked by nchan through mod_wsgi for every stream,
or read by mod_sse itself."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from backends import PostgresServer
from bench_servers import ADMIN, MPM, ModSse, Nchan
from httpd_server import Httpd
from stage import give, make_directory

SITE = os.path.join(os.path.dirname(__file__), "bench_site.py")
COOKIE = "Cookie: sessionid=benchbenchbenchbenchbenc%z"
PYTHON = "/usr/bin/python3"
WARM = 400  # users and sessions for the requests before


def warm(httpd, path, users):
    """All processes have loaded, and are connected to the database, before anything is timed. The sessions asked for are not those
    that are measured."""

    def ask(n):
        name, value = COOKIE.replace("%z", "%08d" % (users + n)).split(": ")
        return httpd.fetch(path, method="HEAD", headers={name: value}).status

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(ask, range(WARM)))
    if answers != {200}:
        raise AssertionError(f"{path}: sessions are not known: {answers}")


class Site:
    """The database with its users and sessions, and the directory from which mod_wsgi runs the view."""

    def __init__(self):
        self.dir = make_directory("mod_sse-site-")
        self.script = self.dir / "site.wsgi"
        self.database = None

    def start(self, users):
        self.database = PostgresServer()
        self.database.create_database("bench")
        # A UNIX socket, as a site on its database's own host has it: for Django and for mod_dbd.
        (self.dir / "host").write_text(f"{self.database.dir}\n")
        (self.dir / "port").write_text(f"{self.database.port}\n")
        with open(SITE) as source:
            self.script.write_text(source.read())
        give(self.dir)
        done = subprocess.run([PYTHON, SITE, str(users + WARM)], env=dict(os.environ, BENCH_SITE=str(self.dir)), capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stderr)

    def secret_key(self):
        line = next(line for line in self.script.read_text().splitlines() if line.startswith("SECRET_KEY = "))
        return line.split('"')[1]

    def remove(self):
        if self.database:
            self.database.remove()
        for path in self.dir.rglob("*"):
            path.unlink()
        self.dir.rmdir()


class PlainHttpd(ModSse):
    """No stream at all: the same httpd gives a file of three bytes over a connection of its own. What a request costs anyway."""

    name = "httpd, a file"

    def configure(self):
        super().configure()
        (self.httpd.dir / "htdocs" / "tiny.txt").write_text("ok\n")

    def load_args(self, scenario):
        return ["--path", "/tiny.txt", "--header", "Connection: close", "--ready", "ok", "--once"]


class NchanLogin(Nchan):
    """nchan_authorize_request to Django under mod_wsgi in daemon mode: two processes of four threads, kept connections to it and from
    it to the database."""

    def __init__(self, bench, users):
        super().__init__(bench, 1)
        self.users = users
        self.site = Site()
        self.httpd = Httpd(bench.stage)
        self.httpd.configure(
            modules=["wsgi"],
            mpm_settings=MPM,
            locations=f"""
WSGIDaemonProcess bench processes=2 threads=4 user=www-data
WSGIProcessGroup bench
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {self.site.script}
<Directory {self.site.dir}>
    Require all granted
</Directory>
""",
        )
        conf = self.httpd.conf.read_text().splitlines()
        unwanted = ("LogFormat ", "CustomLog ", "SSE", "LoadModule sse_module", "LoadModule status_module", "ExtendedStatus", "LogLevel")
        text = "\n".join(line for line in conf if not line.startswith(unwanted))
        self.httpd.conf.write_text(text.replace("<Location /server-status>\nSetHandler server-status\n</Location>\n", "") + "\n")
        self.locations = f"""
        location = /login {{
            nchan_subscriber eventsource;
            nchan_authorize_request /authorize;
            nchan_channel_id bench;
            {self.store}
        }}
        location = /authorize {{
            internal;
            proxy_pass http://django;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
"""
        self.more_http = f"upstream django {{ server 127.0.0.1:{self.httpd.port}; keepalive 32; }}"

    kinds = {"apache2": "Django"}

    def start(self):
        self.site.start(self.users)
        self.httpd.start(hub=False)
        super().start()

    def prepare(self, scenario, streams):
        warm(self.httpd, "/authorize", streams)

    def pids(self):
        return [self.process.pid, self.httpd.process.pid, self.site.database.process.pid]

    def stop(self):
        try:
            super().stop()
        finally:
            self.httpd.stop()
            self.httpd.remove()
            self.site.remove()

    def load_args(self, scenario):
        return ["--path", "/login", "--header", COOKIE, "--ready", ": hi"]


class ModSseLogin(ModSse):
    """SSESession db: mod_dbd reads session, user and groups from the site's database."""

    def __init__(self, bench, users):
        self.users = users
        self.site = Site()
        super().__init__(bench)

    def start(self):
        self.site.start(self.users)
        super().start()

    def configure(self):
        (self.httpd.dir / "secret").write_text(self.site.secret_key() + "\n")
        database = self.site.database
        server = f"""
DBDriver pgsql
DBDParams "host={database.dir} port={database.port} dbname=bench user=postgres connect_timeout=5 options='-c statement_timeout=5000'"
DBDMin 2
DBDKeep 16
DBDMax 16
DBDExptime 300
"""
        login = """
<Location /login>
    SetHandler sse-stream
    SSESession db
    SSESecretKeyFile "{dir}/secret"
    SSEAllowEvents **
</Location>
"""
        self.httpd.configure(server=server + self.directives, locations=ADMIN + login, mpm_settings=MPM)

    def prepare(self, scenario, streams):
        warm(self.httpd, "/login", streams)

    def pids(self):
        return [self.httpd.process.pid, self.site.database.process.pid]

    def stop(self):
        try:
            super().stop()
        finally:
            self.site.remove()

    def load_args(self, scenario):
        return ["--path", "/login?event=bench", "--header", COOKIE, "--ready", "event: stream-open"]
