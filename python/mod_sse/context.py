# SPDX-License-Identifier: Apache-2.0
"""Which request is being answered, so that ``user.subscribe()`` in a view can find its session.

A context variable: it follows threads of ``sync_to_async`` and tasks of asyncio, and never leaks into another request.
"""

from contextvars import ContextVar
from typing import Any, Optional

from django.http import HttpRequest

current_request: ContextVar[Optional[HttpRequest]] = ContextVar("mod_sse_request", default=None)

# Where a session remembers which events it is subscribed to, and under which key the hub knows it.
SESSION_ENTRY = "_sse"


def signed_cookies(session: Any) -> bool:
    """With this engine the whole session is the cookie's value, which stands for the key."""
    return type(session).__module__ == "django.contrib.sessions.backends.signed_cookies"


def session_of(user: Any) -> Optional[Any]:
    """The current request's session, if ``user`` is who makes the request; else None."""
    request = current_request.get()
    session = getattr(request, "session", None)
    if request is None or session is None:
        return None
    mine = getattr(request, "user", None)
    if mine is None or not mine.is_authenticated or mine.pk != user.pk:
        return None
    return session


def session_key(session: Any) -> str:
    """The session's key; a session without one (right after a login) is saved first."""
    if session.session_key is None:
        session.save()
    return str(session.session_key)
