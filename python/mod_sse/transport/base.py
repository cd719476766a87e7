# SPDX-License-Identifier: Apache-2.0
"""What all transports share: encoding, deadlines, retries, and from an answer's status to an exception.

A subclass only sends one request and reads one answer. Every request that reaches the hub may be repeated: publishes carry
an idempotency key, the others say what shall be, not what to change by how much. So a lost connection, a time-out or a 503
is tried again until ``SSE_TIMEOUT`` is over.
"""

import json
import logging
import random
import re
import socket
import ssl
import time
from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, urlencode

from django.utils.module_loading import import_string

from ..conf import sse_settings
from ..exceptions import AccessDenied, InvalidData, KeyConflict, MessageTooLarge, NotThere, RequestRefused, SSEError, Unavailable

logger = logging.getLogger("mod_sse")

PAUSE_FIRST = 0.05
PAUSE_MAX = 1.0
_PLAIN_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.~-]+")


BATCH_BYTES_MAX = 16 * 1024 * 1024
Query = Optional[Mapping[str, Any]]


class Answer(NamedTuple):
    status: int
    headers: Dict[str, str]
    body: Any


class Lost(Exception):
    """The connection failed or timed out: worth another try."""


HINTS = (
    (FileNotFoundError, "there is no such socket: is httpd with mod_sse running, and does its SSEAdminSocket name this path?"),
    (ConnectionRefusedError, "nobody listens there: is httpd running?"),
    (socket.gaierror, "is the host in SSE_ADMIN_URL right?"),
    (ssl.SSLError, "does this port speak TLS?"),
)


def lost(err: BaseException) -> Lost:
    """In words that say what to look at."""
    words = f"{type(err).__name__}: {err}" if str(err) else type(err).__name__
    hint = next((hint for kind, hint in HINTS if isinstance(err, kind)), "")
    return Lost(f"{words}; {hint}" if hint else words)


def encode(body: Any) -> bytes:
    """JSON as the server takes it: UTF-8, no NaN, Django's own types. InvalidData says what could not be written."""
    encoder = import_string(sse_settings.JSON_ENCODER)
    try:
        text = json.dumps(body, cls=encoder, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as err:
        place = "" if isinstance(err, RecursionError) else unwritable(body, lambda part: json.dumps(part, cls=encoder, allow_nan=False))
        raise InvalidData(f"the data cannot be written as JSON: {err}{f' (at data{place})' if place else ''}") from err
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # Lone surrogates exist in Python strings but not in UTF-8; as \uXXXX escapes they would be refused by the server.
        raise InvalidData("the data holds a lone surrogate, which is not valid Unicode") from None


def unwritable(body: Any, write: Callable[[Any], Any], depth: int = 0) -> str:
    """Where in the data what cannot be written is, as ``["rows"][3]``."""
    parts = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, (list, tuple)) else ()
    for name, part in parts if depth < 20 else ():
        try:
            write(part)
        except (TypeError, ValueError, RecursionError):
            return f"[{name!r}]" + unwritable(part, write, depth + 1)
    return ""


_brackets = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def too_deep(text: bytes, most: int) -> Optional[int]:
    """The byte at which brackets nest deeper than ``most``; None if nowhere."""
    if text.count(b"[") + text.count(b"{") <= most:
        return None
    depth = 0
    for found in _brackets.finditer(text):
        token = found.group()
        if token in (b"[", b"{"):
            depth += 1
            if depth > most:
                return found.start()
        elif token in (b"]", b"}"):
            depth -= 1
    return None


def target(path: str, query: Query) -> str:
    """``/groups`` + ``{"name": "a/b"}`` → ``/groups?name=a%2Fb``; a plain name becomes a path segment."""
    asked = {k: v for k, v in (query or {}).items() if v is not None}
    name = asked.get("name")
    if name is not None and _PLAIN_NAME.fullmatch(str(name)):
        path += "/" + quote(str(asked.pop("name")), safe="")
    if asked:
        path += "?" + urlencode(asked, doseq=True, quote_via=quote)
    return path


def presence_change(text: Union[str, bytes]) -> Optional[Tuple[str, bool]]:
    """``{"user": "7", "online": true}`` → ("7", True); None for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or "user" not in found or not isinstance(found.get("online"), bool):
        return None
    return str(found["user"]), found["online"]


class Transport:
    """One way to the hub. Subclasses implement ``exchange``, ``close`` and ``describe``."""

    def describe(self) -> str:
        raise NotImplementedError

    def exchange(self, method: str, target: str, body: Optional[bytes], timeout: float) -> Answer:
        """Sends one request and reads its answer. Raises Lost for what may pass, SSEError for what will not."""
        raise NotImplementedError

    def feed(self, idle: float) -> Iterator[Optional[Tuple[str, bool]]]:
        """Who comes and goes, as (user id, online); None first, when the feed is open, and whenever it shows that it lives.

        Ends with Lost when it breaks (over HTTP also when it is silent for ``idle`` seconds).
        """
        raise NotThere(f"{self.describe()} has no presence feed", 404)

    def close(self) -> None:
        """Closes the calling thread's connection."""

    def call(self, method: str, path: str, body: Any = None, *, query: Query = None, timeout: Optional[float] = None) -> Answer:
        """``body``: what shall be written as JSON, or bytes that are JSON already."""
        payload = body if body is None or isinstance(body, bytes) else encode(body)
        if payload is not None and len(payload) > BATCH_BYTES_MAX:
            raise MessageTooLarge(f"{method} {path}: {len(payload)} bytes are more than one request takes, {BATCH_BYTES_MAX} (16 MiB)", 413)
        where = target(path, query)
        limit = float(sse_settings.TIMEOUT if timeout is None else timeout)
        deadline = time.monotonic() + limit
        pause = PAUSE_FIRST
        while True:
            wait = pause * random.uniform(0.5, 1.5)
            try:
                answer = self.exchange(method, where, payload, max(deadline - time.monotonic(), 0.001))
            except Lost as err:
                trouble = str(err)
            else:
                if answer.status < 300 and isinstance(answer.body, dict):
                    return answer
                if answer.status not in (502, 503, 504):
                    raise self.refusal(method, path, answer)
                trouble = f"{answer.status} {self.title(answer)}".strip()
                wait = max(wait, self.retry_after(answer))
            if time.monotonic() + wait >= deadline:
                raise Unavailable(f"{method} {path} at {self.describe()}: no answer within {limit:g} s ({trouble})")
            logger.debug("%s %s: %s, trying again", method, path, trouble)
            time.sleep(wait)
            pause = min(pause * 2, PAUSE_MAX)

    @staticmethod
    def retry_after(answer: Answer) -> float:
        try:
            return min(float(answer.headers.get("retry-after", 0)), PAUSE_MAX)
        except ValueError:
            return 0.0

    @staticmethod
    def title(answer: Answer) -> str:
        if not isinstance(answer.body, dict):
            return ""
        text = str(answer.body.get("detail") or answer.body.get("title") or "")
        errors = answer.body.get("errors")
        return f"{text} {json.dumps(errors, ensure_ascii=False)}".strip() if errors else text

    def refusal(self, method: str, path: str, answer: Answer) -> SSEError:
        problem = answer.body if isinstance(answer.body, dict) else {}
        what = f"{method} {path} at {self.describe()}: {answer.status} {self.title(answer)}".rstrip()
        kind = {401: AccessDenied, 403: AccessDenied, 404: NotThere, 405: NotThere, 409: KeyConflict, 413: MessageTooLarge}.get(
            answer.status, RequestRefused
        )
        if kind is AccessDenied:
            what += " (is SSE_ADMIN_KEY or SSE_ADMIN_KEY_FILE the key of SSEAdminKeyFile?)"
        elif kind is NotThere and isinstance(answer.body, dict):
            what += " (is SSE_ADMIN_URL the location with SetHandler sse-admin, without anything behind it?)"
        elif not isinstance(answer.body, dict):
            kind = NotThere
            what += " (the answer is not mod_sse's: does SSE_ADMIN_URL name the location with SetHandler sse-admin?)"
        return kind(what, answer.status, problem)
