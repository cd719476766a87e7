# SPDX-License-Identifier: Apache-2.0
"""The admin socket: one JSON object a line, answered in order. No httpd worker takes part and no key is needed.

One connection for each thread of each process. File permissions decide who may connect.
"""

import json
import os
import select
import socket
import threading
from typing import Iterator, Optional, Tuple

from ..conf import sse_settings
from ..exceptions import AccessDenied
from .base import Answer, Lost, Transport, lost, presence_change

CHUNK = 65536
FEED_ANSWER_SECONDS = 5.0


class Connection:
    def __init__(self, path: str, timeout: float) -> None:
        self.pid = os.getpid()
        self.rest = b""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        except BaseException:
            self.sock.close()
            raise

    def usable(self) -> bool:
        return self.pid == os.getpid() and not self.rest and not select.select([self.sock], [], [], 0)[0]

    def read_line(self) -> bytes:
        parts = [self.rest]
        while b"\n" not in parts[-1]:
            chunk = self.sock.recv(CHUNK)
            if not chunk:
                raise ConnectionResetError("closed by the hub")
            parts.append(chunk)
        line, _, self.rest = b"".join(parts).partition(b"\n")
        return line

    def close(self) -> None:
        self.sock.close()


def read_answer(connection: Connection) -> Answer:
    """ValueError if the line is no answer."""
    found = json.loads(connection.read_line())
    if not isinstance(found, dict) or not isinstance(found.get("status"), int):
        raise ValueError("an answer without a status")
    headers = {str(k).lower(): str(v) for k, v in (found.get("headers") or {}).items()}
    body = found.get("body")
    return Answer(found["status"], headers, {} if body is None else body)


class SocketTransport(Transport):
    def __init__(self, path: str) -> None:
        self.path = path
        self.local = threading.local()

    def describe(self) -> str:
        return f"unix://{self.path}"

    def open(self, timeout: float) -> Connection:
        try:
            return Connection(self.path, timeout)
        except PermissionError as err:
            who = f"user {os.geteuid()}"
            raise AccessDenied(f"{self.describe()}: {who} may not open it; see SSEAdminSocket's mode and group ({err.strerror})") from err

    def head(self, method: str, target: str) -> bytes:
        return json.dumps({"realm": str(sse_settings.REALM), "method": method, "path": target}, ensure_ascii=False).encode("utf-8")

    def exchange(self, method: str, target: str, body: Optional[bytes], timeout: float) -> Answer:
        line = self.head(method, target)
        if body is not None:
            # In JSON a line break can only stand between tokens; here it would end the request.
            line = line[:-1] + b',"body":' + body.replace(b"\r", b" ").replace(b"\n", b" ") + b"}"
        connection = getattr(self.local, "connection", None)
        self.local.connection = None
        try:
            if connection is not None and not connection.usable():
                connection.close()
                connection = None
            if connection is None:
                connection = self.open(timeout)
            connection.sock.settimeout(timeout)
            connection.sock.sendall(line + b"\n")
            answer = read_answer(connection)
        except (OSError, ValueError) as err:
            if connection is not None:
                connection.close()
            raise lost(err) from err
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        self.local.connection = connection
        return answer

    def feed(self, idle: float) -> Iterator[Optional[Tuple[str, bool]]]:
        """On a connection of its own: after the answer one line for each change. A hub that dies closes the socket."""
        try:
            connection = self.open(FEED_ANSWER_SECONDS)
        except OSError as err:
            raise lost(err) from err
        try:
            connection.sock.sendall(self.head("GET", "/presence/feed") + b"\n")
            answer = read_answer(connection)
            if answer.status in (502, 503, 504):
                raise Lost(f"{answer.status} {self.title(answer)}")
            if answer.status != 200:
                raise self.refusal("GET", "/presence/feed", answer)
            connection.sock.settimeout(None)
            yield None
            while True:
                yield presence_change(connection.read_line())
        except (OSError, ValueError) as err:
            raise lost(err) from err
        finally:
            connection.close()

    def close(self) -> None:
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
            self.local.connection = None
