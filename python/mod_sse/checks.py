# SPDX-License-Identifier: Apache-2.0
"""System checks: every setting, and what would keep the package from working as its documentation says.

Errors (E) are settings that cannot work, warnings (W) what works less well than the site may think.
"""

import re
import ssl
from typing import Any, Iterator, List, Sequence

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .conf import DEFAULTS, REALM, REALM_WORDS, sse_settings
from .members import EventsGroupMixin, EventsUserMixin, foreign_names

MIDDLEWARE = "mod_sse.middleware.EventsMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
BOOLEANS = ("FAIL_SILENTLY", "ON_COMMIT", "DISPATCH_EVENTS", "WATCH_SESSIONS", "MIRROR_SESSIONS")


def error(number: int, text: str, hint: str = "") -> checks.Error:
    return checks.Error(text, hint=hint or None, id=f"mod_sse.E{number:03}")


def warning(number: int, text: str, hint: str = "", obj: Any = None) -> checks.Warning:
    return checks.Warning(text, hint=hint or None, obj=obj, id=f"mod_sse.W{number:03}")


def transport_problems() -> Iterator[checks.CheckMessage]:
    from .transport import make_transport
    from .transport.broker import BrokerTransport

    url = sse_settings.ADMIN_URL
    try:
        make_transport(url)
    except ImproperlyConfigured as err:
        yield error(1, f"{err}.")
        return
    if sse_settings.BROKER:
        try:
            BrokerTransport(sse_settings.BROKER, make_transport(url))
        except ImproperlyConfigured as err:
            yield error(1, f"{err}.")
        history = sse_settings.BROKER_HISTORY
        if not isinstance(history, (list, tuple)) or len(history) != 2 or not all(isinstance(n, int) and n >= 0 for n in history):
            yield error(1, f"SSE_BROKER_HISTORY must be two numbers, messages and seconds as in SSEHistory, not {history!r}.")
    if url.startswith("http"):
        try:
            key = sse_settings.key()
        except ImproperlyConfigured as err:
            yield error(2, f"{err}.")
            return
        if key is None:
            yield error(
                2, "SSE_ADMIN_URL is an HTTP address, but neither SSE_ADMIN_KEY nor SSE_ADMIN_KEY_FILE is set.",
                "Take the key from the file that httpd's SSEAdminKeyFile names.",
            )
        elif not key.isprintable() or not key.isascii() or " " in key:
            yield error(2, "SSE_ADMIN_KEY must be printable ASCII without spaces.")
    if sse_settings.ADMIN_CA_FILE:
        try:
            ssl.create_default_context(cafile=sse_settings.ADMIN_CA_FILE)
        except (OSError, TypeError, ValueError) as err:
            yield error(2, f"SSE_ADMIN_CA_FILE {sse_settings.ADMIN_CA_FILE!r} cannot be read: {err}.")
    if url.startswith("runserver:") and not settings.DEBUG:
        yield error(3, "SSE_ADMIN_URL = 'runserver:' is for development: it works in one process only, and DEBUG is off.",
                    "Run Apache httpd with mod_sse and set SSE_ADMIN_URL to its admin socket.")


def value_problems() -> Iterator[checks.CheckMessage]:
    realm = sse_settings.REALM
    if not isinstance(realm, str) or not REALM.fullmatch(realm):
        yield error(4, f"SSE_REALM must be {REALM_WORDS}, not {realm!r}.")
    if sse_settings.SUBSCRIPTIONS not in ("session", "db"):
        yield error(5, f"SSE_SUBSCRIPTIONS must be 'session' or 'db', not {sse_settings.SUBSCRIPTIONS!r}.")
    timeout = sse_settings.TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 300:
        yield error(6, f"SSE_TIMEOUT must be a number of seconds above 0 and up to 300, not {timeout!r}.")
    size = sse_settings.MAX_MESSAGE_SIZE
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        yield error(11, f"SSE_MAX_MESSAGE_SIZE must be a number of bytes, as in SSEMaxMessageSize, not {size!r}.")
    for name in BOOLEANS:
        value = getattr(sse_settings, name)
        if not isinstance(value, bool):
            yield error(7, f"SSE_{name} must be True or False, not {value!r}.")
    try:
        import_string(sse_settings.JSON_ENCODER)
    except (ImportError, TypeError, AttributeError) as err:
        yield error(8, f"SSE_JSON_ENCODER {sse_settings.JSON_ENCODER!r} cannot be imported: {err}.")
    url = sse_settings.STREAM_URL
    if not isinstance(url, str) or not re.match(r"/|https?://", url):
        yield error(9, f"SSE_STREAM_URL must begin with '/' or http(s)://, not {url!r}.")


def unknown_names() -> Iterator[checks.CheckMessage]:
    for name in dir(settings):
        if name.startswith("SSE_") and name[4:] not in DEFAULTS:
            yield warning(20, f"{name} is none of this package's settings.", "Known: " + ", ".join("SSE_" + n for n in sorted(DEFAULTS)) + ".")


@checks.register("mod_sse")
def check_settings(app_configs: Any = None, **kwargs: Any) -> List[checks.CheckMessage]:
    return [*transport_problems(), *value_problems(), *unknown_names()]


def place(items: Sequence[str], name: str) -> int:
    return list(items).index(name) if name in items else -1


@checks.register("mod_sse")
def check_middleware(app_configs: Any = None, **kwargs: Any) -> List[checks.CheckMessage]:
    mine, sessions = place(settings.MIDDLEWARE, MIDDLEWARE), place(settings.MIDDLEWARE, SESSIONS)
    if sse_settings.SUBSCRIPTIONS != "session" and not sse_settings.MIRROR_SESSIONS:
        return []
    if mine < 0:
        return [
            warning(
                21, f"{MIDDLEWARE} is not in MIDDLEWARE: subscriptions are permanent instead of tied to the session.",
                f"Add it before {SESSIONS}, or set SSE_SUBSCRIPTIONS = 'db'.",
            )
        ]
    if 0 <= sessions < mine:
        return [
            warning(
                22, f"{MIDDLEWARE} comes after {SESSIONS}: it cannot see a session key that changes in the same request.",
                "Put it before.",
            )
        ]
    return []


@checks.register("mod_sse")
def check_apps(app_configs: Any = None, **kwargs: Any) -> List[checks.CheckMessage]:
    """The apps before ours were imported when ``django.dispatch`` had no Events yet (their models were not)."""
    if not sse_settings.DISPATCH_EVENTS:
        return []
    before = []
    for config in apps.get_app_configs():
        if config.name == "mod_sse":
            break
        if not config.name.startswith("django."):
            before.append(config.name)
    if not before:
        return []
    return [
        warning(
            23, f"'mod_sse' comes after {', '.join(map(repr, before))} in INSTALLED_APPS: their apps.py and __init__.py cannot import "
            "Events from django.dispatch.", "Put 'mod_sse' first, or set SSE_DISPATCH_EVENTS = False and import from mod_sse.",
        )
    ]


@checks.register("mod_sse", checks.Tags.models)
def check_methods(app_configs: Any = None, **kwargs: Any) -> List[checks.CheckMessage]:
    if not apps.is_installed("django.contrib.auth"):
        return [error(10, "'django.contrib.auth' is not in INSTALLED_APPS: there are no users to send events to.")]
    from django.contrib.auth.models import Group

    found: List[checks.CheckMessage] = []
    for model, mixin in ((get_user_model(), EventsUserMixin), (Group, EventsGroupMixin)):
        for name in foreign_names(model, mixin):
            found.append(
                warning(
                    24, f"{model.__name__}.{name} is not this package's: the class or a related_name has defined it.",
                    f"It stays as it is; call mod_sse.members.{mixin.__name__}.{name}({model.__name__.lower()}, …) instead.", obj=model,
                )
            )
    return found


@checks.register("mod_sse")
def check_sessions(app_configs: Any = None, **kwargs: Any) -> List[checks.CheckMessage]:
    from . import httpdconf

    if not apps.is_installed("django.contrib.auth"):
        return []
    try:
        engine = httpdconf.engine_name()
        problems = [] if sse_settings.MIRROR_SESSIONS else httpdconf.problems()
    except (ImportError, AttributeError, RuntimeError):
        return []  # SESSION_ENGINE does not load: Django's own checks say it better
    found: List[checks.CheckMessage] = [warning(25, sentence, hint) for sentence, hint in problems]
    if engine == "signed_cookies":
        found.append(
            checks.Info(
                "With signed_cookies a session cannot be ended on the server: after a logout a stolen cookie works until it is too old "
                "or the password changes. Streams that are open at logout do end.",
                hint="Use another SESSION_ENGINE if that matters.",
                id="mod_sse.I026",
            )
        )
    return found


@checks.register("mod_sse", deploy=True)
def check_deployment(app_configs: Any = None, **kwargs: Any) -> List[checks.CheckMessage]:
    url = str(sse_settings.ADMIN_URL)
    if re.match(r"https?://(localhost|127\.|\[::1\])", url):
        return [
            warning(
                27, "SSE_ADMIN_URL goes through httpd on this host: when all its workers wait for views that publish, these wait for a worker "
                "until SSE_TIMEOUT.", "Use the admin socket: SSE_ADMIN_URL = 'unix:///run/mod_sse/admin.sock'.",
            )
        ]
    if re.match(r"http://", url):
        return [warning(28, "SSE_ADMIN_URL sends the admin key in clear over the network.", "Use https://, or the admin socket.")]
    return []
