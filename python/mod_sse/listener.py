# SPDX-License-Identifier: Apache-2.0
"""Follows who comes and goes, and sends ``user_online`` and ``user_offline``: what ``manage.py sse_listen`` runs.

It follows the hub's presence feed and begins with the list of who is there, so that nothing is missed between two connections.
It survives restarts of httpd, hub and database.
"""

import random
import threading
import time
from typing import Callable, Iterator, Optional, Set, Tuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, close_old_connections

from . import presence
from .conf import sse_settings
from .exceptions import NotMigrated, SSEError
from .signals import hub_changed, user_offline, user_online
from .sync import sync_all
from .transport import call, get_transport
from .transport.base import Lost, logger

# The feed carries a comment line at least every SSEHeartbeat seconds.
IDLE_SECONDS = 90.0
PAUSE_FIRST, PAUSE_MAX = 0.5, 15.0


class Listener:
    """For a log on a terminal: ``report(user_id, online)`` is called after each signal, ``following(where)`` when a feed is open
    and the hub knows what the database knows."""

    def __init__(
        self, report: Optional[Callable[[str, bool], None]] = None, following: Optional[Callable[[str], None]] = None
    ) -> None:
        self.report = report
        self.following = following
        self.online: Set[str] = set()
        self.stop = threading.Event()
        self.hub = ""

    def run(self) -> None:
        """Returns after ``stop`` is set; a wrong setting, a refusal or a missing table is raised."""
        pause = PAUSE_FIRST
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                self.follow(get_transport().feed(IDLE_SECONDS))
            except (Lost, SSEError) as err:
                if isinstance(err, NotMigrated) or getattr(err, "status", 0) in (401, 403, 404, 405):
                    raise
                logger.warning("the presence feed was lost: %s", err)
            except DatabaseError as err:
                logger.warning("the database is away: %s", err)
            if time.monotonic() - began > IDLE_SECONDS:
                pause = PAUSE_FIRST
            self.stop.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, PAUSE_MAX)

    def follow(self, changes: Iterator[Optional[Tuple[str, bool]]]) -> None:
        first = True
        for change in changes:
            if first:  # the feed is open: whatever happens from here on will be in it
                self.connected()
                first = False
            if change is not None:
                self.set(*change)
            if self.stop.is_set():
                return

    def connected(self) -> None:
        close_old_connections()
        self.take(set(presence.online_ids()))
        status = call("GET", "/status").body
        hub = str(status.get("instance") or status.get("pid"))
        if hub != self.hub:
            if sse_settings.SUBSCRIPTIONS == "db":
                done = sync_all()
                logger.info("a new hub was told %d subscribers and %d groups", done["subscribers"], done["groups"])
            self.hub = hub
            hub_changed.send_robust(sender=None)
        if self.following is not None:
            self.following(get_transport().describe())

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

