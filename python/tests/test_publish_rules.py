# SPDX-License-Identifier: Apache-2.0
"""One table of good and bad publishes over every way there is: httpd's admin handler, the admin socket, straight to the broker, and
the stand-in of runserver. Each accepts the same, stores the same, and refuses with the same status and words."""

import json
import re

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from httpd_server import ADMIN, KEY
from live import DATABASE, STREAM, LiveSite
from mod_sse import Events, InvalidData, InvalidEvent, KeyConflict, MessageTooLarge, UnknownGroup, UnknownUser
from mod_sse.devserver.hub import DevHub
from mod_sse.devserver.transport import DevTransport
from mod_sse.transport import get_transport
from redis_servers import RedisNode

WAYS = ("http", "socket", "broker", "stand-in")
LIMIT = 5000


@pytest.fixture(scope="module")
def redis():
    node = RedisNode()
    yield node
    node.remove()


@pytest.fixture(scope="module")
def site(redis, make_shared_httpd, site_state):
    server = DATABASE + f"SSEBroker redis://127.0.0.1:{redis.port}/0?prefix=py:\nSSEMaxMessageSize {LIMIT}\n"
    return LiveSite(make_shared_httpd(), site_state, server=server, locations=STREAM + ADMIN)


@pytest.fixture(scope="module")
def ways(site, redis):
    """way(name) is a context in which the process publishes that way; ways.exchange(name, …) sends one body as it is."""
    stand_in = DevTransport(DevHub())

    class Ways:
        def settings(self, name):
            found = site.settings("http" if name == "http" else "socket")
            if name == "broker":
                found["SSE_BROKER"] = f"redis://127.0.0.1:{redis.port}/0?prefix=py:"
            return dict(found, SSE_MAX_MESSAGE_SIZE=LIMIT, SSE_ADMIN_KEY=KEY)

        def exchange(self, name, target, body):
            with override_settings(**self.settings(name)):
                transport = stand_in if name == "stand-in" else get_transport()
                return transport.exchange("POST", target, body, 20.0)

    return Ways()


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def message(**members):
    return text(dict({"event": "e", "data": 1}, **members))


NAMES = [str(n) for n in range(10_001)]
BAD = {
    "no object": b"7",
    "null": b"null",
    "no event": b'{"data":1}',
    "event no string": message(event=7),
    "event empty": message(event=""),
    "event with a space": message(event="a b"),
    "event with a line break": message(event="a\nb"),
    "event with DEL": message(event="a\x7f"),
    "event with C1": message(event="a\x85"),
    "event with a star": message(event="a*"),
    "event reserved": message(event="open"),
    "event of the server": message(event="stream-end"),
    "event too long": message(event="é" * 128),
    "no data": b'{"event":"e"}',
    "data too large": message(data="x" * (LIMIT - 1)),
    "data too large in bytes": message(data="é" * (LIMIT // 2)),
    "raw data too large": message(data="x" * (LIMIT + 1), raw=True),
    "raw no boolean": message(raw=1),
    "raw null": message(raw=None),
    "raw without a string": message(raw=True),
    "ttl 0": message(ttl=0),
    "ttl negative": message(ttl=-5),
    "ttl a fraction": b'{"event":"e","data":1,"ttl":1.0}',
    "ttl text": message(ttl="9"),
    "ttl true": message(ttl=True),
    "ttl too long": message(ttl=366 * 86400 + 1),
    "key empty": message(key=""),
    "key too long": message(key="é" * 128),
    "key a number": message(key=5),
    "replace empty": message(replace=""),
    "replace too long": message(replace="x" * 256),
    "users no list": message(users="7"),
    "users null": message(users=None),
    "user empty": message(users=["1", ""]),
    "user too long": message(users=["x" * 256]),
    "user with a control character": message(users=["a\0"]),
    "user true": message(users=[True]),
    "user an object": message(users=[{}]),
    "group empty": message(groups=[""]),
    "group too long": message(groups=["x" * 641]),
    "group null": message(groups=["a", None]),
    "too many users": message(users=NAMES),
    "too many together": message(users=NAMES[:6000], groups=NAMES[:6000]),
    "an unknown member": message(evnt=1, to="me"),
    "several, three bad": b"[" + message() + b"," + message(event="") + b",7," + message(ttl=0) + b"]",
    "several, one too large": b"[" + message() + b"," + message(data="x" * LIMIT) + b"]",
    "several, two too large": b"[" + b",".join([message(data="x" * LIMIT)] * 2) + b"]",
    "a list in a list": b"[[]]",
    "more errors than are told": b"[" + b",".join([b"{}"] * 150) + b"]",
    "too many messages": b"[" + b",".join([message()] * 10_001) + b"]",
    "no JSON": b'{"event":"e","data":}',
    "more than JSON": message() + b" x",
    "NaN": b'{"event":"e","data":NaN}',
    "Infinity in text": b'{"event":"e","data":[-Infinity]}',
    "no UTF-8": b'{"event":"e","data":"\xff"}',
    "a control character": b'{"event":"e","data":"\x01"}',
    "too deep": b'{"event":"e","data":' + b"[" * 70 + b"]" * 70 + b"}",
}


def seen(answer):
    """What a caller can act on. Each parser has words of its own for text that is no JSON."""
    body = dict(answer.body)
    if "not JSON" in str(body.get("detail")):
        body["detail"] = "not JSON"
    return answer.status, body


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_the_bad_are_refused_alike(ways, redis, body):
    before = redis.say("HGET", "py:{default}:meta", "seq")
    status, told = seen(ways.exchange("http", "/publish", body))
    assert status in (400, 413) and told["status"] == status and told["detail"]
    for name in WAYS[1:]:
        assert seen(ways.exchange(name, "/publish", body)) == (status, told), name
    assert redis.say("HGET", "py:{default}:meta", "seq") == before


@pytest.mark.parametrize("body", [message(users=["1"]), message(groups=[]), message(ttl=0)])
def test_a_bad_broadcast_too(ways, body):
    told = [seen(ways.exchange(name, "/broadcast", body)) for name in WAYS]
    assert told[0][0] == 400 and told.count(told[0]) == len(WAYS)


GOOD = {
    "null": message(data=None),
    "a long event": message(event="é" * 127),
    "as large as may be": message(data="x" * (LIMIT - 2)),
    "raw, as large as may be": message(data="é" * (LIMIT // 2), raw=True),
    "not raw": message(raw=False),
    "white space between tokens": b' {"event" : "e" ,\n "data" : {"a" : [1 , 2]} }',
    "numbers as they are": b'{"event":"e","data":[1.10,1e400,12345678901234567890123,-0.0,' + b"9" * 4500 + b"]}",
    "a member twice": b'{"event":"e","data":{"a":1,"a":2}}',
    "brackets in text": message(data="[" * 200 + '"{'),
    "deep": message(data=json.loads("[" * 60 + "]" * 60)),
    "to users": message(users=["2", "1", 2]),
    "to a number": b'{"event":"e","data":1,"users":[7.50]}',
    "to users and groups": message(users=["1"], groups=["a/b ü", "1"]),
    "to nobody": message(users=[]),
    "as many as may be": message(users=NAMES[:5000], groups=NAMES[:5000]),
    "ttl": message(ttl=366 * 86400),
    "ttl null": message(ttl=None, key=None, replace=None),
    "replace": message(replace="x" * 255, users=["1"]),
    "line breaks": message(data="a\r\nb\u2028", raw=True),
    "several": b"[" + message(data=1) + b"," + message(users=["1"], data=2) + b"]",
    "several, one": b"[" + message() + b"]",
    "none": b"[]",
}


def stored(redis, first, last):
    """The messages with these numbers as hubs are told them: raw, seconds it is kept beyond history, event, data and channels."""
    found = []
    for number in range(first + 1, last + 1):
        body = redis.say("GET", f"py:{{default}}:m:{number}")
        for key in redis.say("KEYS", "py:{default}:h:*") if body is None else ():
            for _, fields in redis.say("XRANGE", key, f"{number}-0", f"{number}-0"):
                body = fields[1]
        if body is None:
            found.append(None)
            continue
        head, _, rest = body.partition("\n")
        raw, published, expires, *sizes = head.split(" ")
        found.append((raw, int(expires) and int(expires) - int(published), sizes, rest))
    return found


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_the_good_are_stored_alike(ways, redis, body):
    def number():
        return int(redis.say("HGET", "py:{default}:meta", "seq") or 0)

    results = {}
    for name in WAYS[:3]:
        before = number()
        answer = ways.exchange(name, "/publish", body)
        assert answer.status == 200, answer
        ids = answer.body["ids"] if "ids" in answer.body else [answer.body["id"]]
        assert [int(i.partition("-")[2]) for i in ids] == list(range(before + 1, number() + 1))
        results[name] = list(answer.body), stored(redis, before, number())
    assert results["socket"] == results["http"] and results["broker"] == results["http"]
    assert list(ways.exchange("stand-in", "/publish", body).body) == results["http"][0]


@pytest.mark.parametrize("first", WAYS[:3])
def test_a_key_is_the_same_key_whichever_way(ways, first):
    body = message(key=f"key of {first}", users=["1"])
    identity = ways.exchange(first, "/publish", body).body["id"]
    told = []
    for name in WAYS[:3]:
        assert ways.exchange(name, "/publish", body).body["id"] == identity, name
        told.append(seen(ways.exchange(name, "/publish", message(key=f"key of {first}", users=["1"], data=2))))
        # Keys are of a realm and its addressees.
        assert ways.exchange(name, "/publish", message(key=f"key of {first}", users=["2"], data=name)).status in (200, 409)
    ways.exchange("stand-in", "/publish", body)
    told.append(seen(ways.exchange("stand-in", "/publish", message(key=f"key of {first}", users=["1"], data=2))))
    assert ways.exchange("stand-in", "/publish", message(key=f"key of {first}", users=["2"], data=2)).status == 200
    assert told[0][0] == 409 and told.count(told[0]) == 4


def test_a_key_in_a_batch(ways):
    for ask in ([("a", 1), ("b", 1), ("b", 2)], [("c", 1), ("c", 1)]):
        told = []
        for name in WAYS:
            body = text([{"event": "e", "data": data, "key": f"{name} {key}"} for key, data in ask])
            answer = ways.exchange(name, "/publish", body)
            told.append(seen(answer) if answer.status != 200 else (200, len(set(answer.body["ids"]))))
        assert told.count(told[0]) == len(WAYS), told


CALLS = [
    (InvalidEvent, dict(event="two words"), "has a space"),
    (InvalidEvent, dict(event="tab\t"), "has a control character; only printable"),
    (InvalidEvent, dict(event="x" * 256), "longer than 255 bytes"),
    (InvalidData, dict(data={1, 2}), "set is not JSON serializable"),
    (InvalidData, dict(data={"a": [1, {"b": {1, 2}}]}), "(at data['a'][1]['b'])"),
    (InvalidData, dict(data={("a", "b"): 1}), "keys must be str"),
    (InvalidData, dict(data=float("inf")), "cannot be written as JSON"),
    (InvalidData, dict(data=json.loads("[" * 61 + "]" * 61)), "deeper than 60 levels"),
    (InvalidData, dict(ttl=366 * 86400 + 1), "1 to 31622400"),
    (InvalidData, dict(key="\ud800"), "key must be a string"),
    (InvalidData, dict(users=range(1, 10_002)), "more than 10000 addressees"),
    (MessageTooLarge, dict(data="x" * LIMIT), "5002 bytes of JSON, more than SSE_MAX_MESSAGE_SIZE, 5000"),
    (MessageTooLarge, dict(data="é" * LIMIT, raw=True), "10000 bytes long"),
    (UnknownUser, dict(users=[User()]), "save it first"),
    (UnknownUser, dict(users="alice"), "give the user or its primary key, not its name"),
    (UnknownGroup, dict(groups=[7]), "neither a group nor a group's name"),
    (UnknownGroup, dict(groups=["a\n"]), "control character"),
]


@pytest.mark.parametrize("way", WAYS[:3])
@pytest.mark.parametrize("kind, call, says", CALLS)
def test_the_api_names_each_mistake_before_anything_is_sent(ways, redis, way, kind, call, says):
    before = redis.say("HGET", "py:{default}:meta", "seq")
    with override_settings(**ways.settings(way)), pytest.raises(kind, match=re.escape(says)):
        Events.publish(**dict({"event": "e"}, **call))
    assert redis.say("HGET", "py:{default}:meta", "seq") == before


@pytest.mark.parametrize("way", WAYS[:3])
def test_bounds_of_a_batch(ways, way):
    with override_settings(**dict(ways.settings(way), SSE_MAX_MESSAGE_SIZE=300_000)):
        with pytest.raises(MessageTooLarge, match="10001 messages"):
            Events.publish_many([{"event": "e"}] * 10_001)
        with pytest.raises(MessageTooLarge, match="16 MiB"):
            Events.publish_many([{"event": "e", "data": "x" * 250_000}] * 70)
        for wrong in ({"event": "e"}, "e", ["e"], [None]):
            with pytest.raises(InvalidData, match="takes a list of dicts"):
                Events.publish_many(wrong)
        with pytest.raises(InvalidData, match="message 1: 'evnt' not known"):
            Events.publish_many([{"event": "e"}, {"evnt": "e"}])
        # Where the server's own limit is lower than the setting says, the server speaks.
        if way != "broker":
            with pytest.raises(MessageTooLarge, match="413.*SSEMaxMessageSize, 5000"):
                Events.publish("e", "x" * LIMIT)


@pytest.mark.parametrize("way", WAYS[:3])
def test_what_is_sent_at_the_commit_is_what_was_published(ways, redis, way):
    from django.db import transaction

    data = {"n": 1}
    with override_settings(**ways.settings(way)):
        with transaction.atomic():
            Events.publish("frozen", data)
            data["n"] = 2
        with pytest.raises(KeyConflict):
            Events.publish("frozen", 1, key=f"k {way}")
            Events.publish("frozen", 2, key=f"k {way}")
    entries = redis.say("XRANGE", "py:{default}:h:e:frozen", "-", "+")
    assert 'frozen{"n":1}e:frozen' in entries[-2][1][1]
