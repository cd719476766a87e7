# SPDX-License-Identifier: Apache-2.0
"""Which event names are good, and how users, groups and sessions are written for the server.

The rules are the server's own, checked here too so that a mistake is named where it is made.
"""

import hashlib
import unicodedata
from typing import Any, Iterable, List, Union

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model

from .exceptions import InvalidEvent, UnknownGroup, UnknownUser

EVENT_BYTES_MAX = 255
GROUP_BYTES_MAX = 640


def check_event(name: Any) -> str:
    """Returns the name; raises InvalidEvent with a sentence that says what is wrong with it."""
    if not isinstance(name, str):
        name_type = type(name).__name__
        # Lazy translations and the like are strings to everybody but isinstance.
        if not hasattr(name, "__html__") and not name_type == "__proxy__":
            raise InvalidEvent(f"an event name must be a string, not {name_type}")
        name = str(name)
    problem = None
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidEvent(f"event name {name!r} is not valid Unicode (a lone surrogate)") from None
    if size == 0:
        problem = "is empty"
    elif size > EVENT_BYTES_MAX:
        problem = f"is longer than {EVENT_BYTES_MAX} bytes"
    elif " " in name:
        problem = "has a space (it separates names)"
    elif "*" in name:
        problem = "has a '*' (it is kept for patterns)"
    elif any(unicodedata.category(c) == "Cc" for c in name):
        problem = "has a control character"
    elif name in ("open", "error") or name.startswith("stream-"):
        problem = "is one of the server's own"
    if problem:
        raise InvalidEvent(f"event name {name!r} {problem}")
    return name


def split_events(events: Union[str, Iterable[str]], *more: str) -> List[str]:
    """One string with names separated by spaces, or an iterable of names: a list without repeats, in order."""
    if isinstance(events, bytes):
        raise InvalidEvent("event names must be strings, not bytes")
    names = events.split(" ") if isinstance(events, str) else list(events)
    for one in more:
        names += one.split(" ") if isinstance(one, str) else [one]
    found = list(dict.fromkeys(check_event(name) for name in names if name != ""))
    if not found:
        raise InvalidEvent("no event name given")
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
        return str(model._meta.pk.to_python(user))
    except (ValidationError, TypeError, ValueError):
        raise UnknownUser(f"{user!r} cannot be a primary key of {model.__name__}") from None


def group_name(group: Any) -> str:
    """A group, saved or not, or its name."""
    name = getattr(group, "name", group)
    if not isinstance(name, str):
        raise UnknownGroup(f"{group!r} is neither a group nor a group's name")
    if not name:
        raise UnknownGroup("a group without a name")
    if len(name.encode("utf-8", "replace")) > GROUP_BYTES_MAX:
        raise UnknownGroup(f"group name {name[:40]!r}… is longer than {GROUP_BYTES_MAX} bytes")
    if any(unicodedata.category(c) == "Cc" for c in name):
        raise UnknownGroup(f"group name {name!r} has a control character")
    return name


def as_list(value: Any) -> List[Any]:
    """None, one thing, or an iterable of things (a queryset too)."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, int, Model)) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def session_id(key: str) -> str:
    """How a session key is named to the server: its SHA-256, so that the key stands in no log."""
    if key.startswith("sha256:"):
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8")).hexdigest()
