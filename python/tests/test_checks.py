# SPDX-License-Identifier: Apache-2.0
"""System checks: each wrong setting is named."""

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from processes import manage

GOOD = {"SSE_ADMIN_URL": "unix:///run/mod_sse/admin.sock"}


def found(**settings):
    with override_settings(**dict(GOOD, **settings)):
        return {message.id: message.msg for message in run_checks() if (message.id or "").startswith("mod_sse")}


def test_nothing_to_say():
    assert found() == {}


@pytest.mark.parametrize(
    "identity, settings",
    [
        ("mod_sse.E001", {"SSE_ADMIN_URL": "ftp://x"}),
        ("mod_sse.E001", {"SSE_ADMIN_URL": None}),
        ("mod_sse.E002", {"SSE_ADMIN_URL": "https://x/sse-admin/"}),
        ("mod_sse.E002", {"SSE_ADMIN_URL": "https://x/sse-admin/", "SSE_ADMIN_KEY_FILE": "/nowhere"}),
        ("mod_sse.E002", {"SSE_ADMIN_URL": "https://x/sse-admin/", "SSE_ADMIN_KEY": "two words"}),
        ("mod_sse.E002", {"SSE_ADMIN_CA_FILE": "/nowhere.pem"}),
        ("mod_sse.E011", {"SSE_MAX_MESSAGE_SIZE": "1M"}),
        ("mod_sse.E011", {"SSE_MAX_MESSAGE_SIZE": 0}),
        ("mod_sse.E001", {"SSE_BROKER": "http://h"}),
        ("mod_sse.E001", {"SSE_BROKER": "redis://h", "SSE_BROKER_HISTORY": 5}),
        ("mod_sse.E003", {"SSE_ADMIN_URL": "runserver:"}),
        ("mod_sse.E004", {"SSE_REALM": "a realm"}),
        ("mod_sse.E005", {"SSE_SUBSCRIPTIONS": "cookie"}),
        ("mod_sse.E006", {"SSE_TIMEOUT": 0}),
        ("mod_sse.E006", {"SSE_TIMEOUT": "5"}),
        ("mod_sse.E007", {"SSE_FAIL_SILENTLY": "no"}),
        ("mod_sse.E008", {"SSE_JSON_ENCODER": "json.Encoder"}),
        ("mod_sse.E009", {"SSE_STREAM_URL": "events"}),
        ("mod_sse.W020", {"SSE_ADMIN_ULR": "x"}),
        ("mod_sse.W021", {"MIDDLEWARE": []}),
        (
            "mod_sse.W022",
            {"MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware", "mod_sse.middleware.EventsMiddleware"]},
        ),
        ("mod_sse.W025", {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}),
        ("mod_sse.I026", {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}),
    ],
)
def test_each(identity, settings):
    messages = found(**settings)
    assert identity in messages
    for name, value in settings.items():
        if name.startswith("SSE_") and identity[8] == "E" and identity not in ("mod_sse.E003",):
            assert "SSE_" in messages[identity]


def test_good_values():
    for settings in (
        {"SSE_ADMIN_URL": "https://x/sse-admin/", "SSE_ADMIN_KEY": "k"},
        {"SSE_ADMIN_URL": "runserver:", "DEBUG": True},
        {"SSE_TIMEOUT": 0.5, "SSE_REALM": "shop-2", "SSE_STREAM_URL": "https://events.example.org/"},
        {"SSE_SUBSCRIPTIONS": "db", "MIDDLEWARE": []},
        {"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "SSE_MIRROR_SESSIONS": True},
    ):
        assert found(**settings) == {}, settings


def test_deployment():
    def deployed(url):
        with override_settings(SSE_ADMIN_URL=url, SSE_ADMIN_KEY="k"):
            return {m.id for m in run_checks(include_deployment_checks=True) if (m.id or "").startswith("mod_sse")}

    assert deployed("http://localhost/sse-admin/") == {"mod_sse.W027"}
    assert deployed("http://events.example.org/sse-admin/") == {"mod_sse.W028"}
    assert deployed("https://events.example.org/sse-admin/") == set()
    assert deployed("unix:///run/mod_sse/admin.sock") == set()


def test_apps_in_the_wrong_order():
    apps = ["late_app", "mod_sse", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    status, out, err = manage("check", INSTALLED_APPS=apps, MIDDLEWARE=["mod_sse.middleware.EventsMiddleware"], ROOT_URLCONF="late_app.urls", TEMPLATES=[])
    assert status == 0 and "mod_sse.W023" in err and "'late_app'" in err


def test_names_that_a_site_has_defined():
    apps = ["mod_sse", "rival_app", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    status, out, err = manage("check", INSTALLED_APPS=apps, MIDDLEWARE=["mod_sse.middleware.EventsMiddleware"], ROOT_URLCONF="late_app.urls", TEMPLATES=[])
    assert status == 0 and "User.subscriptions is not this package's" in err


def test_dispatch_can_be_turned_off():
    from processes import python

    source = "import django.dispatch, mod_sse\nprint(hasattr(django.dispatch, 'Events'), mod_sse.Events.__name__)"
    assert python(source, SSE_DISPATCH_EVENTS=False) == "False Events\n"
    assert python(source) == "True Events\n"
