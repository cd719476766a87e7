# SPDX-License-Identifier: Apache-2.0
"""HTTP on raw sockets: requests byte for byte as a test wants them, heads as the server sent them, event streams as they come.

No HTTP library in between, since the tests judge heads, framing and when bytes arrive. A body that ends by close, by
Content-Length or in chunks is understood; a stream must end by close.
"""

import socket
import ssl
import time

from event_parser import EventParser


class Head:
    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.raw = raw
        self.version, status, *_ = lines[0].split(" ", 2) + [""]
        self.status = int(status)
        self.fields = []
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                self.fields.append((name.lower(), value.strip()))

    def all(self, name):
        return [v for n, v in self.fields if n == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name):
        return bool(self.all(name))


class Connection:
    """One client socket; every wait has a limit and fails the test when it passes."""

    def __init__(self, address, timeout=10.0, source=None, rcvbuf=None, tls=None, server_name="localhost"):
        """tls: an ssl.SSLContext, or None for a clear connection."""
        self.timeout = timeout
        self.cut = False  # TLS: the end came without close_notify
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name, suppress_ragged_eofs=False)
        self.buffer = b""
        self.eof = False

    @classmethod
    def around(cls, sock, timeout=10.0):
        """A connection that was made elsewhere."""
        self = cls.__new__(cls)
        self.sock, self.timeout, self.buffer, self.eof, self.cut = sock, timeout, b"", False, False
        return self

    def send(self, data):
        self.sock.sendall(data)

    def read_some(self, deadline):
        """The next bytes of the socket, b"" at its end. AssertionError once the deadline has passed."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise AssertionError("nothing came within %.1f s" % self.timeout)
        self.sock.settimeout(left)
        try:
            chunk = self.sock.recv(65536)
        except socket.timeout:
            raise AssertionError("nothing came in time") from None
        except (ConnectionResetError, ssl.SSLError) as e:
            if isinstance(e, ssl.SSLError) and "EOF" not in str(e):
                raise
            chunk = b""
            self.cut = True
        if not chunk:
            self.eof = True
        return chunk

    def read_head(self, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while b"\r\n\r\n" not in self.buffer:
            chunk = self.read_some(deadline)
            if not chunk:
                raise AssertionError("connection ended inside the head: %r" % self.buffer)
            self.buffer += chunk
        raw, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return Head(raw)

    def read_body(self, head, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        if head.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunked(deadline)
        if head.status in (204, 304):
            return b""
        length = head.get("content-length")
        while not self.eof and (length is None or len(self.buffer) < int(length)):
            self.buffer += self.read_some(deadline)
        if length is None:
            body, self.buffer = self.buffer, b""
        else:
            body, self.buffer = self.buffer[: int(length)], self.buffer[int(length) :]
            assert len(body) == int(length), "body cut short"
        return body

    def _read_chunked(self, deadline):
        body = b""
        while True:
            size = int(self._take_until(b"\r\n", deadline).split(b";")[0], 16)
            while len(self.buffer) < size + 2:
                chunk = self.read_some(deadline)
                assert chunk, "chunked body cut short"
                self.buffer += chunk
            body += self.buffer[:size]
            self.buffer = self.buffer[size + 2 :]
            if size == 0:
                return body

    def _take_until(self, mark, deadline):
        while mark not in self.buffer:
            chunk = self.read_some(deadline)
            assert chunk, "connection ended early"
            self.buffer += chunk
        line, self.buffer = self.buffer.split(mark, 1)
        return line

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends the connection by RST, as a client that died."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request_bytes(method, target, headers, version="1.1", body=b""):
    lines = ["%s %s HTTP/%s" % (method, target, version)]
    names = {n.lower() for n, _ in headers}
    if version == "1.1" and "host" not in names:
        lines.append("Host: localhost")
    if body and "content-length" not in names:
        lines.append("Content-Length: %d" % len(body))
    lines += ["%s: %s" % pair for pair in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def as_pairs(headers):
    return list(headers.items()) if isinstance(headers, dict) else list(headers or [])


class Answer:
    def __init__(self, head, body):
        self.head = head
        self.status = head.status
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8")


def fetch(address, method="GET", target="/", headers=None, body=b"", version="1.1", timeout=10.0, tls=None, server_name="localhost"):
    """One request on a connection of its own."""
    with Connection(address, timeout, tls=tls, server_name=server_name) as c:
        c.send(request_bytes(method, target, [("Connection", "close")] + as_pairs(headers), version, body))
        head = c.read_head()
        return Answer(head, b"" if method == "HEAD" else c.read_body(head))


class EventStream:
    """A client of one stream. `head` is the answer's; events come by next() and those not yet asked for wait in order."""

    def __init__(
        self, address, target="/events", headers=None, version="1.1", timeout=10.0, source=None, rcvbuf=None, connection=None, **tls
    ):
        """connection: one on which something was asked before; else one of its own is made, `tls` as Connection takes it."""
        self.timeout = timeout
        self.connection = connection or Connection(address, timeout, source, rcvbuf, **tls)
        self.parser = EventParser()
        self._chunks = []
        self._taken = 0
        pairs = [("Accept", "text/event-stream")] + as_pairs(headers)
        if target:
            self.connection.send(request_bytes("GET", target, pairs, version))
        self.head = self.connection.read_head()
        self.status = self.head.status
        self._feed(self.connection.buffer)
        self.connection.buffer = b""

    @classmethod
    def on(cls, connection):
        """A stream that has been asked for on the connection."""
        return cls(None, None, connection=connection)

    def _feed(self, chunk):
        self._chunks.append(chunk)
        self.parser.feed(chunk)

    @property
    def raw(self):
        """All bytes of the stream so far."""
        self._chunks = [b"".join(self._chunks)]
        return self._chunks[0]

    @property
    def last_id(self):
        return self.parser.last_id

    @property
    def retry(self):
        return self.parser.retry

    @property
    def comments(self):
        return self.parser.comments

    def _more(self, deadline):
        if self.connection.eof:
            return False
        chunk = self.connection.read_some(deadline)
        self._feed(chunk)
        return bool(chunk)

    def next(self, timeout=None):
        """The next event, whatever it is; fails at the stream's end or after the time limit."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while self._taken >= len(self.parser.events):
            if not self._more(deadline):
                raise AssertionError("the stream ended; bytes so far: %r" % self.raw[-2000:])
        self._taken += 1
        return self.parser.events[self._taken - 1]

    def opened(self):
        """Takes stream-open, which must be the next event."""
        event = self.next()
        assert event.type == "stream-open", event
        return event

    def expect(self, event_type, data=None, timeout=None):
        """The next event must be this one."""
        event = self.next(timeout)
        assert event.type == event_type, (event, self.raw[-500:])
        assert data is None or event.data == data, (event, data)
        return event

    def wait_comment(self, count=1, timeout=None):
        deadline = time.monotonic() + (timeout or self.timeout)
        while len(self.parser.comments) < count:
            assert self._more(deadline), "the stream ended"

    def rest(self, timeout=None):
        """Reads to the end of the stream and returns the events not taken yet."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while self._more(deadline):
            pass
        left = self.parser.events[self._taken :]
        self._taken = len(self.parser.events)
        return left

    def silent_until(self, event_type, timeout=None):
        """Takes events up to one of that type, which is how a test sees that nothing else came before it."""
        event = self.next(timeout)
        assert event.type == event_type, "unexpected %r" % (event,)
        return event

    def close(self):
        self.connection.close()

    def reset(self):
        self.connection.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
