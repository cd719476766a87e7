# SPDX-License-Identifier: Apache-2.0
"""``mod_sse.middleware.EventsMiddleware``: tells the package which request is being answered.

Put it before ``SessionMiddleware``: it then sees the session after that has saved it, and can follow a changed session key (a
login, a changed password) so that subscriptions tied to the session go on.
"""

import asyncio
from typing import Any, Callable, Dict, Optional

import asgiref.sync
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from .conf import sse_settings
from .context import SESSION_ENTRY, current_request, signed_cookies
from .names import session_id
from .sessions import mirror, pass_on
from .transport import call_quietly

# asgiref 3.6 knows what Django marks as a coroutine function, too.
iscoroutinefunction: Callable[[Any], bool] = getattr(asgiref.sync, "iscoroutinefunction", asyncio.iscoroutinefunction)


def stored_entry(request: HttpRequest) -> Optional[Dict[str, Any]]:
    """What the session remembers of its subscriptions. Never loads a session that the request has not used."""
    session = getattr(request, "session", None)
    if session is None or not session.accessed or not session.session_key:
        return None
    entry = session.get(SESSION_ENTRY)
    return entry if isinstance(entry, dict) and entry.get("events") else None


def has_work(request: HttpRequest) -> bool:
    """False for the many requests that touch no session: they need no thread."""
    session = getattr(request, "session", None)
    return session is not None and session.accessed or "_sse_ended" in request.__dict__


def follow_session(request: HttpRequest, response: HttpResponse) -> None:
    """After the response is made: subscriptions of a session whose key has changed move to the new key."""
    entry = stored_entry(request)
    user = request.session.get("_auth_user_id") if entry is not None else None
    if entry is not None and user is not None:
        before, now = known_as(request, entry), session_id(current_key(request, response))
        if before != now:
            who = {"user": str(user), "events": entry["events"]}
            if call_quietly("a changed session key", "POST", "/subscribe", dict(who, session=now)) is not None:
                call_quietly("a changed session key", "POST", "/unsubscribe", dict(who, session=before))
                remember_id(request, entry, now)
    pass_on(request)
    if sse_settings.MIRROR_SESSIONS:
        mirror(request, response)


def known_as(request: HttpRequest, entry: Dict[str, Any]) -> str:
    """What the hub has the session's subscriptions under."""
    cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    return session_id(cookie) if cookie and signed_cookies(request.session) else str(entry.get("id"))


def current_key(request: HttpRequest, response: HttpResponse) -> str:
    """The key that the browser will send next: for signed cookies, the cookie just set."""
    cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie.value if cookie is not None and cookie.value else str(request.session.session_key)


def remember_id(request: HttpRequest, entry: Dict[str, Any], now: str) -> None:
    """Notes the new id in the stored session. A signed cookie is left alone: noting it would change the cookie again."""
    if not signed_cookies(request.session):
        request.session[SESSION_ENTRY] = dict(entry, id=now)
        request.session.save()


@sync_and_async_middleware
def EventsMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:  # noqa: N802 (named like a class, as Django's are)
    def middleware(request: HttpRequest) -> HttpResponse:
        token = current_request.set(request)
        try:
            response = get_response(request)
            follow_session(request, response)
            return response
        finally:
            current_request.reset(token)

    async def amiddleware(request: HttpRequest) -> HttpResponse:
        token = current_request.set(request)
        try:
            response = await get_response(request)
            if has_work(request):
                await sync_to_async(follow_session)(request, response)
            return response
        finally:
            current_request.reset(token)

    return amiddleware if iscoroutinefunction(get_response) else middleware
