# SPDX-License-Identifier: Apache-2.0
"""Follows who comes and goes, and sends ``user_online`` and ``user_offline``: what ``manage.py sse_listen`` runs.

Over HTTP it reads the admin handler's ``/presence/feed``; over the admin socket, which answers requests and has no streams, it
asks for the list of users at short intervals. Either way it begins with the list, so that nothing is missed between two
connections, and it survives restarts of httpd, hub and database.
"""

import json
import random
import threading
import time
from typing import Any, Callable, Dict, Iterator, Optional, Set, Tuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections

from . import presence
from .conf import sse_settings
from .exceptions import SSEError
from .signals import hub_changed, user_offline, user_online
from .sync import sync_all
from .transport import call, get_transport
from .transport.base import Lost, logger

# The feed carries a comment line at least every SSEHeartbeat seconds.
IDLE_SECONDS = 90.0
PAUSE_FIRST, PAUSE_MAX = 0.5, 15.0


def changes(lines: Iterator[str]) -> Iterator[Optional[Tuple[str, bool]]]:
    """From the lines of an event stream to (user id, online); None for each line that only shows that the stream lives."""
    data = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[6:] if line.startswith("data: ") else line[5:])
            continue
        if line or not data:
            yield None
            continue
        try:
            found = json.loads("\n".join(data))
        except ValueError:
            found = None
        data = []
        if isinstance(found, dict) and "user" in found and isinstance(found.get("online"), bool):
            yield str(found["user"]), found["online"]
        else:
            yield None


class Listener:
    """``report(user_id, online)`` is called after the signal, for a log on a terminal."""

    def __init__(self, report: Optional[Callable[[str, bool], None]] = None, interval: float = 1.0) -> None:
        self.report = report
        self.interval = interval
        self.online: Set[str] = set()
        self.stop = threading.Event()
        self.hub = ""

    def run(self) -> None:
        """Returns after ``stop`` is set; a wrong setting or a refusal is raised."""
        pause = PAUSE_FIRST
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                transport = get_transport()
                if hasattr(transport, "lines"):
                    self.follow(transport.lines("/presence/feed", IDLE_SECONDS))
                else:
                    self.poll()
            except (Lost, SSEError) as err:
                if isinstance(err, SSEError) and getattr(err, "status", 0) in (401, 403, 404, 405):
                    raise
                logger.warning("the presence feed was lost: %s", err)
            if time.monotonic() - began > IDLE_SECONDS:
                pause = PAUSE_FIRST
            self.stop.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, PAUSE_MAX)

    def follow(self, lines: Iterator[str]) -> None:
        first = True
        for change in changes(lines):
            if first:  # the feed is open: whatever happens from here on will be in it
                self.connected()
                first = False
            if change is not None:
                self.set(*change)
            if self.stop.is_set():
                return

    def poll(self) -> None:
        self.connected()
        while not self.stop.wait(self.interval):
            self.take(set(presence.online_ids()))

    def connected(self) -> None:
        close_old_connections()
        self.take(set(presence.online_ids()))
        hub = hub_identity(call("GET", "/status").body)
        if hub != self.hub:
            self.hub = hub
            if sse_settings.SUBSCRIPTIONS == "db":
                done = sync_all()
                logger.info("a new hub was told %d subscribers and %d groups", done["subscribers"], done["groups"])
            hub_changed.send_robust(sender=None)

    def take(self, now: Set[str]) -> None:
        for user in sorted(self.online - now):
            self.set(user, False)
        for user in sorted(now - self.online):
            self.set(user, True)

    def set(self, user: str, online: bool) -> None:
        if (user in self.online) == online:
            return
        (self.online.add if online else self.online.discard)(user)
        close_old_connections()
        signal = user_online if online else user_offline
        for receiver, answer in signal.send_robust(sender=get_user_model(), user_id=user):
            if isinstance(answer, (SSEError, ImproperlyConfigured)):
                logger.error("receiver %r: %s", receiver, answer)
            elif isinstance(answer, Exception):
                logger.error("receiver %r failed", receiver, exc_info=answer)
        if self.report is not None:
            self.report(user, online)


def hub_identity(status: Dict[str, Any]) -> str:
    """Something that is another after the hub has been started anew."""
    for name in ("instance", "started", "pid"):
        if status.get(name) is not None:
            return f"{name} {status[name]}"
    return f"started about {round((time.time() - float(status.get('uptime') or 0)) / 5)}"
