# SPDX-License-Identifier: Apache-2.0
"""The methods that users and groups get: ``user.subscribe("a b")``, ``group.online_users()``.

They are set on the model classes as soon as Django has made these, any user model included. A class that defines a name of
its own keeps it (a system check says so). For type checkers, or to be explicit, inherit from ``EventsUserMixin``.
"""

import inspect
from typing import Any, Iterable, List, Type, Union

from django.apps import apps
from django.conf import settings

from . import presence, subscriptions
from .twins import twin

Names = Union[str, Iterable[str]]


class EventsUserMixin:
    """Events for a user model."""

    def subscribe(self, events: Names, *more: str, session: Any = None) -> List[str]:
        """Subscribes to events: several names in one string, or as a list. Returns the events now in force.

        In a request of this user the subscription lives as long as the session (``SSE_SUBSCRIPTIONS = "session"``);
        ``session=False`` makes it permanent, ``session=`` a session or its key ties it to that one.
        """
        return subscriptions.subscribe_user(self, events, *more, session=session)

    def unsubscribe(self, events: Names, *more: str, session: Any = None) -> List[str]:
        """Ends subscriptions to these events. Returns what is still in force."""
        return subscriptions.unsubscribe_user(self, events, *more, session=session)

    def subscriptions(self) -> List[str]:
        """The user's own subscriptions (those of its groups are the groups')."""
        return subscriptions.user_subscriptions(self)

    def is_online(self) -> bool:
        """Is the user currently connected to an event stream?"""
        return presence.is_online(self)

    asubscribe = twin(subscribe)
    aunsubscribe = twin(unsubscribe)
    asubscriptions = twin(subscriptions)
    ais_online = twin(is_online)


class EventsGroupMixin:
    """Events for groups. A group is known by its name: an unsaved ``Group(name="admin")`` will do."""

    def subscribe(self, events: Names, *more: str) -> List[str]:
        """Subscribes every member, present and future. Returns the group's events now in force."""
        return subscriptions.subscribe_group(self, events, *more)

    def unsubscribe(self, events: Names, *more: str) -> List[str]:
        """Ends the group's subscriptions to these events (not those that members have themselves)."""
        return subscriptions.unsubscribe_group(self, events, *more)

    def subscriptions(self) -> List[str]:
        return subscriptions.group_subscriptions(self)

    def online_users(self) -> List[Any]:
        """The members currently connected to an event stream, as user objects."""
        return presence.online_users(self)

    asubscribe = twin(subscribe)
    aunsubscribe = twin(unsubscribe)
    asubscriptions = twin(subscriptions)
    aonline_users = twin(online_users)


def public_names(mixin: type) -> List[str]:
    return [name for name in vars(mixin) if not name.startswith("_")]


def foreign_names(model: Type[Any], mixin: type) -> List[str]:
    """Names that the model class has from elsewhere (its own methods, a related_name)."""
    found = []
    for name in public_names(mixin):
        there = inspect.getattr_static(model, name, None)
        if there is not None and there is not vars(mixin)[name]:
            found.append(name)
    return found


def install(model: Type[Any], mixin: type) -> None:
    for name in set(public_names(mixin)) - set(foreign_names(model, mixin)):
        setattr(model, name, vars(mixin)[name])


def install_all() -> None:
    """Called while models are loaded: each class gets its methods the moment it exists."""
    app, name = settings.AUTH_USER_MODEL.split(".")
    apps.lazy_model_operation(lambda model: install(model, EventsUserMixin), (app, name.lower()))
    apps.lazy_model_operation(lambda model: install(model, EventsGroupMixin), ("auth", "group"))
