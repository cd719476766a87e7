# SPDX-License-Identifier: Apache-2.0
"""For sites that come from django-eventstream: change ``from django_eventstream import send_event`` to
``from mod_sse.eventstream import send_event``.

A channel is an event name here, so ``?channel=room`` in the browser becomes ``user.subscribe("room")``, a group's subscription,
or ``?event=room`` where SSEAllowEvents permits it. The type, EventSource's event name there, travels inside the data; in the page
``sse.channel("room")`` of the client script is what the EventSource was: ``.addEventListener("message", e => JSON.parse(e.data))``.
"""

from typing import Any, Optional

from .events import Events
from .exceptions import InvalidData, InvalidEvent
from .names import check_event

__all__ = ["channel_event", "send_event"]


def channel_event(channel: str) -> str:
    """The event name of a channel: spaces and '*', which channels may have, become '_'."""
    if not isinstance(channel, str):
        raise InvalidEvent(f"a channel must be a string, not {type(channel).__name__}")
    return check_event(channel.replace(" ", "_").replace("*", "_"))


def send_event(
    channel: str,
    event_type: str,
    data: Any,
    skip_user_ids: Optional[Any] = None,
    async_publish: bool = True,
    json_encode: bool = True,
) -> None:
    """django_eventstream's signature. ``async_publish`` has no meaning here: nothing but the hub's short answer is waited for."""
    if skip_user_ids:
        raise InvalidData("skip_user_ids cannot be kept: subscribe only those users who shall receive the channel")
    if not json_encode and not isinstance(data, str):
        raise InvalidData("json_encode=False takes a string")
    Events.publish(channel_event(channel), {"type": event_type, "data" if json_encode else "text": data})
