# SPDX-License-Identifier: Apache-2.0
"""The hub's rules for a publish (its ``route_publish.c``), for the ways that lead past it: ``SSE_BROKER`` and the stand-in.

The same body is accepted, or refused with the same status, words and ``errors``, whichever way it goes.
"""

import json
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from ..names import GROUP_BYTES_MAX, USER_BYTES_MAX, event_problem, name_problem
from .base import BATCH_BYTES_MAX, Answer, too_deep

BATCH_ITEMS_MAX = 10_000
ADDRESSEES_MAX = 10_000
DEPTH_MAX = 64
KEY_BYTES_MAX = 255
TTL_MAX = 366 * 86400
ERRORS_MAX = 100
MEMBERS = ("event", "data", "key", "ttl", "raw", "replace", "users", "groups")
TITLES = {400: "Bad Request", 409: "Conflict", 413: "Content Too Large", 503: "Service Unavailable"}

_between = re.compile(r"[\s,:]*")


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _whole(text: str) -> Any:
    """A number of seconds or, for what is no such number anyway, nothing that could be one."""
    return int(text) if len(text) < 20 else float("inf")


_decoder = json.JSONDecoder(parse_int=_whole, parse_constant=_no_json)


class Item(NamedTuple):
    """One message as the broker takes it: ``data`` is the text to send, ``channels`` are ``kind:name``."""

    event: str
    data: str
    raw: bool
    ttl: int
    key: str
    replace: str
    channels: List[str]


class Refused(Exception):
    """What is wrong with one member."""

    def __init__(self, member: Optional[str], detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.member, self.detail, self.status = member, detail, status


def problem(status: int, detail: str, errors: Optional[List[Dict[str, Any]]] = None) -> Answer:
    """An RFC 9457 answer."""
    body: Dict[str, Any] = {"type": "about:blank", "title": TITLES[status], "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return Answer(status, {}, body)


def key_conflict(index: Optional[int]) -> Answer:
    """``index``: which of several."""
    where: Dict[str, Any] = {} if index is None else {"index": index}
    errors = [dict(where, member="key", detail="the key was used before with another content")]
    return problem(409, "a key was used before with another content", errors)


# ---- the text ----


def parts(text: str, start: int) -> Iterator[Tuple[Optional[str], Any, str]]:
    """The members of the object, or the elements of the array, at ``start``: name (None in an array), value, and the value's text."""
    decode = _decoder.raw_decode
    named = text[start] == "{"
    at = _between.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[at] not in "]}":
        name = None
        if named:
            name, at = decode(text, at)
            at = _between.match(text, at).end()  # type: ignore[union-attr]
        value, end = decode(text, at)
        yield name, value, text[at:end]
        at = _between.match(text, end).end()  # type: ignore[union-attr]


def read(payload: bytes, everyone: bool, size_max: int) -> Tuple[bool, Union[List[Item], Answer]]:
    """Is it a single message, and the messages of a body, or the answer that refuses it."""
    if len(payload) > BATCH_BYTES_MAX:
        return False, problem(413, "the body is larger than 16 MiB")
    deep = too_deep(payload, DEPTH_MAX)
    if deep is not None:
        return False, problem(400, f"the body is not JSON: nested too deeply at byte {deep}")
    try:
        text = payload.decode("utf-8")
        _decoder.decode(text)
    except ValueError as err:
        return False, problem(400, f"the body is not JSON: {err}")
    start = _between.match(text).end()  # type: ignore[union-attr]
    single = text[start] != "["
    texts = [text[start:]] if single else [source for _, _, source in parts(text, start)]
    if len(texts) > BATCH_ITEMS_MAX:
        return single, problem(413, f"a batch has at most {BATCH_ITEMS_MAX} messages")
    items: List[Item] = []
    errors: List[Dict[str, Any]] = []
    large = False
    for index, source in enumerate(texts):
        try:
            items.append(read_item(source, everyone, size_max))
        except Refused as err:
            large = large or err.status == 413
            where: Dict[str, Any] = {} if single else {"index": index}
            if err.member is not None:
                where["member"] = err.member
            errors.append(dict(where, detail=err.detail))
    if len(errors) == 1 and large:
        return single, problem(413, "the message is too large; nothing was published", errors)
    if errors:
        return single, problem(400, "the request is invalid; nothing was published", errors[:ERRORS_MAX])
    return single, items


# ---- one message ----


def read_item(text: str, everyone: bool, size_max: int) -> Item:
    """Refused says what is wrong first, in the hub's order."""
    if not text.startswith("{"):
        raise Refused(None, "a message must be a JSON object")
    found: Dict[str, Any] = {}
    sources: Dict[str, str] = {}
    for name, value, source in parts(text, 0):
        found[str(name)], sources[str(name)] = value, source
    allowed = MEMBERS[:-2] if everyone else MEMBERS
    for name in found:
        if name not in allowed:
            raise Refused(name, f"is not a member of a message; allowed: {', '.join(allowed)}")
    event, ttl = read_event(found), read_ttl(found)
    raw, data = read_data(found, sources, size_max)
    key, replace = read_text(found, "key"), read_text(found, "replace")
    return Item(event, data, raw, ttl, key, replace, ["b:"] if everyone else read_channels(found, sources))


def read_event(found: Dict[str, Any]) -> str:
    if "event" not in found:
        raise Refused("event", "event is missing")
    event = found["event"]
    if not isinstance(event, str):
        raise Refused("event", "event must be a string")
    what = event_problem(event)
    if what:
        raise Refused("event", f"the event's name {what}")
    return event


def read_ttl(found: Dict[str, Any]) -> int:
    ttl = found.get("ttl")
    if ttl is None:
        return 0
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= TTL_MAX:
        raise Refused("ttl", f"ttl must be a whole number of seconds from 1 to {TTL_MAX}")
    return ttl


def read_data(found: Dict[str, Any], sources: Dict[str, str], size_max: int) -> Tuple[bool, str]:
    if "data" not in found:
        raise Refused("data", "data is missing")
    raw = found.get("raw", False)
    if not isinstance(raw, bool):
        raise Refused("raw", "raw must be true or false")
    if raw and not isinstance(found["data"], str):
        raise Refused("data", "data must be a string where raw is true")
    data = str(found["data"]) if raw else sources["data"]
    if len(data.encode("utf-8")) > size_max:
        raise Refused("data", f"data is larger than SSEMaxMessageSize, {size_max} bytes", 413)
    return raw, data


def read_text(found: Dict[str, Any], member: str) -> str:
    value = found.get(member)
    if value is None:
        return ""
    if not isinstance(value, str) or not 1 <= len(value.encode("utf-8")) <= KEY_BYTES_MAX:
        raise Refused(member, f"{member} must be a string of 1 to {KEY_BYTES_MAX} bytes")
    return value


def read_channels(found: Dict[str, Any], sources: Dict[str, str]) -> List[str]:
    if "users" not in found and "groups" not in found:
        return [f"e:{found['event']}"]
    channels: List[str] = []
    for member, kind, most in (("users", "u", USER_BYTES_MAX), ("groups", "g", GROUP_BYTES_MAX)):
        if member in found:
            channels += addressees(found[member], sources[member], member, kind, most, ADDRESSEES_MAX - len(channels))
    return sorted(set(channels), key=lambda channel: channel.encode("utf-8"))


def addressees(given: Any, source: str, member: str, kind: str, most: int, room: int) -> List[str]:
    if not isinstance(given, list):
        raise Refused(member, f"{member} must be an array")
    if len(given) > room:
        raise Refused(member, f"{member}: more than {ADDRESSEES_MAX} addressees in one message")
    names = []
    for index, (_, value, text) in enumerate(parts(source, 0)):
        where = f"{member}[{index}]"
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Refused(where, f"{where} must be a string (or a number, taken as its text)")
        name = value if isinstance(value, str) else text
        what = name_problem(name, most)
        if what:
            raise Refused(where, f"the name {what}")
        names.append(f"{kind}:{name}")
    return names
