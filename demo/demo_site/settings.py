# SPDX-License-Identifier: Apache-2.0
"""Settings of the demo site.

What differs from machine to machine lies in one directory, DEMO_STATE, that `script/demo` makes: the database, the secret
key, the collected static files and the hub's admin socket. `manage.py runserver` works without it and without Apache: it then
uses mod_sse's stand-in and a directory of its own beside this project.
"""

import os
import secrets
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent
WITH_APACHE = "DEMO_STATE" in os.environ
STATE = Path(os.environ.get("DEMO_STATE", BASE / "state"))


def secret_key() -> str:
    """The key that httpd reads, too (SSESecretKeyFile); made at first use."""
    path = STATE / "secret.key"
    if not path.exists():
        STATE.mkdir(mode=0o750, exist_ok=True)
        path.touch(mode=0o640)
        path.write_text(secrets.token_urlsafe(48) + "\n")
    return path.read_text().splitlines()[0]


SECRET_KEY = secret_key()
DEBUG = not WITH_APACHE
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "mod_sse",
    "board",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "mod_sse.middleware.EventsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo_site.urls"
WSGI_APPLICATION = "demo_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE / "demo.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = STATE / "static"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "board"
LOGOUT_REDIRECT_URL = "login"

# The streams: httpd's hub, or the stand-in of runserver.
SSE_ADMIN_URL = f"unix://{STATE}/run/admin.sock" if WITH_APACHE else "runserver:"
SSE_STREAM_URL = "/events/"
