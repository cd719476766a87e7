# SPDX-License-Identifier: Apache-2.0
"""Sessions that end or change, passed on to the hub.

During a request the news waits until its response is made: then the session's row is really gone, so that no stream can come
back on a look-up made in between. Outside of requests it waits for the transaction.
"""

from typing import Any, List

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from .conf import sse_settings
from .context import current_request, signed_cookies
from .names import session_id
from .transport import call_quietly


def end(identity: str, using: str = "default") -> None:
    """The session with this ``sha256:`` name is over: its streams end with reason "logout"."""
    request = current_request.get()
    if request is None:
        transaction.on_commit(lambda: tell_ended(identity), using=using)
        return
    waiting: List[str] = request.__dict__.setdefault("_sse_ended", [])
    if identity not in waiting:
        waiting.append(identity)


def tell_ended(identity: str) -> None:
    call_quietly("the end of a session", "DELETE", "/sessions", query={"name": identity})


def pass_on(request: HttpRequest) -> None:
    """Called by the middleware after the response is made."""
    for identity in request.__dict__.pop("_sse_ended", []):
        tell_ended(identity)


def cookie(request: HttpRequest) -> str:
    return str(request.COOKIES.get(settings.SESSION_COOKIE_NAME) or "")


def logged_out(sender: Any, request: Any, **kwargs: Any) -> None:
    session = getattr(request, "session", None)
    if session is None:
        return
    key = cookie(request) if signed_cookies(session) else session.session_key
    if key:
        end(session_id(str(key)))


def logged_in(sender: Any, request: Any, **kwargs: Any) -> None:
    """A login in the place of another user: Django has flushed that one's session without a word."""
    session = getattr(request, "session", None)
    if session is not None and session.session_key is None and cookie(request):
        end(session_id(cookie(request)))


def row_deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """A row of django_session is gone: by flush, by hand, by the admin; expired ones had no streams."""
    if instance.expire_date <= timezone.now():
        return
    request = current_request.get()
    session = getattr(request, "session", None)
    if request is not None and session is not None and cookie(request) == instance.session_key:
        if session.session_key not in (None, instance.session_key):
            return  # cycle_key(): the same browser goes on under a new key
    end(session_id(instance.session_key), using)


def mirror(request: HttpRequest, response: HttpResponse) -> None:
    """For ``SSESession hub``: who the session is, whenever it has been saved."""
    session = getattr(request, "session", None)
    if session is None or not session.accessed or session.is_empty() or not session.session_key:
        return
    if not (session.modified or settings.SESSION_SAVE_EVERY_REQUEST) or response.status_code >= 500:
        return
    user = session.get("_auth_user_id")
    if user is None:
        return
    cookie_now = response.cookies.get(settings.SESSION_COOKIE_NAME)
    key = cookie_now.value if signed_cookies(session) and cookie_now is not None else session.session_key
    body = {"user": str(user), "expires": int(session.get_expiry_date().timestamp())}
    call_quietly("a session", "PUT", "/sessions", body, query={"name": session_id(str(key))})


def watches_rows() -> bool:
    """A receiver makes Django load every row that is deleted; `clearsessions` deletes many, all of them expired."""
    import sys

    return bool(sse_settings.WATCH_SESSIONS) and sys.argv[1:2] != ["clearsessions"]
