# SPDX-License-Identifier: Apache-2.0
"""Users and groups that change, passed on to the hub when their transaction commits.

Streams learn of a membership at once; those of a deactivated or deleted user, or of one whose password has changed, end.
Changes that send no signals (``QuerySet.update``, raw SQL) are seen at the latest when a stream reaches SSEMaxAge.
"""

from typing import Any, Dict, Iterable, List, Optional

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from .names import user_id
from .subscriptions import in_force, mode
from .transport import call_quietly


def later(using: Optional[str], what: str, *calls: Any) -> None:
    """Makes these calls, each (method, path, body, query), when the transaction has committed."""

    def make() -> None:
        for method, path, body, query in calls:
            if call_quietly(what, method, path, body, query=query) is None:
                return

    transaction.on_commit(make, using=using)


def cut_off(user: Any, reason: str) -> Any:
    """With reason "expired" the user's pages come back by themselves if their sessions are still good."""
    return ("POST", "/disconnect", {"user": user_id(user), "reason": reason}, None)


def user_saved(sender: Any, instance: Any, created: bool, raw: bool, using: str, update_fields: Any, **kwargs: Any) -> None:
    if created or raw:
        return
    # AbstractBaseUser.save() forgets the plain password only after this signal.
    changed = getattr(instance, "_password", None) is not None or bool(update_fields) and "password" in update_fields
    inactive = not getattr(instance, "is_active", True) and (update_fields is None or "is_active" in update_fields)
    if changed:
        later(using, "a changed password", cut_off(instance, "expired"))
    elif inactive:
        later(using, "a deactivated user", cut_off(instance, "deactivated"))


def user_deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    later(using, "a deleted user", cut_off(instance, "deactivated"), ("DELETE", "/users", None, {"name": user_id(instance)}))


def patch(name: str, verb: str, users: List[str]) -> Any:
    return ("PATCH", "/groups", {verb: users}, {"name": name})


def members_changed(sender: Any, instance: Any, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: Any) -> None:
    """``m2m_changed`` of User.groups, from either side."""
    if action in ("post_add", "post_remove"):
        verb = "add" if action == "post_add" else "remove"
        tell_members(instance, verb, reverse, pk_set or (), using)
    elif action == "pre_clear":
        others = instance.user_set if reverse else instance.groups
        instance._sse_cleared = list(others.using(using).values_list("pk", flat=True))
    elif action == "post_clear":
        tell_members(instance, "remove", reverse, instance.__dict__.pop("_sse_cleared", ()), using)


def tell_members(instance: Any, verb: str, reverse: bool, pks: Iterable[Any], using: str) -> None:
    if not pks:
        return
    if reverse:
        calls = [patch(instance.name, verb, [user_id(pk) for pk in pks])]
    else:
        names = Group.objects.using(using).filter(pk__in=list(pks)).values_list("name", flat=True)
        calls = [patch(name, verb, [user_id(instance)]) for name in names]
    later(using, "a changed group", *calls)


def group_saving(sender: Any, instance: Any, raw: bool, using: str, **kwargs: Any) -> None:
    """Remembers the stored name, so that a rename is seen."""
    instance._sse_name = None
    if not raw and instance.pk is not None:
        instance._sse_name = Group.objects.using(using).filter(pk=instance.pk).values_list("name", flat=True).first()


def group_saved(sender: Any, instance: Any, created: bool, using: str, **kwargs: Any) -> None:
    before = instance.__dict__.pop("_sse_name", None)
    if created or before is None or before == instance.name:
        return
    if mode() == "db":
        from .models import Subscription

        Subscription.objects.using(using).filter(group=before).update(group=instance.name)
    transaction.on_commit(lambda: rename(instance, before), using=using)


def rename(group: Any, before: str) -> None:
    from .exceptions import SSEError

    try:
        events = in_force({"group": before})
    except SSEError:
        events = []
    if events:
        call_quietly("a renamed group", "POST", "/subscribe", {"group": group.name, "events": events})
    tell_all_members(group)
    forget_group(before, events)


def tell_all_members(group: Any) -> None:
    members = [user_id(pk) for pk in group.user_set.values_list("pk", flat=True)] if hasattr(group, "user_set") else []
    call_quietly("a group's members", "PUT", "/groups", {"users": members}, query={"name": group.name})


def forget_group(name: str, events: Iterable[str]) -> None:
    if events:
        call_quietly("a deleted group", "POST", "/unsubscribe", {"group": name, "events": list(events)})
    call_quietly("a deleted group", "DELETE", "/groups", query={"name": name})


def group_deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    name = instance.name
    if mode() == "db":
        from .models import Subscription

        Subscription.objects.using(using).filter(group=name).delete()

    def tell() -> None:
        from .exceptions import SSEError

        try:
            events = in_force({"group": name})
        except SSEError:
            events = []
        forget_group(name, events)

    transaction.on_commit(tell, using=using)


def subscription_saved(sender: Any, instance: Any, created: bool, raw: bool, using: str, **kwargs: Any) -> None:
    if mode() == "db" and created and not raw:
        body: Dict[str, Any] = dict(instance.owner(), events=[instance.event])
        later(using, "a subscription", ("POST", "/subscribe", body, None))


def subscription_deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    if mode() == "db":
        body: Dict[str, Any] = dict(instance.owner(), events=[instance.event])
        later(using, "a subscription", ("POST", "/unsubscribe", body, None))


def members_of_user_model() -> Optional[Any]:
    """The table between users and groups, None if the user model has no groups."""
    field: Any = getattr(get_user_model(), "groups", None)
    rel = getattr(field, "rel", None)
    return field.through if rel is not None and rel.model is Group and hasattr(field, "through") else None
