# SPDX-License-Identifier: Apache-2.0
"""The package's own code: names that are used exist, annotations hold, migrations and translations are up to date."""

import os
import pathlib
import re
import shutil
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


def strict(path):
    return run("mypy", "--strict", "--cache-dir=/dev/null", "--ignore-missing-imports", "--follow-imports=silent", str(path))


def test_types_as_a_site_sees_them(tmp_path):
    status, words = strict("tests/consumer.py")
    assert status == 0, words
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from mod_sse import Events\nfrom mod_sse.members import EventsUserMixin\n"
        "async def view(user: EventsUserMixin) -> None:\n"
        "    Events.publish(5)\n    await Events.apublish('e', nonsense=1)\n    n: int = await user.ais_online() + 'x'\n    user.subscribe(7)\n"
    )
    status, words = strict(wrong)
    assert [int(n) for n in re.findall(r"wrong.py:(\d+): error", words)] == [4, 5, 6, 7], words


def test_migrations():
    call_command("makemigrations", "mod_sse", "--check", "--dry-run", verbosity=0)


def test_translations(tmp_path):
    source = PACKAGE / "mod_sse" / "locale" / "de" / "LC_MESSAGES" / "django.po"
    compiled = tmp_path / "django.mo"
    subprocess.run(["msgfmt", "--check-format", "-o", str(compiled), str(source)], check=True)
    assert compiled.read_bytes() == source.with_suffix(".mo").read_bytes()
    assert 'msgstr ""' not in source.read_text().split("\n\n", 1)[1]


def test_every_marked_text_is_translated(tmp_path):
    """What makemessages finds in the package is what the catalogue has: nothing is missing, nothing is left over."""
    copy = tmp_path / "mod_sse"
    shutil.copytree(PACKAGE / "mod_sse", copy, ignore=shutil.ignore_patterns("__pycache__", "lua"))
    catalogue = copy / "locale" / "de" / "LC_MESSAGES" / "django.po"
    before = ids(catalogue.read_text())
    here = os.getcwd()
    os.chdir(copy)
    try:
        call_command("makemessages", locale=["de"], verbosity=0, no_obsolete=True)
    finally:
        os.chdir(here)
    assert ids(catalogue.read_text()) == before


def ids(text):
    return {"".join(re.findall(r'"(.*)"', found)) for found in re.findall(r'^msgid ((?:".*"\n)+)', text, re.M)}
