# SPDX-License-Identifier: Apache-2.0
"""A Django site in one file, for the benchmark of connects with a login: its sessions are what mod_sse reads by itself, its one view
what nchan asks (`nchan_authorize_request`). Run as a program it makes the tables, N users in 64 groups and a session for each; mod_wsgi
loads it as a WSGI script. BENCH_SITE names its directory, where `host` and `port` say where PostgreSQL is."""

import os
import pathlib
import sys

import django
from django.conf import settings

DIRECTORY = pathlib.Path(os.environ.get("BENCH_SITE") or pathlib.Path(__file__).parent)
SECRET_KEY = "bench-secret-key-0123456789abcdefghijklmnopqrstuvwxyz"

settings.configure(
    SECRET_KEY=SECRET_KEY,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "bench",
            "USER": "postgres",
            "HOST": (DIRECTORY / "host").read_text().strip(),
            "PORT": (DIRECTORY / "port").read_text().strip(),
            "CONN_MAX_AGE": None,
        }
    },
)
django.setup()

from django.http import HttpResponse, HttpResponseForbidden  # noqa: E402
from django.urls import path  # noqa: E402


def authorize(request):
    return HttpResponse() if request.user.is_authenticated else HttpResponseForbidden()


urlpatterns = [path("authorize", authorize)]


def session_key(user):
    """As the load client's `%z` makes it."""
    return "benchbenchbenchbenchbenc" + "%08d" % user


def make(n):
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import Group, User
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.utils import timezone

    call_command("migrate", verbosity=0)
    groups = [Group.objects.create(name="g%d" % g) for g in range(64)]
    User.objects.bulk_create(User(username="u%d" % u, password="not-a-password-%d" % u) for u in range(n))
    users = list(User.objects.order_by("pk"))
    members = User.groups.through
    members.objects.bulk_create(members(user=u, group=groups[i % 64]) for i, u in enumerate(users))
    store = Session.get_session_store_class()()
    expires = timezone.now() + timezone.timedelta(days=1)
    Session.objects.bulk_create(
        Session(
            session_key=session_key(i),
            expire_date=expires,
            session_data=store.encode(
                {
                    SESSION_KEY: str(user.pk),
                    BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                    HASH_SESSION_KEY: user.get_session_auth_hash(),
                }
            ),
        )
        for i, user in enumerate(users)
    )


if __name__ == "__main__":
    make(int(sys.argv[1]))
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
