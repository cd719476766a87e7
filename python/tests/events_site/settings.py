# SPDX-License-Identifier: Apache-2.0
"""A small site for the tests. EVENTS_SITE_STATE is the directory of its database; EVENTS_SITE_SETTINGS is JSON laid over."""

import json
import os
from pathlib import Path

STATE = Path(os.environ["EVENTS_SITE_STATE"])
SECRET_KEY = "a-secret-key-for-tests-only-0123456789-abcdefghij"
DEBUG = False
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "mod_sse",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "mod_sse.middleware.EventsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "events_site.urls"
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
        "NAME": str(STATE / "site.sqlite3"),
        "OPTIONS": {"timeout": 20},
        "TEST": {"NAME": str(STATE / "site.sqlite3")},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
SSE_TIMEOUT = 2
# A test that needs a server names it; nothing answers here.
SSE_ADMIN_URL = f"unix://{STATE}/nobody.sock"

globals().update(json.loads(os.environ.get("EVENTS_SITE_SETTINGS", "{}")))
