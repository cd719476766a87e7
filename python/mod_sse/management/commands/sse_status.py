# SPDX-License-Identifier: Apache-2.0
"""``manage.py sse_status``: is the event server there, and who is online?"""

import json
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import presence
from ...exceptions import SSEError
from ...transport import call, get_transport


class Command(BaseCommand):
    help = "Shows the event server's status and who is online. Fails if it cannot be reached."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="the server's whole answer as JSON")
        parser.add_argument("--users", action="store_true", help="list who is online")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            status = call("GET", "/status").body
            totals = presence.totals()
            users = presence.online_users() if options["users"] else []
            where = get_transport().describe()
        except (SSEError, ImproperlyConfigured) as err:
            raise CommandError(str(err)) from err
        if options["json"]:
            self.stdout.write(json.dumps(dict(status, presence=totals), indent=2, ensure_ascii=False))
            return
        self.stdout.write(f"{where}: mod_sse {status.get('version', '?')}, up {status.get('uptime', '?')} s")
        broker = status.get("broker")
        if broker is not None:
            words = [str(broker)] if not isinstance(broker, dict) else [str(broker[n]) for n in ("driver", "state", "detail") if broker.get(n)]
            self.stdout.write("broker: " + ", ".join(words))
        numbers = [f"{word}: {totals.get(name, '?')}" for word, name in (("users online", "users"), ("streams", "streams"), ("hubs", "hubs"))]
        self.stdout.write(", ".join(numbers))
        for user in users:
            self.stdout.write(f"  {user.get_username()}")
