# SPDX-License-Identifier: Apache-2.0
"""``manage.py sse_sync``: tells the hub the subscriptions and group members that the database has."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import SSEError
from ...sync import sync_all


class Command(BaseCommand):
    help = "Makes the event server's subscriptions (SSE_SUBSCRIPTIONS = 'db') and group members those of the database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="also take away what users and groups without rows have (a request for each)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = sync_all(everybody=options["all"])
        except (SSEError, ImproperlyConfigured) as err:
            raise CommandError(str(err)) from err
        self.stdout.write(f"{done['subscribers']} subscribers, {done['groups']} groups")
