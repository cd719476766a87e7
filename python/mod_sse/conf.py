# SPDX-License-Identifier: Apache-2.0
"""The app's settings: one place for names and defaults.

``sse_settings.TIMEOUT`` is ``settings.SSE_TIMEOUT`` or its default, read anew at each use, so that ``override_settings``
works. Nothing is validated here: that is the work of ``checks.py`` and of the transport that uses a value.
"""

import re
from pathlib import Path
from typing import Any, Dict, Optional

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

REALM = re.compile(r"[A-Za-z0-9._-]{1,64}")
REALM_WORDS = "1 to 64 of A-Z a-z 0-9 . _ -"

DEFAULTS: Dict[str, Any] = {
    # Where the hub is told things: http(s)://host/sse-admin/, unix:///run/mod_sse/admin.sock, or "runserver:" (development).
    "ADMIN_URL": "unix:///run/mod_sse/admin.sock",
    "ADMIN_KEY": None,
    "ADMIN_KEY_FILE": None,
    # Certificate authority for an https:// SSE_ADMIN_URL, if it is not one of the system's.
    "ADMIN_CA_FILE": None,
    "REALM": "default",
    # Publish straight to the broker of SSEBroker: redis://…, rediss://…, redis+unix://…, redis+sentinel://…, redis+cluster://….
    "BROKER": None,
    # What SSEHistory says: messages and seconds.
    "BROKER_HISTORY": (1000, 3600),
    # What SSEMaxMessageSize says: larger data is refused where it is published.
    "MAX_MESSAGE_SIZE": 262144,
    # Seconds that one call may take, retries included.
    "TIMEOUT": 5.0,
    # Log instead of raising when the server cannot be reached.
    "FAIL_SILENTLY": False,
    # "session": tied to the request's session where there is one; "db": rows of mod_sse.Subscription.
    "SUBSCRIPTIONS": "session",
    # Inside a transaction, publish when it commits.
    "ON_COMMIT": True,
    # from django.dispatch import Events
    "DISPATCH_EVENTS": True,
    "JSON_ENCODER": "django.core.serializers.json.DjangoJSONEncoder",
    # What the browser opens; used by the template tag, the stand-in for runserver and sse_config.
    "STREAM_URL": "/events/",
    # Tell the hub of each deleted row of django_session.
    "WATCH_SESSIONS": True,
    # Tell the hub who each session is (SSESession hub in httpd).
    "MIRROR_SESSIONS": False,
}


class Settings:
    """Attribute access to the ``SSE_…`` settings."""

    def __getattr__(self, name: str) -> Any:
        try:
            default = DEFAULTS[name]
        except KeyError:
            raise AttributeError(name) from None
        return getattr(settings, "SSE_" + name, default)

    def key(self) -> Optional[str]:
        """The admin key from ``SSE_ADMIN_KEY``, else the first key of ``SSE_ADMIN_KEY_FILE``, else None."""
        if self.ADMIN_KEY:
            return str(self.ADMIN_KEY)
        if not self.ADMIN_KEY_FILE:
            return None
        try:
            lines = Path(self.ADMIN_KEY_FILE).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise ImproperlyConfigured(f"SSE_ADMIN_KEY_FILE {str(self.ADMIN_KEY_FILE)!r} cannot be read: {err}") from err
        for line in lines:
            line = line.strip()
            if line and not line.startswith("#"):
                return line
        raise ImproperlyConfigured(f"SSE_ADMIN_KEY_FILE {str(self.ADMIN_KEY_FILE)!r} holds no key")


sse_settings = Settings()
