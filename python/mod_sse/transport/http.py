# SPDX-License-Identifier: Apache-2.0
"""The admin handler over HTTP/1.1 with keep-alive, one connection for each thread of each process.

On one host prefer the admin socket: a view that publishes through httpd holds one httpd worker (its own) while it waits for
another, so a server whose workers are all busy with such views would wait for itself until ``SSE_TIMEOUT``.
"""

import base64
import http.client
import json
import os
import select
import socket
import ssl
import threading
from typing import Dict, Iterator, List, Optional, Tuple
from urllib.parse import SplitResult, unquote

from django.core.exceptions import ImproperlyConfigured

from .._version import __version__
from ..conf import sse_settings
from ..exceptions import NotThere
from .base import Answer, Lost, Transport, lost, presence_change

CONNECT_TIMEOUT = 2.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024


class HTTPTransport(Transport):
    def __init__(self, url: SplitResult, port: Optional[int]) -> None:
        self.host = url.hostname or ""
        self.port = port
        self.secure = url.scheme == "https"
        self.prefix = url.path.rstrip("/")
        self.user = unquote(url.username) if url.username else None
        self.password = unquote(url.password or "")
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.where = f"{url.scheme}://{shown}{f':{port}' if port else ''}{self.prefix}/"
        self.local = threading.local()

    def describe(self) -> str:
        return self.where

    def headers(self) -> Dict[str, str]:
        found = {"Accept": "application/json", "User-Agent": f"django-mod-sse/{__version__}"}
        key = sse_settings.key()
        if self.user is not None:
            # httpd's own Basic authentication takes Authorization, so that the key goes beside it.
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
            found["Authorization"] = f"Basic {pair}"
            if key:
                found["X-SSE-Key"] = key
        elif key:
            found["Authorization"] = f"Bearer {key}"
        return found

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        timeout = min(timeout, CONNECT_TIMEOUT)
        if not self.secure:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            context = ssl.create_default_context(cafile=sse_settings.ADMIN_CA_FILE)
        except (OSError, ssl.SSLError) as err:
            raise ImproperlyConfigured(f"SSE_ADMIN_CA_FILE {sse_settings.ADMIN_CA_FILE!r} cannot be read: {err}") from err
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)

    def borrow(self, timeout: float) -> Tuple[http.client.HTTPConnection, bool]:
        """The thread's connection if the server has not closed it meanwhile, else a new one; True if it is an old one."""
        kept = getattr(self.local, "connection", None)
        self.local.connection = None
        if kept is not None:
            if self.local.pid == os.getpid() and kept.sock is not None and not select.select([kept.sock], [], [], 0)[0]:
                return kept, True
            kept.close()
        return self.connect(timeout), False

    def exchange(self, method: str, target: str, body: Optional[bytes], timeout: float) -> Answer:
        headers = self.headers()
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection, old = self.borrow(timeout)
        try:
            if not old:
                connection.connect()
            connection.sock.settimeout(timeout)
            connection.request(method, self.prefix + target, body=body, headers=headers)
            response = connection.getresponse()
            text = response.read(ANSWER_BYTES_MAX)
        except ssl.SSLCertVerificationError as err:
            connection.close()
            raise NotThere(f"{self.where}: its certificate is not trusted ({err.verify_message}); see SSE_ADMIN_CA_FILE") from err
        except (OSError, http.client.HTTPException) as err:
            connection.close()
            raise lost(err) from err
        if response.will_close:
            connection.close()
        else:
            self.local.connection, self.local.pid = connection, os.getpid()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, self.decode(response, text))

    @staticmethod
    def decode(response: http.client.HTTPResponse, text: bytes) -> object:
        if not text:
            return {}
        if "json" not in (response.getheader("Content-Type") or ""):
            return text.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text.decode("utf-8", "replace")

    def close(self) -> None:
        kept = getattr(self.local, "connection", None)
        if kept is not None:
            kept.close()
            self.local.connection = None

    def feed(self, idle: float) -> Iterator[Optional[Tuple[str, bool]]]:
        data: List[str] = []
        for line in self.lines("/presence/feed", idle):
            if line.startswith("data:"):
                data.append(line[6:] if line.startswith("data: ") else line[5:])
            elif line or not data:
                yield None
            else:
                yield presence_change("\n".join(data))
                data = []

    def lines(self, target: str, idle: float) -> Iterator[str]:
        """The lines of an event stream, which carries a comment line at least every SSEHeartbeat seconds."""
        headers = dict(self.headers(), Accept="text/event-stream")
        connection = self.connect(CONNECT_TIMEOUT)
        try:
            connection.connect()
            connection.sock.settimeout(idle)
            connection.request("GET", self.prefix + target, headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                answer = Answer(response.status, {}, self.decode(response, response.read(65536)))
                if response.status in (502, 503, 504):
                    raise Lost(f"{response.status} {self.title(answer)}")
                raise self.refusal("GET", target, answer)
            for line in response:
                yield line.decode("utf-8", "replace").rstrip("\r\n")
            raise Lost("ended by the server")
        except (OSError, socket.timeout, http.client.HTTPException) as err:
            raise lost(err) from err
        finally:
            connection.close()
