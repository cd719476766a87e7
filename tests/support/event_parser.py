# SPDX-License-Identifier: Apache-2.0
"""The text/event-stream parser of WHATWG HTML, section 9.2.6, fed with bytes as they come.

It is the tests' judge of what a browser would see: it does no more and no less than the standard says, whatever the cuts
between chunks. Comments and the bytes themselves are kept beside the events, since heartbeats and framing are tested too.
"""

import dataclasses
import re

_LINE_END = re.compile(rb"[\r\n]")


@dataclasses.dataclass(frozen=True)
class Event:
    type: str
    data: str
    id: str  # the last event ID at the time of dispatch


class EventParser:
    def __init__(self):
        self.events = []
        self.comments = []
        self.retry = None
        self.last_id = ""
        self._pending = b""
        self._start = True
        self._skip_lf = False
        self._data = []
        self._type = ""
        self._id = ""

    def feed(self, chunk):
        """Takes the next bytes; complete events are appended to `events`."""
        self._pending += chunk
        if self._start:
            if len(self._pending) < 3 and b"\xef\xbb\xbf".startswith(self._pending):
                return
            if self._pending.startswith(b"\xef\xbb\xbf"):
                self._pending = self._pending[3:]
            self._start = False
        at = 0
        pending = self._pending
        while at < len(pending):
            if self._skip_lf:
                self._skip_lf = False
                if pending[at] == 0x0A:
                    at += 1
                    continue
            found = _LINE_END.search(pending, at)
            if not found:
                break
            end = found.start()
            self._line(pending[at:end].decode("utf-8", "replace"))
            self._skip_lf = pending[end] == 0x0D
            at = end + 1
        self._pending = pending[at:]

    def _line(self, line):
        if line == "":
            self._dispatch()
        elif line.startswith(":"):
            self.comments.append(line[1:])
        else:
            field, _, value = line.partition(":")
            self._field(field, value[1:] if value.startswith(" ") else value)

    def _field(self, field, value):
        if field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            if "\0" not in value:
                self._id = value
        elif field == "retry":
            if value and all(c in "0123456789" for c in value):
                self.retry = int(value)

    def _dispatch(self):
        self.last_id = self._id
        if self._data:
            data = "\n".join(self._data)
            self.events.append(Event(self._type or "message", data, self.last_id))
        self._data = []
        self._type = ""
