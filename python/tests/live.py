# SPDX-License-Identifier: Apache-2.0
"""The test site with a real httpd and hub behind it: this process is Django, streams come from httpd, sessions lie in one SQLite file."""

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client, override_settings

from httpd_server import ADMIN, KEY
from mod_sse.models import Subscription
from waiting import wait_until

STREAM = """
<Location /events>
    SetHandler sse-stream
    SSESession db
    SSESecretKeyFile "{state}/secret.key"
    SSEDjangoConfig "{state}/django.json"
</Location>
"""
DATABASE = """
DBDriver sqlite3
DBDParams "{state}/site.sqlite3"
DBDInitSQL "PRAGMA busy_timeout = 5000"
"""


class LiveSite:
    def __init__(self, httpd, state, server=DATABASE + "SSEPresenceGrace 1\n", locations=STREAM + ADMIN):
        self.httpd = httpd
        self.state = state
        (state / "secret.key").write_text(settings.SECRET_KEY + "\n")
        call_command("sse_config", output=str(state / "django.json"))
        httpd.configure(server=server.replace("{state}", str(state)), locations=locations.replace("{state}", str(state)))
        httpd.start()
        wait_until(self.healthy, 20, "the hub serves")

    def healthy(self):
        return self.httpd.fetch("/sse-admin/health").status == 200

    def settings(self, way):
        """The settings under which this process reaches the hub: over HTTP or the admin socket."""
        if way == "http":
            found = {"SSE_ADMIN_URL": f"http://127.0.0.1:{self.httpd.port}/sse-admin/", "SSE_ADMIN_KEY": KEY}
        else:
            found = {"SSE_ADMIN_URL": f"unix://{self.httpd.admin_socket_path}"}
        return dict(found, SSE_TIMEOUT=10, SSE_STREAM_URL="/events")

    def use(self, way):
        return override_settings(**self.settings(way))

    def make_user(self, name, **more):
        return User.objects.create_user(name, password="pw", **more)

    def log_in(self, name, **query):
        client = Client()
        assert client.get("/in/", {"name": name, **query}).status_code == 200
        return client

    def stream(self, client, query="", headers=(), opened=True):
        """A stream with the client's session cookie, after its stream-open."""
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        stream = self.httpd.stream("/events" + query, headers=[("Cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}"), *headers])
        if opened:
            stream.opened()
        return stream

    def status(self, client, headers=()):
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        return self.httpd.fetch("/events", headers=[("Cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}"), *headers]).status

    def empty(self):
        """Takes every row away again, and with it what the hub knows of it."""
        Subscription.objects.all().delete()
        Group.objects.all().delete()
        User.objects.all().delete()
        Session.objects.all().delete()
