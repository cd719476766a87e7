#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Log codes: every message at warning or above begins with one, each has one text in the source, in its layer's range,
and an entry in docs/errors.md, which is sorted and has no entry of a code that is not in the source."""

import re
import sys

sys.dont_write_bytecode = True
import source_tree  # noqa: E402

# Relay and TLS hand-off have a range of their own, whichever layer a file belongs to.
RANGES = {
    "src/core/": [(1, 99)],
    "mod_sse.c": [(100, 199), (600, 699)],
    "src/httpd/": [(100, 199), (600, 699)],
    "src/hub/": [(200, 299), (600, 699)],
    "src/broker/": [(300, 399), (400, 499)],
    "src/session/": [(500, 599)],
}
DOC = "docs/errors.md"
CODE = re.compile(r"SSE(\d{4})\b")
OWN_CALL = re.compile(r'\bsse_log\(\s*SSE_LOG_(CRIT|ERR|WARNING)\s*,\s*("[^"]*)?')
AP_CALL = re.compile(r'\bap_log_\w*error\w*\(\s*APLOG_MARK\s*,\s*APLOG_(?:\w+\s*\|\s*APLOG_)*(EMERG|ALERT|CRIT|ERR|WARNING)\b([^;]*)')


def in_range(path, number):
    for prefix, ranges in RANGES.items():
        if path.startswith(prefix):
            return any(low <= number <= high for low, high in ranges)
    return False


def check_calls(report, path, text):
    for match in OWN_CALL.finditer(text):
        if match.group(2) and not re.match(r'"SSE\d{4}: ', match.group(2)):
            report.say(path, source_tree.line_of(text, match.start()), 'a message at warning or above without "SSEnnnn: "')
    for match in AP_CALL.finditer(text):
        literal = re.search(r'"[^"]*"', match.group(2))
        if literal and not re.match(r'"(SSE\d{4}: |%s")', literal.group()):
            report.say(path, source_tree.line_of(text, match.start()), 'a message at warning or above without "SSEnnnn: "')


def source_codes(report):
    found, texts = {}, {}
    paths = source_tree.files(".c", under="src") + [p for p in ["mod_sse.c"] if source_tree.exists(p)]
    for path in paths:
        text = source_tree.code(path)
        check_calls(report, path, text)
        for match in re.finditer(r'"SSE(\d{4}): ((?:[^"\\]|\\.)*)"', text):
            number, line = int(match.group(1)), source_tree.line_of(text, match.start())
            if number in found and texts[number] != match.group(2):
                report.say(path, line, f"SSE{number:04} has another text at {found[number][0]}:{found[number][1]}")
            found[number], texts[number] = (path, line), match.group(2)
            if not in_range(path, number):
                report.say(path, line, f"SSE{number:04} is out of the range of its layer")
    return found


def check_doc(report, found):
    text = source_tree.read(DOC) if source_tree.exists(DOC) else ""
    entries = [(int(m.group(1)), source_tree.line_of(text, m.start()), m.end())
               for m in re.finditer(r"^### SSE(\d{4})\b", text, re.M)]
    numbers = [number for number, _, _ in entries]
    if numbers != sorted(set(numbers)):
        report.say(DOC, 0, "entries are not in ascending order, each once")
    for number, (path, line) in sorted(found.items()):
        if number not in numbers:
            report.say(path, line, f"SSE{number:04} has no entry in {DOC}")
    for number, line, end in entries:
        body = text[end:].split("\n### ")[0]
        if number not in found:
            report.say(DOC, line, f"SSE{number:04} is not in the source")
        elif len(body.split()) < 12:
            report.say(DOC, line, f"SSE{number:04}: cause, what happens next and what to do are needed")


def main():
    report = source_tree.Report()
    found = source_codes(report)
    check_doc(report, found)
    # A tree without a single message is no failure of this test: core alone logs nothing.
    return report.end(len(found) or 1)


if __name__ == "__main__":
    sys.exit(main())
