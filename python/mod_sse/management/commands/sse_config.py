# SPDX-License-Identifier: Apache-2.0
"""``manage.py sse_config``: the file that httpd's SSEDjangoConfig reads."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...httpdconf import describe, directives, problems, secret_keys


def write(path: str, text: str, mode: int) -> None:
    """In one step: httpd never reads half a file."""
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, target)
    except OSError as err:
        raise CommandError(f"{target} cannot be written: {err.strerror}") from err


class Command(BaseCommand):
    help = (
        "Writes what httpd must know of this site (tables, key types, cookie, backends) as JSON for SSEDjangoConfig, which holds no "
        "secret. With --httpd prints the directives that go with it."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", "-o", metavar="FILE", help="write the JSON to FILE (replaced in one step) instead of standard output")
        parser.add_argument("--secret-key-file", metavar="FILE", help="write SECRET_KEY and its fallbacks to FILE, mode 0600, for SSESecretKeyFile")
        parser.add_argument("--httpd", action="store_true", help="print a stretch of httpd.conf for this site")

    def handle(self, *args: Any, **options: Any) -> None:
        for sentence, hint in problems():
            self.stderr.write(self.style.WARNING(f"{sentence} {hint}"))
        output, keys = options["output"], options["secret_key_file"]
        text = json.dumps(describe(), indent=2) + "\n"
        if output:
            write(output, text, 0o644)
        if keys:
            write(keys, secret_keys(), 0o600)
        if options["httpd"]:
            names = (os.path.abspath(output or "/etc/apache2/mod_sse-django.json"), os.path.abspath(keys or "/etc/apache2/mod_sse-secret.key"))
            self.stdout.write(directives(*names))
            missing = [option for option, given in (("--output", output), ("--secret-key-file", keys)) if not given]
            if missing:
                self.stderr.write(f"The file names are suggestions; {' and '.join(missing)} would write the files.")
        elif not output:
            self.stdout.write(text, ending="")
