# SPDX-License-Identifier: Apache-2.0
"""For sites that come from django-eventstream: change ``from django_eventstream import send_event`` to
``from mod_sse.eventstream import send_event``.

A channel becomes an event name on the server, so a browser's ``?channel=`` becomes ``user.subscribe(channel)``, a group's
subscription, or ``?event=`` where SSEAllowEvents permits it. The data that arrives is what the page got before; the type, which
there was EventSource's event name, travels beside it: ``{"type": …, "data": …}`` unless it is "message".
"""

from typing import Any, Optional

from .events import Events
from .names import check_event
from .exceptions import InvalidEvent

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
    """django_eventstream's signature. ``async_publish`` has no meaning here: the hub answers within a millisecond or so."""
    if skip_user_ids:
        raise InvalidEvent("skip_user_ids cannot be kept: subscribe only those users who shall receive the channel")
    if event_type != "message":
        data = {"type": event_type, "data": data}
    elif not json_encode:
        Events.publish(channel_event(channel), data, raw=True)
        return
    Events.publish(channel_event(channel), data)
