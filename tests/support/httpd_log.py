# SPDX-License-Identifier: Apache-2.0
"""The error log as a witness: every line at warning or above, and every line that is not a log line at all, must have been
announced by the test; what was announced must have come."""

import re

# [Tue Nov 24 09:00:00.000000 2026] [sse:notice] [pid 1:tid 2] message   (the tid is missing under prefork)
_LINE = re.compile(r"^\[[^]]+\] \[(?P<module>[\w-]*):(?P<level>\w+)\] \[pid (?P<pid>\d+)[^]]*\] (?P<message>.*)$")
# What a worker of the event MPM says that has just answered when its child closes its poll set to go: httpd's own, and harmless.
_LEAVING = re.compile(r"\(9\)Bad file descriptor: AH0309[23]")
_LEFT = re.compile(r"resuming normal operations|caught SIG\w+, shutting down")
_QUIET = {"notice", "info", "debug"} | {"trace%d" % n for n in range(1, 9)}


class HttpdLog:
    def __init__(self, path):
        self.path = path
        self._expected = []
        self._departures = []

    def children_leave(self):
        """httpd is about to be stopped or restarted: until it says that it was done, its workers may complain of their poll set."""
        self._departures.append(len(self.lines()))

    def _excused(self, lines):
        """Numbers of the lines that children wrote while they left."""
        excused = set()
        for first in self._departures:
            for number in range(first, len(lines)):
                if _LEAVING.search(lines[number]):
                    excused.add(number)
                if _LEFT.search(lines[number]):
                    break
        return excused

    def expect(self, pattern, at_least=1):
        """Lines that match are part of the test; fewer than `at_least` of them are a failure."""
        self._expected.append((re.compile(pattern), at_least))

    def allow(self, pattern):
        """Lines that may or may not come, depending on timing the test does not control."""
        self.expect(pattern, at_least=0)

    def lines(self):
        return self.path.read_text(errors="replace").splitlines() if self.path.exists() else []

    def matching(self, pattern):
        return [line for line in self.lines() if re.search(pattern, line)]

    def problems(self):
        found = {pattern: 0 for pattern, _ in self._expected}
        problems = []
        lines = self.lines()
        excused = self._excused(lines)
        for number, line in enumerate(lines):
            hits = [p for p, _ in self._expected if p.search(line)]
            for p in hits:
                found[p] += 1
            parsed = _LINE.match(line)
            if number not in excused and not hits and line.strip() and not (parsed and parsed["level"] in _QUIET):
                problems.append("unexpected: " + line)
        for pattern, at_least in self._expected:
            if found[pattern] < at_least:
                problems.append("%d line(s) of %d: %s" % (found[pattern], at_least, pattern.pattern))
        return problems
