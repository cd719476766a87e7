# SPDX-License-Identifier: Apache-2.0
"""The stand-in's hub: streams, subscriptions, groups, a short history and presence, in this process's memory.

It keeps the contract of the streams (names, ids, resume, stream-reset, stream-end) as far as one page of code can; limits,
durability and more than one process are httpd's. Any thread may call it; one lock guards everything.
"""

import json
import math
import queue
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple, Union

from ..transport.rules import Item

HISTORY = 1000
PAGE = 1000
RETRY_MS = 1000

Owner = Tuple[str, str]


class Kept(NamedTuple):
    number: int
    text: str
    item: Item
    expires: float


def addressees(item: Item) -> Tuple[str, ...]:
    return tuple(item.channels)


class Stream:
    """One open page. ``frames`` gives the texts to send; None ends it."""

    def __init__(self, user: str, groups: Iterable[str], session: str, names: Iterable[str]) -> None:
        self.user = user
        self.groups = set(groups)
        self.session = session
        self.names = set(names)
        self.since = int(time.time())
        self.frames: "queue.Queue[Optional[str]]" = queue.Queue()


def frame(event: str, data: str, identity: str) -> str:
    """One block of an event stream. No line break of ``data`` can begin a field."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd").split("\n")
    return f"id: {identity}\nevent: {event}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


class DevHub:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.began = time.time()
        self.instance = f"{int(self.began):x}"
        self.number = 0
        self.history: Deque[Kept] = deque(maxlen=HISTORY)
        # (key, addressees) → id and content
        self.keys: Dict[Tuple[str, Tuple[str, ...]], Tuple[str, Item]] = {}
        # owner → event → sessions it is tied to; "" stands for "until removed"
        self.subscriptions: Dict[Owner, Dict[str, Set[str]]] = {}
        self.members: Dict[str, Set[str]] = {}
        self.streams: Set[Stream] = set()
        self.noticed = False
        self.on_presence: Optional[Callable[[str, bool], None]] = None

    # ---- streams -----------------------------------------------------------------------------------------------------

    def identity(self, number: int) -> str:
        return f"{self.instance}-{number}"

    def open(self, stream: Stream, last_id: str = "") -> Stream:
        with self.lock:
            came = bool(stream.user) and not self.is_online(stream.user)
            position, resumed, reset = self.number, False, ""
            if last_id:
                instance, _, number = last_id.partition("-")
                if instance != self.instance or not number.isdecimal() or int(number) > self.number:
                    reset = "unknown-id"
                elif self.history and int(number) < self.history[0].number - 1:
                    reset = "expired"
                else:
                    position, resumed = int(number), True
            text = f"retry: {RETRY_MS}\n\n" + frame("stream-open", json.dumps({"resumed": resumed}), self.identity(position))
            if reset:
                text += frame("stream-reset", json.dumps({"reason": reset, "events": None}), self.identity(position))
            stream.frames.put(text)
            now = time.time()
            for kept in self.history:
                if kept.number > position and kept.expires > now and self.carries(stream, kept.item):
                    stream.frames.put(kept.text)
            self.streams.add(stream)
        if came:
            self.tell(stream.user, True)
        return stream

    def first_stream(self) -> bool:
        """True once."""
        with self.lock:
            first, self.noticed = not self.noticed, True
            return first

    def close(self, stream: Stream) -> None:
        with self.lock:
            if stream not in self.streams:
                return
            self.streams.discard(stream)
            gone = bool(stream.user) and not self.is_online(stream.user)
        if gone:
            self.tell(stream.user, False)

    def end(self, which: Callable[[Stream], bool], reason: str) -> int:
        with self.lock:
            found = [stream for stream in self.streams if which(stream)]
            for stream in found:
                stream.frames.put(frame("stream-end", json.dumps({"reason": reason}), self.identity(self.number)))
                stream.frames.put(None)
        for stream in found:
            self.close(stream)
        return len(found)

    def tell(self, user: str, online: bool) -> None:
        if self.on_presence is not None:
            self.on_presence(user, online)

    def is_online(self, user: str) -> bool:
        return any(stream.user == user for stream in self.streams)

    def carries(self, stream: Stream, item: Item) -> bool:
        for channel in item.channels:
            kind, _, name = channel.partition(":")
            if kind == "b" or kind == "u" and name == stream.user or kind == "g" and name in stream.groups:
                return True
            if kind == "e" and self.follows(stream, name):
                return True
        return False

    def follows(self, stream: Stream, event: str) -> bool:
        owners = [("user", stream.user)] + [("group", name) for name in stream.groups]
        return event in stream.names or any(event in self.subscriptions.get(owner, {}) for owner in owners)

    # ---- what the admin handler does -----------------------------------------------------------------------------------

    def publish(self, items: List[Item]) -> Union[List[str], int]:
        """The ids; or, with nothing published, the index of a message whose key was used with another content."""
        with self.lock:
            fresh: Dict[Tuple[str, Tuple[str, ...]], Item] = {}
            for index, item in enumerate(items):
                name = (item.key, addressees(item))
                if item.key and self.keys.get(name, ("", fresh.setdefault(name, item)))[1] != item:
                    return index
            return [self.publish_one(item) for item in items]

    def publish_one(self, item: Item) -> str:
        name = (item.key, addressees(item))
        if item.key and name in self.keys:
            return self.keys[name][0]
        self.number += 1
        identity = self.identity(self.number)
        if item.key:
            self.keys[name] = (identity, item)
        if item.replace:
            same = (item.event, item.replace, addressees(item))
            for kept in [kept for kept in self.history if (kept.item.event, kept.item.replace, addressees(kept.item)) == same]:
                self.history.remove(kept)
        text = frame(item.event, item.data, identity)
        self.history.append(Kept(self.number, text, item, time.time() + item.ttl if item.ttl else math.inf))
        for stream in self.streams:
            if self.carries(stream, item):
                stream.frames.put(text)
        return identity

    def subscribe(self, body: Dict[str, Any], add: bool) -> Tuple[int, Dict[str, Any]]:
        owner = ("user", body["user"]) if "user" in body else ("group", body["group"])
        session = body.get("session")
        with self.lock:
            there = self.subscriptions.setdefault(owner, {})
            for event in body["events"]:
                if add:
                    there.setdefault(event, set()).add(session or "")
                elif session is None:
                    there.pop(event, None)
                elif event in there:
                    there[event].discard(session)
                    if not there[event]:
                        del there[event]
            return 200, {"events": sorted(there)}

    def end_session(self, session: str) -> Tuple[int, Dict[str, Any]]:
        with self.lock:
            for there in self.subscriptions.values():
                for event in [event for event, sessions in there.items() if session in sessions]:
                    there[event].discard(session)
                    if not there[event]:
                        del there[event]
        return 200, {"closed": self.end(lambda stream: stream.session == session, "logout")}

    def group(self, name: str, change: Callable[[Set[str]], Set[str]]) -> Tuple[int, Dict[str, Any]]:
        with self.lock:
            before = self.members.get(name, set()) | {stream.user for stream in self.streams if name in stream.groups}
            self.members[name] = now = change(set(before))
            for stream in self.streams:
                if stream.user in now:
                    stream.groups.add(name)
                elif stream.user in before:
                    stream.groups.discard(name)
            return 200, {"users": sorted(now)}

    def online(self, name: Optional[str] = None) -> List[str]:
        with self.lock:
            return sorted({s.user for s in self.streams if s.user and (name is None or name in s.groups)})

    def handle(self, method: str, path: str, query: Dict[str, str], body: Any) -> Tuple[int, Dict[str, Any]]:
        """One admin request other than a publish: status and answer."""
        name = query.get("name", "")
        if (method, path) in (("POST", "/subscribe"), ("POST", "/unsubscribe")):
            return self.subscribe(body, path == "/subscribe")
        if (method, path) == ("GET", "/subscriptions"):
            owner = ("user", query["user"]) if "user" in query else ("group", query["group"])
            return 200, {"events": sorted(self.subscriptions.get(owner, {}))}
        if method == "GET" and path.startswith("/presence"):
            return self.presence(path, name, query)
        if path == "/groups":
            return self.groups(method, name, body)
        if (method, path) == ("PUT", "/sessions"):
            return 200, {}  # the stand-in knows sessions from Django itself
        if (method, path) == ("DELETE", "/sessions"):
            return self.end_session(name)
        if (method, path) == ("POST", "/disconnect"):
            return 200, {"closed": self.end(self.chosen(body), body.get("reason", "disconnected"))}
        if (method, path) == ("DELETE", "/users"):
            with self.lock:
                self.subscriptions.pop(("user", name), None)
            return 200, {}
        if (method, path) == ("GET", "/status"):
            return 200, {"version": "runserver stand-in", "instance": self.instance, "uptime": int(time.time() - self.began), "broker": "memory"}
        return 404, {"title": f"the development stand-in has no {method} {path}"}

    @staticmethod
    def chosen(body: Dict[str, Any]) -> Callable[[Stream], bool]:
        if "user" in body:
            return lambda stream: stream.user == body["user"]
        if "group" in body:
            return lambda stream: body["group"] in stream.groups
        return lambda stream: stream.session == body["session"]

    def presence(self, path: str, name: str, query: Dict[str, str]) -> Tuple[int, Dict[str, Any]]:
        if path == "/presence":
            return 200, {"streams": len(self.streams), "users": len(self.online()), "hubs": 1}
        if path == "/presence/groups":
            return self.page("online", self.online(name), query)
        if not name:
            return self.page("users", self.online(), query)
        with self.lock:
            mine = [stream.since for stream in self.streams if stream.user == name]
        return 200, {"online": bool(mine), "streams": len(mine), "since": min(mine, default=None)}

    @staticmethod
    def page(member: str, names: List[str], query: Dict[str, str]) -> Tuple[int, Dict[str, Any]]:
        names = [name for name in names if name > query.get("after", "")]
        limit = int(query.get("limit", PAGE))
        return 200, {member: names[:limit], "next": names[limit - 1] if len(names) > limit else None}

    def groups(self, method: str, name: str, body: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        if method == "PUT":
            return self.group(name, lambda before: set(body["users"]))
        if method == "PATCH":
            return self.group(name, lambda before: (before | set(body.get("add", ()))) - set(body.get("remove", ())))
        if method == "DELETE":
            return self.group(name, lambda before: set())
        return 200, {"users": sorted(self.members.get(name, set()))}
