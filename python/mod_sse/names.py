# SPDX-License-Identifier: Apache-2.0
"""Which event names are good, and how users, groups and sessions are written for the server.

The rules are the server's own, checked here too so that a mistake is named where it is made.
"""

import hashlib
import logging
import unicodedata
from typing import Any, Iterable, List, Optional, Union

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model

from .exceptions import InvalidEvent, UnknownGroup, UnknownUser

logger = logging.getLogger("mod_sse")

EVENT_BYTES_MAX = 255
USER_BYTES_MAX = 255
GROUP_BYTES_MAX = 640


def name_problem(name: str, most: int) -> Optional[str]:
    """What the server would say of a user's or a group's name; None if it is good."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "has a lone surrogate, which is not valid Unicode"
    if not size:
        return f"is empty; a name of 1 to {most} bytes is needed"
    if size > most:
        return f"is longer than {most} bytes"
    if any(unicodedata.category(c) == "Cc" for c in name):
        return "has a control character; only printable characters are allowed"
    return None


def event_problem(name: str) -> Optional[str]:
    """What the server would say of an event's name; None if it is good."""
    problem = name_problem(name, EVENT_BYTES_MAX)
    if problem:
        return problem
    if " " in name:
        return "has a space; spaces separate names, use ':', '-' or '_' inside one"
    if name in ("open", "error"):
        return 'is reserved: "open" and "error" are EventSource\'s own events'
    if name.startswith("stream-"):
        return 'is reserved: names that begin with "stream-" are the server\'s own'
    if "*" in name:
        return "has a '*', which is only allowed in patterns"
    return None


def shown(name: str) -> str:
    """A name in an error message: not a whole page of it."""
    return repr(name if len(name) <= 60 else name[:60] + "…")


def check_event(name: Any) -> str:
    """Returns the name; raises InvalidEvent with a sentence that says what is wrong with it."""
    if not isinstance(name, str):
        # Lazy translations and the like are strings to everybody but isinstance.
        if not hasattr(name, "__html__") and type(name).__name__ != "__proxy__":
            raise InvalidEvent(f"an event name must be a string, not {type(name).__name__}")
        name = str(name)
    problem = event_problem(name)
    if problem:
        raise InvalidEvent(f"event name {shown(name)} {problem}")
    return str(name)


def split_events(events: Union[str, Iterable[str]], *more: str) -> List[str]:
    """One string with names separated by spaces, or an iterable of names: a list without repeats, in order."""
    if isinstance(events, bytes):
        raise InvalidEvent("event names must be strings, not bytes")
    if not isinstance(events, str) and not hasattr(events, "__iter__"):
        raise InvalidEvent(f"event names are a string (several separated by spaces) or a list of strings, not {type(events).__name__}")
    names = events.split(" ") if isinstance(events, str) else list(events)
    for one in more:
        names += one.split(" ") if isinstance(one, str) else [one]
    found = list(dict.fromkeys(check_event(name) for name in names if name != ""))
    if not found:
        raise InvalidEvent("no event name given: one or more, separated by spaces or as a list")
    return found


def user_id(user: Any) -> str:
    """A user, or its primary key, as the text that Django writes into a session."""
    model = get_user_model()
    if isinstance(user, Model):
        if not isinstance(user, model):
            raise UnknownUser(f"{user!r} is no {model.__name__}")
        if user.pk is None:
            raise UnknownUser(f"{user!r} has no primary key: save it first")
        return str(user._meta.pk.value_to_string(user))
    if getattr(user, "is_anonymous", False):
        raise UnknownUser("an anonymous user has no events of its own")
    if user is None or isinstance(user, (bool, bytes)):
        raise UnknownUser(f"{user!r} is neither a user nor a primary key")
    try:
        found = str(model._meta.pk.to_python(user))
    except (ValidationError, TypeError, ValueError):
        raise UnknownUser(
            f"{user!r:.80} cannot be a primary key of {model.__name__} (give the user or its primary key, not its name)"
        ) from None
    problem = name_problem(found, USER_BYTES_MAX)
    if problem:
        raise UnknownUser(f"user {shown(found)} {problem}")
    return found


def group_name(group: Any) -> str:
    """A group, saved or not, or its name."""
    name = getattr(group, "name", group)
    if not isinstance(name, str):
        raise UnknownGroup(f"{group!r:.80} is neither a group nor a group's name")
    problem = name_problem(name, GROUP_BYTES_MAX)
    if problem:
        raise UnknownGroup(f"group name {shown(name)} {problem}")
    return name


def as_list(value: Any) -> List[Any]:
    """None, one thing, or an iterable of things (a queryset too)."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, int, Model)) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def warn_of_strangers(event: str, users: Iterable[Any], groups: Iterable[Any]) -> None:
    """For development (``DEBUG``): keys and names that the database does not have are legal, but often a slip."""
    from django.contrib.auth.models import Group

    keys = {user_id(user) for user in users if not isinstance(user, Model)}
    names = {group_name(group) for group in groups if getattr(group, "pk", None) is None}
    model = get_user_model()
    if keys:
        keys -= {user_id(pk) for pk in model._default_manager.filter(pk__in=keys).values_list("pk", flat=True)}
    if names:
        names -= set(Group.objects.filter(name__in=names).values_list("name", flat=True))
    for what, unknown in ((model.__name__.lower(), keys), ("group", names)):
        for one in sorted(unknown):
            logger.warning("%r goes to %s %r, but the database has none of that %s", event, what, one, "name" if what == "group" else "key")


def session_id(key: str) -> str:
    """How a session key is named to the server: its SHA-256, so that the key stands in no log."""
    if key.startswith("sha256:"):
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8")).hexdigest()
