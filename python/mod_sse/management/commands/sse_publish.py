# SPDX-License-Identifier: Apache-2.0
"""``manage.py sse_publish``: publishes from a shell or from cron."""

import json
import sys
from typing import Any, List, Optional

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...events import Events
from ...exceptions import SSEError


class Command(BaseCommand):
    help = "Publishes an event to its subscribers, to users, to groups or to everyone, and prints the message's id."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        """The data may come after options, too: ``sse_publish EVENT --user alice '{"n": 1}'``."""
        parser = super().create_parser(*args, **kwargs)
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("event", help="the event's name")
        parser.add_argument("data", nargs="?", default="null", help="JSON; '-' reads it from standard input (default: null)")
        parser.add_argument("--user", action="append", metavar="NAME", help="to this user (its user name); may be repeated")
        parser.add_argument("--group", action="append", metavar="NAME", help="to this group; may be repeated")
        parser.add_argument("--everyone", action="store_true", help="to every open stream")
        parser.add_argument("--text", action="store_true", help="data is text, not JSON")
        parser.add_argument("--raw", action="store_true", help="like --text, and its own characters are sent, not their JSON")
        parser.add_argument("--key", help="idempotency key: the same key again delivers nothing")
        parser.add_argument("--ttl", type=int, metavar="SECONDS", help="not replayed any more after that time")

    def handle(self, *args: Any, **options: Any) -> None:
        text = sys.stdin.read() if options["data"] == "-" else options["data"]
        data: Any = text
        if not (options["text"] or options["raw"]):
            try:
                data = json.loads(text)
            except ValueError as err:
                raise CommandError(f"data is not JSON ({err}); use --text for plain text") from err
        if options["everyone"] and (options["user"] or options["group"]):
            raise CommandError("--everyone goes with neither --user nor --group")
        common = {"key": options["key"], "ttl": options["ttl"], "raw": options["raw"], "on_commit": False}
        try:
            if options["everyone"]:
                found = Events.broadcast(options["event"], data, **common)
            else:
                found = Events.publish(
                    options["event"], data, users=self.users(options["user"]), groups=self.groups(options["group"]), **common
                )
        except (SSEError, ImproperlyConfigured) as err:
            raise CommandError(str(err)) from err
        self.stdout.write(str(found))

    @staticmethod
    def users(names: Optional[List[str]]) -> Optional[List[Any]]:
        if not names:
            return None
        model = get_user_model()
        found = []
        for name in names:
            try:
                found.append(model._default_manager.get_by_natural_key(name))
            except model.DoesNotExist:
                raise CommandError(f"no user named {name!r}") from None
        return found

    @staticmethod
    def groups(names: Optional[List[str]]) -> Optional[List[Any]]:
        if not names:
            return None
        known = {group.name: group for group in Group.objects.filter(name__in=names)}
        for name in names:
            if name not in known:
                raise CommandError(f"no group named {name!r}")
        return [known[name] for name in names]
