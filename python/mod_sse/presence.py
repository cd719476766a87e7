# SPDX-License-Identifier: Apache-2.0
"""Who is online, as the hub knows it (over all hosts)."""

from typing import Any, Dict, Iterable, List, Optional

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from .names import group_name, user_id
from .tables import needs_table
from .transport import call, pages, unless_away


def is_online(user: Any) -> bool:
    """Is the user connected to an event stream right now?"""
    return unless_away(lambda: bool(presence(user).get("online")), False)


def presence(user: Any) -> Dict[str, Any]:
    """``{"online": bool, "streams": n, "since": …}``"""
    return dict(call("GET", "/presence/users", query={"name": user_id(user)}).body)


def online_ids(group: Any = None) -> List[str]:
    """Ids of the users online, of one group or of all."""
    if group is None:
        return [str(i) for i in pages("/presence/users", "users")]
    return [str(i) for i in pages("/presence/groups", "online", {"name": group_name(group)})]


def users(ids: Iterable[str]) -> List[Any]:
    """The users with these ids, in that order, in one query. Ids that are no users (deleted ones) are left out."""
    model = get_user_model()
    keys = []
    for one in ids:
        try:
            keys.append(model._meta.pk.to_python(one))
        except (ValidationError, TypeError, ValueError):
            continue
    with needs_table(model):
        found = model._default_manager.in_bulk(keys) if keys else {}
    return [found[key] for key in keys if key in found]


def get_user(user_id: str) -> Optional[Any]:
    """The user of a ``user_online`` signal."""
    return next(iter(users([user_id])), None)


def online_users(group: Any = None) -> List[Any]:
    """Users of the group, or of the whole realm, that are online."""
    return users(unless_away(lambda: online_ids(group), []))


def totals() -> Dict[str, Any]:
    """``{"streams": n, "users": n, "hubs": n}``"""
    return dict(call("GET", "/presence").body)


def disconnect(*, user: Any = None, group: Any = None, session: Optional[str] = None, seconds: Optional[int] = None) -> int:
    """Ends the streams of a user, a group or a session; how many there were. ``seconds``: refuses new ones of the user for so long."""
    from .exceptions import InvalidData
    from .names import session_id

    given: Dict[str, Any] = {}
    if user is not None:
        given["user"] = user_id(user)
    if group is not None:
        given["group"] = group_name(group)
    if session is not None:
        given["session"] = session_id(session)
    if len(given) != 1:
        raise InvalidData("disconnect takes one of user, group and session")
    if seconds is not None:
        given["for"] = seconds
    return int(call("POST", "/disconnect", given).body.get("closed") or 0)
