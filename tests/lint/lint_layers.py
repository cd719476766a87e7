#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point down only, and each library is known in one place (docs/architecture.md, "Layers")."""

import fnmatch
import re
import sys

sys.dont_write_bytecode = True
import source_tree  # noqa: E402

# What files of a layer may include, by the first part of the path.
BELOW = {
    "core": {"core"},
    "broker": {"core", "broker"},
    "session": {"core", "session"},
    "hub": {"core", "broker", "hub"},
    "httpd": {"core", "session", "httpd"},
    "mod_sse.c": {"core", "session", "httpd"},
}

# Library, how its headers are named, who may include them, and how many files at most under a path.
LIBRARIES = [
    ("httpd", r"(httpd|http_\w+|ap_\w+|util_\w+|scoreboard|mpm_common|unixd|mod_(dbd|ssl|ssl_openssl|status|watchdog|core)"
              r"|ajp|heartbeat)\.h", ["mod_sse.c", "src/httpd/*"], {}),
    ("json-c", r"(json-c/.*|json|json_\w+)\.h", ["src/core/json.c"], {}),
    ("hiredis", r"(hiredis/.*|hiredis\w*|async)\.h", ["src/broker/redis*", "src/session/*"], {"src/session/": 1}),
    ("libcrypto", r"openssl/.*\.h", ["src/core/crypto.c", "src/*/tls*"], {}),
    ("SQLite", r"sqlite3\w*\.h", ["src/broker/disk*", "src/broker/local*"], {"src/": 1}),
    ("zlib", r"zlib\.h", ["src/*"], {"src/": 1}),
    ("libuv", r"uv(/.*)?\.h", ["src/hub/*", "src/broker/*"], {}),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def check_own(report, path, line, name):
    layer = path.split("/")[1] if path.startswith("src/") else path
    target = name.split("/")[0]
    if "/" not in name or target not in BELOW:
        report.say(path, line, f'"{name}": own headers are included as "<layer>/<file>.h"')
    elif target not in BELOW[layer]:
        report.say(path, line, f'"{name}": {layer} may not use {target}')
    elif not name.endswith(".inc") and not source_tree.exists("src/" + name):  # .inc is made by the build
        report.say(path, line, f'"{name}": no such file under src/')


def main():
    report = source_tree.Report()
    paths = source_tree.files(".c", ".h", under="src") + [p for p in ["mod_sse.c"] if source_tree.exists(p)]
    users = {library[0]: [] for library in LIBRARIES}
    for path in paths:
        text = source_tree.code(path)
        for match in INCLUDE.finditer(text):
            kind, name = match.groups()
            line = source_tree.line_of(text, match.start())
            hits = [library for library in LIBRARIES if re.fullmatch(library[1], name)]
            if kind == '"' and not hits:
                check_own(report, path, line, name)
            for library, _, allowed, _ in hits:
                users[library].append(path)
                if not any(fnmatch.fnmatch(path, pattern) for pattern in allowed):
                    report.say(path, line, f"<{name}>: {library} is for {', '.join(allowed)} only")
    for library, _, _, limits in LIBRARIES:
        for where, most in limits.items():
            found = sorted({p for p in users[library] if p.startswith(where)})
            if len(found) > most:
                report.say(where, 0, f"{library} is used by {len(found)} files, at most {most}: {', '.join(found)}")
    return report.end(len(paths))


if __name__ == "__main__":
    sys.exit(main())
