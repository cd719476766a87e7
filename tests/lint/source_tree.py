# SPDX-License-Identifier: Apache-2.0
"""The source tree as the lint tests see it: its files, C without comments, and a report that becomes the exit status."""

import os
import re
import sys

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
SKIP_DIRS = {".git", "build", "build-aux", "autom4te.cache", "__pycache__", "node_modules", "dist"}


def files(*endings, under=""):
    """Paths relative to the top, sorted, of files with one of these endings. Build trees are left out."""
    found = []
    for root, dirs, names in os.walk(os.path.join(TOP, under)):
        dirs[:] = [d for d in dirs if d not in SKIP_DIRS and not d.startswith("_") and not d.endswith(".egg-info")
                   and not os.path.exists(os.path.join(root, d, "config.status"))]
        for name in names:
            if name.endswith(endings):
                found.append(os.path.relpath(os.path.join(root, name), TOP))
    return sorted(found)


def exists(path):
    return os.path.exists(os.path.join(TOP, path))


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


_COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', re.S)


def code(path):
    """A C file without its comments; every line keeps its number."""

    def blank(match):
        text = match.group()
        return text if text[0] in "\"'" else " " + "\n" * text.count("\n")

    return _COMMENT_OR_STRING.sub(blank, read(path))


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Report:
    """Collects what is wrong; a lint test ends with sys.exit(report.end(n)), where n is how many things it looked at."""

    def __init__(self):
        self.problems = []

    def say(self, path, line, what):
        self.problems.append(f"{path}:{line}: {what}" if line else f"{path}: {what}")

    def end(self, looked_at):
        for problem in self.problems:
            print(problem)
        print(f"{looked_at} looked at, {len(self.problems)} problems")
        if not looked_at:
            print("nothing to look at: is the tree complete?")
        return 1 if self.problems or not looked_at else 0


sys.dont_write_bytecode = True
