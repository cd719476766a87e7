# SPDX-License-Identifier: Apache-2.0
"""The package's own code: names that are used exist, annotations hold, migrations and translations are up to date."""

import pathlib
import subprocess
import sys

from django.core.management import call_command

PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def run(*arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=PACKAGE, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_names():
    status, words = run("pyflakes", "mod_sse", "tests", "../demo")
    # Imported for what importing does: receivers and checks register themselves.
    expected = {"mod_sse/apps.py", "../demo/board/apps.py"}
    assert {line.partition(":")[0] for line in words.splitlines()} <= expected, words


def test_types():
    status, words = run("mypy", "--cache-dir=/dev/null", "--ignore-missing-imports", "--disallow-untyped-defs", "--check-untyped-defs", "mod_sse")
    assert status == 0, words


def test_migrations():
    call_command("makemigrations", "mod_sse", "--check", "--dry-run", verbosity=0)


def test_translations(tmp_path):
    source = PACKAGE / "mod_sse" / "locale" / "de" / "LC_MESSAGES" / "django.po"
    compiled = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check-format", "-o", str(compiled), str(source)], check=True)
    assert compiled.read_bytes() == source.with_suffix(".mo").read_bytes()
    assert 'msgstr ""' not in source.read_text().split("\n\n", 1)[1]
