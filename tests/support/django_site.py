# SPDX-License-Identifier: Apache-2.0
"""The demo's Django project behind real mod_wsgi (daemon mode), inside a test's httpd, with the session engine and database
that the test wants. Log-ins go through Django's own pages, so cookies and rows are Django's own."""

import os
import pwd
import re
import shutil
import subprocess
import sys

from event_stream import fetch
from stage import RUN_AS, TOP, give

_SETTINGS = """
import os
os.environ["DEMO_STATE"] = {state!r}
from demo_site.settings import *
DEBUG = False
SECRET_KEY = {secret!r}
SECRET_KEY_FALLBACKS = {fallbacks!r}
SESSION_ENGINE = {engine!r}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SSE_ADMIN_URL = {admin_url!r}
{extra}
"""

_WSGI = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "test_settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""

_SERVER = """
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
WSGIDaemonProcess site processes=1 threads=6 home="{dir}/app" python-path="{dir}/app" display-name=site
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / "{dir}/app/test_wsgi.py"
WSGISocketPrefix "{dir}/run/wsgi"
Alias /static/ "{dir}/static/"
Alias /plain.html "{dir}/htdocs/index.html"
<Directory "{dir}/app">
    Require all granted
</Directory>
<Directory "{dir}/static">
    Require all granted
</Directory>
"""

PASSWORD = "a-password-of-tests"

# One process makes everything, since starting Django costs most: tables, static files, three people and a group.
_MAKE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
g = Group.objects.create(name="editors")
for n, name in enumerate(("alice", "bob", "carol")):
    print("ID", name, User.objects.create_user(name, password=%r, is_staff=not n, is_superuser=not n).pk)

g.user_set.add(User.objects.get(username="alice"))
print("CONFIG")
call_command("sse_config")
""" % PASSWORD


class DjangoSite:
    """Written into `httpd.dir` and configured into `httpd`; start() makes tables, users and the server."""

    def __init__(self, httpd, engine="db", postgres_port=None, secret="the-secret-key-of-the-test-site", fallbacks=(), settings="", location=""):
        self.httpd = httpd
        self.engine = engine
        self.postgres_port = postgres_port
        self.secrets = [secret, *fallbacks]
        self.app = httpd.dir / "app"
        shutil.copytree(TOP / "demo", self.app, ignore=shutil.ignore_patterns("__pycache__", "state"))
        shutil.copytree(TOP / "python" / "mod_sse", self.app / "mod_sse", ignore=shutil.ignore_patterns("__pycache__"))
        (httpd.dir / "static").mkdir()
        (httpd.dir / "db").mkdir()
        extra = settings
        if postgres_port:
            extra += (
                '\nDATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": %d, "USER": "postgres", "NAME": "site"}}\n'
                % postgres_port
            )
        else:
            extra += '\nDATABASES["default"]["NAME"] = %r\n' % str(httpd.dir / "db" / "site.sqlite3")
        (self.app / "test_settings.py").write_text(
            _SETTINGS.format(
                state=str(httpd.dir),
                secret=secret,
                fallbacks=list(fallbacks),
                engine="django.contrib.sessions.backends." + engine,
                admin_url="unix://%s" % httpd.admin_socket_path,
                extra=extra,
            )
        )
        (self.app / "test_wsgi.py").write_text(_WSGI)
        self.write_keys(*self.secrets)
        (httpd.dir / "secret.key").write_text(secret + "\n")
        give(httpd.dir / "db")
        give(httpd.dir / "static")
        self._location = location

    def write_keys(self, *keys):
        """What httpd reads as SSESecretKeyFile."""
        (self.httpd.dir / "session.keys").write_text("\n".join(keys) + "\n")

    def _process(self):
        env = {"PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "test_settings", "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(self.app), "LANG": "C.UTF-8"}
        settings = {"cwd": self.app, "env": env}
        if os.geteuid() == 0:
            entry = pwd.getpwnam(RUN_AS)
            settings.update(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])
        return settings

    def manage(self, *arguments, stdin=None):
        """Runs manage.py as httpd's user and returns what it printed."""
        done = subprocess.run(
            ["/usr/bin/python3", "manage.py", *arguments], input=stdin, capture_output=True, text=True, timeout=120, **self._process()
        )
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            raise AssertionError("manage.py %s: status %d" % (" ".join(arguments), done.returncode))
        return done.stdout

    def shell(self, code):
        """Runs Python inside the project; what it prints is returned."""
        return self.manage("shell", stdin="from django.contrib.auth.models import *\nfrom django.dispatch import Events\n" + code + "\n")

    def prepare(self):
        """Makes tables, static files, alice, bob and carol."""
        made = self.shell(_MAKE)
        self.ids = dict(re.findall(r"^ID (\w+) (\w+)$", made, re.M))
        (self.httpd.dir / "django.json").write_text(made.split("CONFIG", 1)[1])
        return self

    def wsgi(self):
        """The server lines that put the site under /."""
        return _SERVER

    def start(self, server=""):
        self.prepare()
        if self.postgres_port:
            database = (
                "DBDriver pgsql\nDBDParams \"host=127.0.0.1 port=%d user=postgres dbname=site connect_timeout=2 "
                "tcp_user_timeout=3000 options='-c statement_timeout=3000'\"\n" % self.postgres_port
            )
        else:
            database = 'DBDriver sqlite3\nDBDParams "{dir}/db/site.sqlite3"\n'
        stream = """
<Location /events>
    SetHandler sse-stream
    SSESession %s
    SSESecretKeyFile "{dir}/session.keys"
    SSEDjangoConfig "{dir}/django.json"
    SSEAllowEvents user:%%{user}:* public:*
    SSESessionCache 0
    Require all granted
    %s
</Location>
<Location /sse-admin>
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
</Location>
""" % (self.engine, self._location)  # fmt: skip
        self.httpd.configure(server=database + _SERVER + server, locations=stream)
        self.httpd.start()
        return self

    def log_in(self, name, password=PASSWORD):
        """Logs in through the site's page and returns the session cookie's value."""
        page = fetch(self.httpd.address, target="/login/", timeout=30)
        assert page.status == 200, page.body
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
        cookie = re.search(r"csrftoken=([^;]+)", page.head.get("set-cookie"))[1]
        body = "csrfmiddlewaretoken=%s&username=%s&password=%s" % (token, name, password)
        answer = fetch(
            self.httpd.address,
            "POST",
            "/login/",
            {"Cookie": "csrftoken=" + cookie, "Content-Type": "application/x-www-form-urlencoded"},
            body.encode(),
            timeout=30,
        )
        assert answer.status == 302, (answer.status, answer.body)
        for value in answer.head.all("set-cookie"):
            found = re.match(r'sessionid="?([^";]+)', value)
            if found:
                return found[1]
        raise AssertionError("no session cookie in %r" % answer.head.raw)

    def log_out(self, session):
        page = fetch(self.httpd.address, target="/", headers={"Cookie": "sessionid=" + session}, timeout=30)
        token = re.search(r'data-csrf="([^"]+)"|csrfmiddlewaretoken" value="([^"]+)"', page.text)
        token = token[1] or token[2]
        cookie = re.search(r"csrftoken=([^;]+)", page.head.get("set-cookie"))[1]
        answer = fetch(
            self.httpd.address,
            "POST",
            "/logout/",
            {"Cookie": "sessionid=%s; csrftoken=%s" % (session, cookie), "Content-Type": "application/x-www-form-urlencoded"},
            ("csrfmiddlewaretoken=" + token).encode(),
            timeout=30,
        )
        assert answer.status in (200, 302), answer.status

    def start_listener(self):
        """manage.py sse_listen: presence as Django signals. The caller ends it."""
        return subprocess.Popen(["/usr/bin/python3", "manage.py", "sse_listen", "--quiet"], stdin=subprocess.DEVNULL, **self._process())
