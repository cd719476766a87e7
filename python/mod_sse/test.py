# SPDX-License-Identifier: Apache-2.0
"""``EventsTestMixin`` for a site's own tests: no server is needed, what was published is recorded.

::

    class InvoiceTest(EventsTestMixin, TestCase):
        def test_paid(self):
            self.client.post("/invoices/7/pay")
            self.assertPublished("invoice:paid", {"id": 7}, users=[self.owner])

Subscriptions and presence are answered by an in-process hub: ``user.subscribe()``, ``group.online_users()`` work, and
``with self.online(user) as page:`` opens a stream whose events are ``page.events()``.
"""

import json
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Tuple

from django.db import connections

from . import events as publishing
from .devserver.hub import DevHub, Stream
from .devserver.transport import DevTransport
from .events import Message, Pending
from .names import as_list, group_name, user_id
from .signals import event_published
from .transport import override_transport
from .transport.base import encode

ANY: Any = object()


def same_data(message: Message, data: Any) -> bool:
    """The same object, or the same JSON: a date is its text, a tuple a list, and what its owner did to it later does not count."""
    if message.data == data:
        return True
    try:
        return bool(json.loads(message.text) == json.loads(encode(data)))
    except ValueError:  # a matcher such as mock.ANY inside
        return False


class Page:
    """An open stream in a test."""

    def __init__(self, hub: DevHub, stream: Stream) -> None:
        self.hub = hub
        self.stream = stream
        self.seen: List[Tuple[str, Any]] = []

    def events(self) -> List[Tuple[str, Any]]:
        """(event, data) of everything that has arrived so far, without the server's own events."""
        while not self.stream.frames.empty():
            text = self.stream.frames.get()
            for block in (text or "").split("\n\n"):
                fields = [line.partition(": ") for line in block.split("\n")]
                name = next((value for key, _, value in fields if key == "event"), "")
                if name and not name.startswith("stream-"):
                    data = "\n".join(value for key, _, value in fields if key == "data")
                    try:
                        self.seen.append((name, json.loads(data)))
                    except ValueError:
                        self.seen.append((name, data))
        return list(self.seen)


class EventsTestMixin:
    """Mix into any of Django's test cases, before it: ``class MyTest(EventsTestMixin, TestCase)``."""

    def setUp(self) -> None:
        self.events_hub = DevHub()
        self._events_sent: List[Message] = []
        before = override_transport(DevTransport(self.events_hub))
        self.addCleanup(override_transport, before)  # type: ignore[attr-defined]
        depths = {alias: publishing.atomic_depth(alias) for alias in connections}
        publishing.test_case_blocks.update(depths)
        self.addCleanup(publishing.test_case_blocks.clear)  # type: ignore[attr-defined]
        event_published.connect(self._record_event)
        self.addCleanup(event_published.disconnect, self._record_event)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]

    def _record_event(self, sender: Any, message: Message, **kwargs: Any) -> None:
        self._events_sent.append(message)

    @property
    def published(self) -> List[Message]:
        """Every message so far, also those that wait for a transaction to commit (one that rolled back has dropped its own)."""
        waiting: List[Message] = []
        for alias in connections:
            for entry in getattr(connections[alias], "run_on_commit", ()):
                if isinstance(entry[1], Pending):
                    waiting += entry[1].messages
        return self._events_sent + [message for message in waiting if not any(message is sent for sent in self._events_sent)]

    def clear_published(self) -> None:
        self._events_sent.clear()

    def matching(self, event: str, data: Any = ANY, *, users: Any = ANY, groups: Any = ANY, everyone: Any = ANY) -> List[Message]:
        """The messages that fit; what is not given may be anything."""
        wanted: Dict[str, Any] = {"event": event}
        if users is not ANY:
            wanted["users"] = None if users is None else [user_id(user) for user in as_list(users)]
        if groups is not ANY:
            wanted["groups"] = None if groups is None else [group_name(group) for group in as_list(groups)]
        if everyone is not ANY:
            wanted["everyone"] = everyone
        return [
            message
            for message in self.published
            if all(getattr(message, name) == value for name, value in wanted.items()) and (data is ANY or same_data(message, data))
        ]

    def assertPublished(self, event: str, data: Any = ANY, *, count: Any = ANY, **wanted: Any) -> Message:  # noqa: N802
        """At least one message fits, or exactly ``count``. Returns the last."""
        found = self.matching(event, data, **wanted)
        if not found or (count is not ANY and len(found) != count):
            expected = "one" if count is ANY else count
            there = "\n  ".join(map(repr, self.published)) or "nothing"
            self.fail(f"{event!r}: expected {expected} that fits, found {len(found)}. Published:\n  {there}")  # type: ignore[attr-defined]
        return found[-1]

    def assertNotPublished(self, event: str, data: Any = ANY, **wanted: Any) -> None:  # noqa: N802
        found = self.matching(event, data, **wanted)
        if found:
            self.fail(f"{event!r} was published: {found}")  # type: ignore[attr-defined]

    @contextmanager
    def online(self, user: Any) -> Iterator[Page]:
        """The user has a page open inside the ``with`` block."""
        groups = list(user.groups.values_list("name", flat=True)) if hasattr(user, "groups") else []
        stream = self.events_hub.open(Stream(user_id(user), groups, "", ()))
        try:
            yield Page(self.events_hub, stream)
        finally:
            self.events_hub.close(stream)
