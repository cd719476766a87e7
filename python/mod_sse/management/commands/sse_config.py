# SPDX-License-Identifier: Apache-2.0
"""``manage.py sse_config``: the file that httpd's SSEDjangoConfig reads."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...httpdconf import describe, directives, problems


class Command(BaseCommand):
    help = "Writes what httpd must know of this site (tables, key types, cookie, backends) as JSON for SSEDjangoConfig. It holds no secret."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", "-o", metavar="FILE", help="write to FILE (replaced in one step) instead of standard output")
        parser.add_argument("--httpd", action="store_true", help="print a stretch of httpd.conf for this site instead")

    def handle(self, *args: Any, **options: Any) -> None:
        for sentence, hint in problems():
            self.stderr.write(self.style.WARNING(f"{sentence} {hint}"))
        if options["httpd"]:
            self.stdout.write(directives(options["output"] or "/etc/apache2/mod_sse-django.json"))
            return
        text = json.dumps(describe(), indent=2) + "\n"
        if not options["output"]:
            self.stdout.write(text, ending="")
            return
        target = Path(options["output"])
        try:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, target)
        except OSError as err:
            raise CommandError(f"{target} cannot be written: {err.strerror}") from err
