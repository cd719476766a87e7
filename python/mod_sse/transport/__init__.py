# SPDX-License-Identifier: Apache-2.0
"""The way to the hub: ``call(method, path, …)`` sends one admin request by whatever ``SSE_ADMIN_URL`` names.

``get_transport()`` gives the process's transport; a changed setting gives a new one. Transports may be used by any thread
and survive a fork: connections belong to a thread and a process.
"""

import threading
import time
from typing import Any, Callable, List, Optional, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ..conf import sse_settings
from ..exceptions import SSEError, Unavailable
from .base import Answer, Query, Transport, logger

__all__ = ["Answer", "Transport", "call", "call_quietly", "get_transport", "override_transport", "pages", "unless_away"]

T = TypeVar("T")

_lock = threading.Lock()
_current: Optional[Transport] = None
_override: Optional[Transport] = None


def make_transport(url: Any) -> Transport:
    """A transport for one ``SSE_ADMIN_URL``; ImproperlyConfigured says what is wrong with it."""
    if not isinstance(url, str) or not url:
        raise ImproperlyConfigured(f"SSE_ADMIN_URL must be a string such as 'unix:///run/mod_sse/admin.sock', not {url!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise ImproperlyConfigured(f"SSE_ADMIN_URL {url!r}: {err}") from None
    if parts.scheme in ("http", "https"):
        from .http import HTTPTransport

        if not parts.hostname:
            raise ImproperlyConfigured(f"SSE_ADMIN_URL {url!r} names no host")
        return HTTPTransport(parts, port)
    if parts.scheme == "unix":
        from .unix import SocketTransport

        if parts.netloc or not parts.path.startswith("/"):
            raise ImproperlyConfigured(f"SSE_ADMIN_URL {url!r}: write unix:///absolute/path (three slashes)")
        return SocketTransport(parts.path)
    if parts.scheme == "runserver":
        from ..devserver.transport import DevTransport

        return DevTransport()
    raise ImproperlyConfigured(f"SSE_ADMIN_URL {url!r} begins with none of http://, https://, unix:///, runserver:")


def get_transport() -> Transport:
    global _current
    if _override is not None:
        return _override
    transport = _current
    if transport is None:
        with _lock:
            if _current is None:
                made = make_transport(sse_settings.ADMIN_URL)
                if sse_settings.BROKER:
                    from .broker import BrokerTransport

                    made = BrokerTransport(sse_settings.BROKER, made)
                _current = made
            transport = _current
    return transport


def override_transport(transport: Optional[Transport]) -> Optional[Transport]:
    """For tests: every request goes to ``transport`` until this is called with None. Returns what was set before."""
    global _override
    before, _override = _override, transport
    return before


def _setting_changed(*, setting: str, **kwargs: Any) -> None:
    global _current
    if setting.startswith("SSE_"):
        with _lock:
            old, _current = _current, None
        if old is not None:
            old.close()


setting_changed.connect(_setting_changed, dispatch_uid="mod_sse.transport")


def call(method: str, path: str, body: Any = None, *, query: Query = None, timeout: Optional[float] = None) -> Answer:
    """One admin request. Raises what ``exceptions.py`` lists; every answer returned is a 2xx."""
    return get_transport().call(method, path, body, query=query, timeout=timeout)


def unless_away(ask: Callable[[], T], otherwise: T) -> T:
    """What ``ask`` returns; with ``SSE_FAIL_SILENTLY`` ``otherwise`` (and a line in the log) when the server is away."""
    try:
        return ask()
    except Unavailable as err:
        if not sse_settings.FAIL_SILENTLY:
            raise
        logger.error("lost: %s", err)
        return otherwise


# After a failure, calls that nobody waits for give up soon: a thousand deleted sessions must not take a thousand time-outs.
HURRY_SECONDS = 10.0
HURRY_TIMEOUT = 0.2
_hurry_until = 0.0


def call_quietly(what: str, method: str, path: str, body: Any = None, *, query: Query = None) -> Optional[Answer]:
    """For what follows from something Django has already done (a logout, a deleted row): a failure is logged, never raised."""
    global _hurry_until
    now = time.monotonic()
    try:
        return call(method, path, body, query=query, timeout=HURRY_TIMEOUT if now < _hurry_until else None)
    except Unavailable as err:
        _hurry_until = time.monotonic() + HURRY_SECONDS
        logger.error("%s was not passed on to the event server: %s", what, err)
    except (SSEError, ImproperlyConfigured) as err:
        logger.error("%s was not passed on to the event server: %s", what, err)
    return None


def pages(path: str, member: str, query: Query = None) -> List[Any]:
    """Every item of a list that the server gives in pages."""
    found: List[Any] = []
    asked = dict(query or {})
    while True:
        answer = call("GET", path, query=asked).body
        found += answer.get(member) or []
        following = answer.get("next")
        if not following:
            return found
        asked["after"] = following
