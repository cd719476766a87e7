#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files: licence line and opening paragraph, length of files and functions, unique names, everything registered with the
build, no path or tab that does not belong."""

import os
import re
import sys

sys.dont_write_bytecode = True
import source_tree  # noqa: E402

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 90
SPDX = "SPDX-License-Identifier: Apache-2.0"


def check_opening(report, path, text):
    if SPDX not in "\n".join(text.splitlines()[:3]):
        report.say(path, 1, f"no '{SPDX}' on top")
    if path.endswith((".c", ".h")) and not re.match(r"/\* SPDX[^\n]*\*/\n/\* \S", text):
        report.say(path, 2, "no paragraph on top that says what this file is")


def check_functions(report, path, text):
    """A function's body stands between '{' and '}' in the first column, which clang-format sees to."""
    begin = None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            begin = number
        elif line == "}" and begin:
            if number - begin - 1 > FUNCTION_LINES_MAX:
                report.say(path, begin, f"a function of {number - begin - 1} lines, at most {FUNCTION_LINES_MAX}")
            begin = None


def check_unique(report, paths):
    seen = {}
    for path in paths:
        # In the tree a link to src/broker/lua, in a distribution its copy.
        if path.startswith("python/mod_sse/lua/"):
            continue
        name = os.path.basename(path)
        if name in seen:
            report.say(path, 0, f"has the name of {seen[name]}")
        seen[name] = path


def check_registered(report):
    makefiles = "".join(source_tree.read(p) for p in source_tree.files(".am"))
    # A program of one source may be named without it: tests/unit/test_x.
    words = set(re.findall(r"[\w./+-]+", re.sub(r"(?m)^#.*", "", makefiles)))
    for path in source_tree.files(".c", ".h"):
        if path not in words and not (path.startswith("tests/") and path[:-2] in words):
            report.say(path, 0, "is in no .am file")
    for word in sorted(words):
        if word.endswith((".c", ".h")) and "/" in word and not source_tree.exists(word):
            report.say("tests/tests.am or src/sources.am", 0, f"{word} does not exist")
    for path in source_tree.files(".c", under="tests/fuzz"):
        name = os.path.basename(path)[:-2]
        if name.startswith("fuzz_") and not source_tree.exists(f"tests/fuzz/corpus/{name[5:]}"):
            report.say(path, 0, "has no corpus")
    for path in source_tree.files(".py", under="tests/lint"):
        if path not in words:
            report.say(path, 0, "is in no .am file")


def main():
    report = source_tree.Report()
    sources = source_tree.files(".c", ".h", ".lua")
    scripts = [p for p in source_tree.files(".py", ".js") if "/migrations/" not in p and source_tree.read(p).strip()]
    for path in sources + scripts:
        text = source_tree.read(path)
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            report.say(path, 0, f"{lines} lines, at most {FILE_LINES_MAX}")
        check_opening(report, path, text)
        if path in sources:
            check_functions(report, path, text)
    # Python packages repeat names by their nature; pytest's modules and C files may not.
    check_unique(report, sources + [p for p in scripts if p.startswith("tests/") and "conftest" not in p])
    check_registered(report)
    return report.end(len(sources))


if __name__ == "__main__":
    sys.exit(main())
