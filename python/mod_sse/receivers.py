# SPDX-License-Identifier: Apache-2.0
"""Who listens to which signal: the transport to ``event_published``, ``sessions`` and ``accounts`` to Django's own."""

from typing import Any, List, Optional

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save

from .events import Message, batch, bodies
from .signals import event_published
from .transport import call


def deliver(sender: Any, message: Message, **kwargs: Any) -> Optional[str]:
    """Hands the message to the hub and returns its id; one of several waits for ``deliver_all``."""
    together = batch.get()
    if together is not None:
        together.append(message)
        return None
    answer = call("POST", "/broadcast" if message.everyone else "/publish", message.body())
    found = answer.body.get("id")
    return None if found is None else str(found)


def deliver_all(messages: List[Message]) -> List[str]:
    if not messages:
        return []
    return list(call("POST", "/publish", bodies(messages)).body.get("ids") or [])


def connect_transport() -> None:
    event_published.connect(deliver, dispatch_uid="mod_sse.deliver")


def disconnect_transport() -> None:
    event_published.disconnect(deliver, dispatch_uid="mod_sse.deliver")


def connect() -> None:
    """Everything, once, when the apps are ready."""
    connect_transport()
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth.models import Group

    from . import accounts, sessions
    from .models import Subscription

    user = get_user_model()

    def listen(signal: Any, receiver: Any, sender: Any = None) -> None:
        signal.connect(receiver, sender=sender, dispatch_uid=f"mod_sse.{receiver.__name__}")

    listen(user_logged_in, sessions.logged_in)
    listen(user_logged_out, sessions.logged_out)
    listen(post_save, accounts.user_saved, user)
    listen(post_delete, accounts.user_deleted, user)
    listen(pre_save, accounts.group_saving, Group)
    listen(post_save, accounts.group_saved, Group)
    listen(post_delete, accounts.group_deleted, Group)
    listen(post_save, accounts.subscription_saved, Subscription)
    listen(post_delete, accounts.subscription_deleted, Subscription)
    through = accounts.members_of_user_model()
    if through is not None:
        listen(m2m_changed, accounts.members_changed, through)
    model = session_model()
    if model is not None and sessions.watches_rows():
        listen(post_delete, sessions.row_deleted, model)


def session_model() -> Optional[Any]:
    """The model of the session engine, for the engines that have one."""
    from .httpdconf import session_store

    try:
        get = getattr(session_store(), "get_model_class", None)
        return get() if get is not None else None
    except (ImportError, RuntimeError):
        return None  # an engine that does not load (a check of Django's own), or whose app is not installed
