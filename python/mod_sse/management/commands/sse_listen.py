# SPDX-License-Identifier: Apache-2.0
"""``manage.py sse_listen``: sends ``user_online`` and ``user_offline`` in this process until it is stopped."""

import signal
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import SSEError
from ...listener import Listener


class Command(BaseCommand):
    help = (
        "Follows who comes and goes and sends the signals user_online and user_offline in this process. Tells a new hub the "
        "subscriptions of SSE_SUBSCRIPTIONS = 'db'. Run one of it, under a supervisor; stops at SIGINT or SIGTERM."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="print nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        listener = Listener() if options["quiet"] else Listener(self.report, self.following)

        def stop(number: int, frame: Any) -> None:
            # A read that waits for the next line is left by an exception, not by a flag.
            listener.stop.set()
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        try:
            listener.run()
        except KeyboardInterrupt:
            return
        except (SSEError, ImproperlyConfigured) as err:
            raise CommandError(str(err)) from err

    def report(self, user: str, online: bool) -> None:
        self.stdout.write(f"{user} {'online' if online else 'offline'}")
        self.stdout.flush()

    def following(self, where: str) -> None:
        self.stdout.write(f"following {where}")
        self.stdout.flush()
