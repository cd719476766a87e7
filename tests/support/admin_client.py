# SPDX-License-Identifier: Apache-2.0
"""Clients of the admin routes: over HTTP with a key, and over the UNIX socket with pipelining."""

import json
import socket

from event_stream import Answer, Connection, as_pairs, request_bytes


class AdminAnswer(Answer):
    @property
    def json(self):
        return json.loads(self.body)


class AdminError(AssertionError):
    pass


class Admin:
    """The admin handler of one location. One connection is kept, as a publisher keeps one."""

    def __init__(self, address, key, base="/sse-admin", host="localhost"):
        self.address = address
        self.key = key
        self.base = base
        self.host = host
        self._connection = None

    def request(self, method, path, body=None, headers=None, key=True, timeout=10.0):
        """body: bytes as they are, anything else as JSON. key: True for ours, None for none, or another one."""
        pairs = as_pairs(headers)
        names = {n.lower() for n, _ in pairs}
        if "host" not in names:
            pairs.append(("Host", self.host))
        if key is not None and "authorization" not in names:
            pairs.append(("Authorization", "Bearer %s" % (self.key if key is True else key)))
        raw = b""
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
            if "content-type" not in names:
                pairs.append(("Content-Type", "application/json"))
        message = request_bytes(method, self.base + path, pairs, body=raw)
        for attempt in (1, 2):
            fresh = self._connection is None
            if fresh:
                self._connection = Connection(self.address, timeout)
            try:
                self._connection.send(message)
                head = self._connection.read_head(timeout)
                break
            except (AssertionError, OSError):
                # A kept connection that httpd closed in the meantime says nothing about the request.
                closed = self._connection.eof
                self.close()
                if fresh or not closed or attempt == 2:
                    raise
        answer = AdminAnswer(head, b"" if method == "HEAD" else self._connection.read_body(head, timeout))
        if head.get("connection", "").lower() == "close" or self._connection.eof:
            self.close()
        return answer

    def call(self, method, path, body=None, **more):
        """The JSON of a 2xx answer."""
        answer = self.request(method, path, body, **more)
        if answer.status // 100 != 2:
            raise AdminError("%s %s: %d %r" % (method, path, answer.status, answer.body))
        return answer.json if answer.body else None

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body, **more):
        return self.call("POST", path, body, **more)

    def publish(self, event, data, **members):
        return self.post("/publish", dict(members, event=event, data=data))["id"]

    def broadcast(self, event, data, **members):
        return self.post("/broadcast", dict(members, event=event, data=data))["id"]

    def subscribe(self, events, **owner):
        return self.post("/subscribe", dict(owner, events=events))["events"]

    def unsubscribe(self, events, **owner):
        return self.post("/unsubscribe", dict(owner, events=events))["events"]

    def close(self):
        if self._connection:
            self._connection.close()
            self._connection = None


class AdminSocket:
    """The admin socket: one JSON object a line each way."""

    def __init__(self, path, timeout=10.0):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self._in = self.sock.makefile("rb")

    def send(self, method, path, body=None, **more):
        line = dict(more, method=method, path=path)
        if body is not None:
            line["body"] = body
        self.send_bytes(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def send_bytes(self, data):
        self.sock.sendall(data)

    def receive(self):
        line = self._in.readline()
        assert line.endswith(b"\n"), "the admin socket ended: %r" % line
        return json.loads(line)

    def call(self, method, path, body=None, **more):
        self.send(method, path, body, **more)
        return self.receive()

    def close(self):
        self._in.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
