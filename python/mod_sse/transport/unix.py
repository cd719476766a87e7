# SPDX-License-Identifier: Apache-2.0
"""The admin socket: one JSON object a line, answered in order. No httpd worker takes part and no key is needed.

One connection for each thread of each process. File permissions decide who may connect.
"""

import json
import os
import select
import socket
import threading
from typing import Optional

from ..conf import sse_settings
from ..exceptions import AccessDenied
from .base import Answer, Lost, Transport

CHUNK = 65536


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

    def exchange(self, method: str, target: str, body: Optional[bytes], timeout: float) -> Answer:
        head = json.dumps({"realm": str(sse_settings.REALM), "method": method, "path": target}, ensure_ascii=False)
        line = head.encode("utf-8")
        if body is not None:
            line = line[:-1] + b',"body":' + body + b"}"
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
            answer = json.loads(connection.read_line())
            if not isinstance(answer, dict) or not isinstance(answer.get("status"), int):
                raise ValueError("an answer without a status")
        except (OSError, ValueError) as err:
            if connection is not None:
                connection.close()
            raise Lost(f"{type(err).__name__}: {err}" if str(err) else type(err).__name__) from err
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        self.local.connection = connection
        headers = {str(k).lower(): str(v) for k, v in (answer.get("headers") or {}).items()}
        body_in = answer.get("body")
        return Answer(answer["status"], headers, {} if body_in is None else body_in)

    def close(self) -> None:
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            connection.close()
            self.local.connection = None
