# SPDX-License-Identifier: Apache-2.0
"""The transport as a receiver of ``event_published``."""

from typing import Any, Optional

from .events import Message
from .signals import event_published
from .transport import call


def deliver(sender: Any, message: Message, **kwargs: Any) -> Optional[str]:
    """Hands the message to the hub. Returns its id."""
    answer = call("POST", "/broadcast" if message.everyone else "/publish", message.body())
    found = answer.body.get("id")
    return None if found is None else str(found)


def connect() -> None:
    event_published.connect(deliver, dispatch_uid="mod_sse.deliver")


def disconnect() -> None:
    event_published.disconnect(deliver, dispatch_uid="mod_sse.deliver")
