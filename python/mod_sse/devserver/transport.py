# SPDX-License-Identifier: Apache-2.0
"""``SSE_ADMIN_URL = "runserver:"``: admin requests to the hub in this process."""

import json
import threading
from typing import Optional
from urllib.parse import parse_qs, unquote, urlsplit

from django.contrib.auth import get_user_model

from ..conf import sse_settings
from ..signals import user_offline, user_online
from ..transport.base import Answer, Transport
from ..transport.rules import key_conflict, read
from .hub import DevHub

_lock = threading.Lock()
_hub: Optional[DevHub] = None

# Collections whose items are named in the path.
NAMED = ("/presence/users/", "/presence/groups/", "/groups/", "/sessions/", "/users/")


def signal_presence(user: str, online: bool) -> None:
    """What ``manage.py sse_listen`` does for a real hub."""
    (user_online if online else user_offline).send_robust(sender=get_user_model(), user_id=user)


def dev_hub() -> DevHub:
    """The process's own hub."""
    global _hub
    with _lock:
        if _hub is None:
            _hub = DevHub()
            _hub.on_presence = signal_presence
        return _hub


class DevTransport(Transport):
    def __init__(self, hub: Optional[DevHub] = None) -> None:
        self.hub = hub or dev_hub()

    def describe(self) -> str:
        return "runserver:"

    def exchange(self, method: str, target: str, body: Optional[bytes], timeout: float) -> Answer:
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = parts.path
        for prefix in NAMED:
            if path.startswith(prefix):
                query["name"] = unquote(path[len(prefix) :])
                path = prefix[:-1]
                break
        if body and path in ("/publish", "/broadcast"):
            return self.publish(body, path == "/broadcast")
        status, answer = self.hub.handle(method, path, query, json.loads(body) if body else {})
        return Answer(status, {}, answer)

    def publish(self, body: bytes, everyone: bool) -> Answer:
        single, items = read(body, everyone, int(sse_settings.MAX_MESSAGE_SIZE))
        if isinstance(items, Answer):
            return items
        ids = self.hub.publish(items)
        if isinstance(ids, int):
            return key_conflict(None if single else ids)
        return Answer(200, {}, {"id": ids[0]} if single else {"ids": ids})
