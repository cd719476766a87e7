#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Directives: each that src/httpd/directives.c registers is in docs/directives.md and conf/mod_sse.conf, and the other
way round."""

import re
import sys

sys.dont_write_bytecode = True
import source_tree  # noqa: E402

SOURCE = "src/httpd/directives.c"
DOC = "docs/directives.md"
CONF = "conf/mod_sse.conf"


def read(path):
    return source_tree.read(path) if source_tree.exists(path) else ""


def main():
    report = source_tree.Report()
    if not source_tree.exists(SOURCE):
        print(f"no {SOURCE}: nothing registered")
        return 0
    registered = set(re.findall(r'"(SSE[A-Z]\w*)"', source_tree.code(SOURCE)))
    in_doc = set(re.findall(r"^#+ +`?(SSE[A-Z]\w*)", read(DOC), re.M))
    # A directive in use, or commented out: alone on its line or followed by arguments, not in the middle of prose.
    in_conf = set(re.findall(r"^\s*#?\s*(SSE[A-Z]\w*)(?=\s|$)", read(CONF), re.M))
    for name in sorted(registered):
        if name not in in_doc:
            report.say(DOC, 0, f"{name} has no heading")
        if name not in in_conf:
            report.say(CONF, 0, f"{name} is missing")
    for path, names in [(DOC, in_doc), (CONF, in_conf)]:
        for name in sorted(names - registered):
            report.say(path, 0, f"{name} is not registered in {SOURCE}")
    return report.end(len(registered))


if __name__ == "__main__":
    sys.exit(main())
