# SPDX-License-Identifier: Apache-2.0
"""Subscribing users and groups, in the two ways that ``SSE_SUBSCRIPTIONS`` offers.

"session": the hub keeps them. A user who subscribes in a request of its own is subscribed as long as that request's session
lives; everything else (groups, other users, outside of requests) lasts until it is removed.
"db": rows of ``mod_sse.Subscription`` are the truth, the hub is told when they change.
"""

from typing import Any, Dict, Iterable, List, Optional, Union

from django.core.exceptions import ImproperlyConfigured

from .conf import sse_settings
from .context import SESSION_ENTRY, session_key, session_of
from .exceptions import InvalidData
from .names import group_name, session_id, split_events, user_id
from .tables import needs_table
from .transport import call, unless_away
from .transport.base import logger

Names = Union[str, Iterable[str]]


def mode() -> str:
    found = sse_settings.SUBSCRIPTIONS
    if found not in ("session", "db"):
        raise ImproperlyConfigured(f"SSE_SUBSCRIPTIONS must be 'session' or 'db', not {found!r}")
    return str(found)


def change(verb: str, who: Dict[str, str], events: List[str], session: Optional[str] = None) -> List[str]:
    """``POST /subscribe`` or ``/unsubscribe``: the events in force afterwards; empty if lost silently."""
    body: Dict[str, Any] = dict(who, events=events)
    if session is not None:
        body["session"] = session_id(session)
    return unless_away(lambda: list(call("POST", "/" + verb, body).body.get("events") or []), [])


def in_force(who: Dict[str, str]) -> List[str]:
    return list(call("GET", "/subscriptions", query=who).body.get("events") or [])


def remember(session: Any, events: Iterable[str]) -> None:
    """Writes into the session what it is subscribed to, so that it can follow a change of key."""
    session[SESSION_ENTRY] = {"id": session_id(session_key(session)), "events": list(events)}


def remembered(session: Any) -> List[str]:
    return list((session.get(SESSION_ENTRY) or {}).get("events") or [])


def subscribe_user(user: Any, events: Names, *more: str, session: Any = None) -> List[str]:
    """Subscribes and returns the user's events in force. ``session``: a session or its key, to tie it to; False: permanently."""
    names = split_events(events, *more)
    who = {"user": user_id(user)}
    if mode() == "db":
        if session:
            raise InvalidData("session= has no meaning with SSE_SUBSCRIPTIONS = 'db'")
        from .models import Subscription

        return Subscription.objects.add(names, user=user)
    if session is None:
        session = session_of(user)
    if not session:
        return change("subscribe", who, names)
    if isinstance(session, str):
        return change("subscribe", who, names, session)
    found = change("subscribe", who, names, session_key(session))
    remember(session, dict.fromkeys(remembered(session) + names))
    return found


def unsubscribe_user(user: Any, events: Names, *more: str, session: Any = None) -> List[str]:
    """Ends subscriptions; without ``session`` both the permanent ones and those of every session."""
    names = split_events(events, *more)
    who = {"user": user_id(user)}
    if mode() == "db":
        from .models import Subscription

        return Subscription.objects.remove(names, user=user)
    if session:
        key = session if isinstance(session, str) else session_key(session)
        found = change("unsubscribe", who, names, key)
    else:
        found = change("unsubscribe", who, names)
        session = session_of(user)
    if session and not isinstance(session, str) and set(remembered(session)) & set(names):
        remember(session, [name for name in remembered(session) if name not in names])
    return found


def user_subscriptions(user: Any) -> List[str]:
    who = {"user": user_id(user)}
    if mode() == "db":
        from .models import Subscription

        return Subscription.objects.events(user=user)
    return unless_away(lambda: in_force(who), [])


def subscribe_group(group: Any, events: Names, *more: str) -> List[str]:
    names = split_events(events, *more)
    name = group_name(group)
    warn_unknown(group)
    if mode() == "db":
        from .models import Subscription

        return Subscription.objects.add(names, group=name)
    return change("subscribe", {"group": name}, names)


def unsubscribe_group(group: Any, events: Names, *more: str) -> List[str]:
    names = split_events(events, *more)
    name = group_name(group)
    if mode() == "db":
        from .models import Subscription

        return Subscription.objects.remove(names, group=name)
    return change("unsubscribe", {"group": name}, names)


def group_subscriptions(group: Any) -> List[str]:
    name = group_name(group)
    if mode() == "db":
        from .models import Subscription

        return Subscription.objects.events(group=name)
    return unless_away(lambda: in_force({"group": name}), [])


def warn_unknown(group: Any) -> None:
    """A group that the database does not have has no members: legal (it may be made later), but often a slip."""
    from django.contrib.auth.models import Group

    if not isinstance(group, Group) or group.pk is not None:
        return
    with needs_table(Group):
        known = Group.objects.filter(name=group.name).exists()
    if not known:
        logger.warning("group %r is subscribed but the database has no group of that name", group.name)
