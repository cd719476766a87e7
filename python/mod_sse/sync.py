# SPDX-License-Identifier: Apache-2.0
"""Tells the hub everything that Django's database knows: ``manage.py sse_sync``, and ``sse_listen`` when the hub is new."""

from typing import Any, Dict, Iterable, Iterator, List, Tuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from .conf import sse_settings
from .names import user_id
from .subscriptions import change
from .tables import needs_table
from .transport import call


def owners() -> Iterator[Tuple[Dict[str, str], List[str]]]:
    """Each user and group that has rows, with its events."""
    from .models import Subscription

    owner: Any
    events: List[str]
    for name in ("user_id", "group"):
        rows = Subscription.objects.exclude(**{f"{name}__isnull": True}).order_by(name, "event").values_list(name, "event")
        owner, events = None, []
        for value, event in rows.iterator():
            if value != owner and events:
                yield as_owner(name, owner), events
                events = []
            owner = value
            events.append(event)
        if events:
            yield as_owner(name, owner), events


def as_owner(name: str, value: Any) -> Dict[str, str]:
    return {"group": value} if name == "group" else {"user": user_id(value)}


def sync_owner(who: Dict[str, str], events: Iterable[str]) -> None:
    """Afterwards the hub has exactly these permanent subscriptions for the owner."""
    wanted = list(events)
    there = change("subscribe", who, wanted) if wanted else list(call("GET", "/subscriptions", query=who).body.get("events") or [])
    extra = [event for event in there if event not in wanted]
    if extra:
        change("unsubscribe", who, extra)


def sync_subscriptions(everybody: bool = False) -> int:
    """Those who have rows; with ``everybody`` those who have none, too (one request for each user and group)."""
    done = set()
    for who, events in owners():
        sync_owner(who, events)
        done.add(tuple(who.items()))
    if everybody:
        users = get_user_model()._default_manager.values_list("pk", flat=True).iterator()
        rest: List[Dict[str, str]] = [{"user": user_id(pk)} for pk in users]
        rest += [{"group": name} for name in Group.objects.values_list("name", flat=True)]
        for who in rest:
            if tuple(who.items()) not in done:
                sync_owner(who, [])
                done.add(tuple(who.items()))
    return len(done)


def sync_groups() -> int:
    """The members of every group (httpd reads them by itself unless the sessions are mirrored)."""
    from .accounts import members_of_user_model

    through = members_of_user_model()
    if through is None:
        return 0
    user_column = get_user_model()._meta.get_field("groups").m2m_field_name()
    count = 0
    for group in Group.objects.order_by("pk"):
        members = through._default_manager.filter(group=group).values_list(user_column, flat=True)
        call("PUT", "/groups", {"users": [user_id(pk) for pk in members]}, query={"name": group.name})
        count += 1
    return count


def sync_all(everybody: bool = False) -> Dict[str, int]:
    from .models import Subscription

    with needs_table(Group), needs_table(Subscription):
        subscribers = sync_subscriptions(everybody) if sse_settings.SUBSCRIPTIONS == "db" else 0
        return {"subscribers": subscribers, "groups": sync_groups()}
