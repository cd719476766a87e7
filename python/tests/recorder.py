# SPDX-License-Identifier: Apache-2.0
"""The in-process hub, with a list of the requests that reached it."""

from contextlib import contextmanager
from urllib.parse import unquote

from mod_sse.devserver.hub import DevHub
from mod_sse.devserver.transport import DevTransport
from mod_sse.transport import override_transport


class Recorder(DevTransport):
    def __init__(self):
        super().__init__(DevHub())
        self.requests = []

    def exchange(self, method, target, body, timeout):
        self.requests.append((method, unquote(target), (body or b"").decode()))
        return super().exchange(method, target, body, timeout)

    def take(self):
        """The requests so far as "METHOD target", and forgets them."""
        found = [f"{method} {target}" for method, target, _ in self.requests]
        self.requests.clear()
        return found


class RecorderMixin:
    """For django.test.TestCase: self.recorder answers instead of a server."""

    def setUp(self):
        super().setUp()
        self.recorder = Recorder()
        self.addCleanup(override_transport, override_transport(self.recorder))

    @contextmanager
    def commits(self):
        """What waits for a commit runs at the end of the block, as if the test's own transaction had committed."""
        with self.captureOnCommitCallbacks(execute=True):
            yield
