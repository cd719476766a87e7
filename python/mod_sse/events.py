# SPDX-License-Identifier: Apache-2.0
"""``Events``: publish to the subscribers of an event, to users, to groups, to everybody.

Publishing validates, waits for the transaction to commit where there is one, and sends the signal ``event_published``.
"""

import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, transaction

from .conf import sse_settings
from .exceptions import InvalidData, MessageTooLarge
from .names import as_list, check_event, group_name, user_id, warn_of_strangers
from .signals import event_published
from .transport import unless_away
from .transport.base import encode, too_deep
from .transport.rules import ADDRESSEES_MAX, BATCH_ITEMS_MAX, DEPTH_MAX, KEY_BYTES_MAX, MEMBERS, TTL_MAX
from .twins import static, twin

# The body's own brackets, and those of the admin socket's line around it.
DATA_DEPTH_MAX = DEPTH_MAX - 4


@dataclass(frozen=True)
class Message:
    """One message on its way. ``users`` and ``groups`` are ids and names; both None means the event's subscribers."""

    event: str
    data: Any = None
    users: Optional[List[str]] = None
    groups: Optional[List[str]] = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    ttl: Optional[int] = None
    raw: bool = False
    replace: Optional[str] = None
    everyone: bool = False
    # ``data`` as it was when it was published: what its owner does to it before the commit changes nothing.
    text: bytes = field(default=b"", repr=False, compare=False)

    def body(self) -> bytes:
        """The request body of ``POST /publish`` or ``POST /broadcast``."""
        found: Dict[str, Any] = {"event": self.event, "key": self.key}
        for name in ("users", "groups", "ttl", "replace"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)
        if self.raw:
            found["raw"] = True
        return encode(found)[:-1] + b',"data":' + (self.text or encode(self.data)) + b"}"


def bodies(messages: Iterable[Message]) -> bytes:
    """Several as one request."""
    return b"[" + b",".join(message.body() for message in messages) + b"]"


def check_text(name: str, value: Optional[str]) -> None:
    try:
        good = value is None or 1 <= len(value.encode("utf-8")) <= KEY_BYTES_MAX
    except (AttributeError, UnicodeEncodeError):
        good = False
    if not good:
        raise InvalidData(f"{name} must be a string of 1 to {KEY_BYTES_MAX} bytes, not {value!r:.80}")


def check_data(data: Any, raw: bool) -> bytes:
    """The data's JSON; a mistake shows where it was made, not when the transaction commits."""
    if not isinstance(raw, bool):
        raise InvalidData(f"raw must be True or False, not {raw!r:.80}")
    if raw and not isinstance(data, str):
        raise InvalidData(f"raw=True sends a string's own characters: data must be a string, not {type(data).__name__}")
    text = encode(data)
    if too_deep(text, DATA_DEPTH_MAX):
        raise InvalidData(f"the data is nested deeper than {DATA_DEPTH_MAX} levels")
    size, most = len(data.encode("utf-8")) if raw else len(text), int(sse_settings.MAX_MESSAGE_SIZE)
    if size > most:
        raise MessageTooLarge(
            f"the data is {size} bytes {'long' if raw else 'of JSON'}, more than SSE_MAX_MESSAGE_SIZE, {most} "
            "(what httpd's SSEMaxMessageSize says); send a reference and let the page fetch the rest",
            413,
        )
    return text


def make_message(event: str, data: Any = None, *, users: Any = None, groups: Any = None, raw: bool = False, **options: Any) -> Message:
    """Validates; InvalidEvent, InvalidData, UnknownUser or UnknownGroup name what is wrong. ``options``: other fields of Message."""
    ttl = options.get("ttl")
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= TTL_MAX):
        raise InvalidData(f"ttl must be a whole number of seconds from 1 to {TTL_MAX} (366 days), not {ttl!r:.80}")
    for name in ("key", "replace"):
        check_text(name, options.get(name))
    if options.get("key", "") is None:
        del options["key"]  # it gets one of its own, for repeats of the request
    to_users, to_groups = as_list(users), as_list(groups)
    message = Message(
        event=check_event(event),
        data=data,
        users=None if users is None else list(dict.fromkeys(map(user_id, to_users))),
        groups=None if groups is None else list(dict.fromkeys(map(group_name, to_groups))),
        raw=raw,
        text=check_data(data, raw),
        **options,
    )
    if len(message.users or ()) + len(message.groups or ()) > ADDRESSEES_MAX:
        raise InvalidData(f"more than {ADDRESSEES_MAX} addressees in one message: publish to a group, or to an event they subscribe to")
    if settings.DEBUG:
        warn_of_strangers(event, to_users, to_groups)
    return message


class Pending:
    """A publish that waits for its transaction. A class, so that tests can find it among a connection's callbacks."""

    def __init__(self, messages: List[Message]) -> None:
        self.messages = messages

    def __call__(self) -> None:
        # The data is committed: SSE_FAIL_SILENTLY keeps an outage from looking as if it were not.
        send_or_lose(self.messages)


# While several messages are sent as one request, the transport's receiver puts them here.
batch: "ContextVar[Optional[List[Message]]]" = ContextVar("mod_sse_batch", default=None)


def send(messages: List[Message]) -> List[Optional[str]]:
    """Sends the signal for each; the ids come from the transport's receiver (None if it has been disconnected)."""
    from .receivers import deliver, deliver_all

    if len(messages) == 1:
        answers = event_published.send(sender=Events, message=messages[0])
        return [next((answer for receiver, answer in answers if receiver is deliver), None)]
    together: List[Message] = []
    token = batch.set(together)
    try:
        for message in messages:
            event_published.send(sender=Events, message=message)
    finally:
        batch.reset(token)
    ids = dict(zip(map(id, together), deliver_all(together)))
    return [ids.get(id(message)) for message in messages]


def send_or_lose(messages: List[Message]) -> List[Optional[str]]:
    return unless_away(lambda: send(messages), [None] * len(messages))


# Atomic blocks that a test case keeps open around each test, by database: inside them alone nothing is deferred.
test_case_blocks: Dict[str, int] = {}


def atomic_depth(using: str) -> int:
    """How many ``atomic`` blocks are open."""
    connection = transaction.get_connection(using)
    return len(connection.savepoint_ids) + 1 if connection.in_atomic_block else 0


def in_transaction(using: str) -> bool:
    return atomic_depth(using) > test_case_blocks.get(using, 0)


def publish_now(messages: List[Message], on_commit: Optional[bool], using: Optional[str]) -> List[Optional[str]]:
    alias = using or DEFAULT_DB_ALIAS
    wait = sse_settings.ON_COMMIT if on_commit is None else on_commit
    if wait and messages and in_transaction(alias):
        transaction.on_commit(Pending(messages), using=alias)
        return [None] * len(messages)
    return send_or_lose(messages) if messages else []


def publish(
    event: str,
    data: Any = None,
    users: Any = None,
    groups: Any = None,
    key: Optional[str] = None,
    ttl: Optional[int] = None,
    *,
    raw: bool = False,
    replace: Optional[str] = None,
    on_commit: Optional[bool] = None,
    using: Optional[str] = None,
) -> Optional[str]:
    """Publishes to the event's subscribers, or with ``users`` / ``groups`` to exactly those.

    users, groups: objects, primary keys or names; one, or any iterable (a queryset too). An empty list: to nobody.
    key: repeating a publish with the same key within the history age returns the first id and delivers nothing.
    ttl: seconds after which the message is no longer replayed.
    raw: ``data`` is a string whose own characters are sent, not its JSON form.
    replace: takes the place in history of the earlier message with the same event, value and addressees.
    on_commit: None follows ``SSE_ON_COMMIT`` (True): inside a transaction, publish when it commits.

    Returns the message's id once the broker has accepted it; None if it waits for a commit or was lost silently.
    """
    message = make_message(event, data, users=users, groups=groups, key=key, ttl=ttl, raw=raw, replace=replace)
    if message.users == [] and not message.groups or message.groups == [] and not message.users:
        return None  # addressed to nobody
    return publish_now([message], on_commit, using)[0]


def publish_many(messages: Iterable[Dict[str, Any]], *, on_commit: Optional[bool] = None, using: Optional[str] = None) -> List[Optional[str]]:
    """Publishes several in one request, all or none: each item has the arguments of ``publish`` by name. Returns their ids."""
    items = [messages] if isinstance(messages, (str, Mapping)) else list(messages)
    for index, item in enumerate(items):
        if not isinstance(item, Mapping) or item is messages:
            raise InvalidData(f"publish_many takes a list of dicts, each with the arguments of publish, not {item!r:.80}")
        if "everyone" in item:
            raise InvalidData("a broadcast cannot be one of several: call Events.broadcast")
        unknown = [name for name in item if name not in MEMBERS]
        if unknown or "event" not in item:
            words = f"{', '.join(map(repr, unknown))} not known" if unknown else "no event"
            raise InvalidData(f"message {index}: {words}; each has event and any of {', '.join(MEMBERS[1:])}")
    if len(items) > BATCH_ITEMS_MAX:
        raise MessageTooLarge(f"{len(items)} messages are more than one request takes, {BATCH_ITEMS_MAX}", 413)
    return publish_now([make_message(**item) for item in items], on_commit, using)


def broadcast(
    event: str, data: Any = None, *, key: Optional[str] = None, ttl: Optional[int] = None, raw: bool = False,
    replace: Optional[str] = None, on_commit: Optional[bool] = None, using: Optional[str] = None,
) -> Optional[str]:
    """Publishes to every open stream of the realm."""
    message = make_message(event, data, key=key, ttl=ttl, raw=raw, replace=replace, everyone=True)
    return publish_now([message], on_commit, using)[0]


class Events:
    """Publishing, without an instance: ``Events.publish("invoice:paid", {"id": 7}, users=[user])``."""

    # First, while these names are still the functions: before Python 3.10 a static method cannot be called inside its class.
    apublish = static(twin(publish))
    apublish_many = static(twin(publish_many))
    abroadcast = static(twin(broadcast))
    publish = static(publish)
    publish_many = static(publish_many)
    broadcast = static(broadcast)
