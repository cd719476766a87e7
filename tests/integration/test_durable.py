# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged is there after kill -9, restart and stop; what is asked of the store; a store that is full, damaged or new."""

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest
from admin_client import AdminSocket
from event_parser import EventParser
from httpd_server import ADMIN, BASIC, STREAM, basic
from hub_process import HubProcess
from stage import FLAVOUR, give, make_directory
from waiting import wait_until
from wire_codec import OK

PRIVATE = "<Location /private>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n"


def reset_reasons(events):
    return [json.loads(e.data)["reason"] for e in events if e.type == "stream-reset"]


# ---- kill -9 at any moment ----


@pytest.fixture
def store():
    path = make_directory("mod_sse-store-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Publisher(threading.Thread):
    """Publishes numbered messages with keys, several under way at a time, until the hub is gone."""

    def __init__(self, path, name, first):
        super().__init__()
        self.path = path
        self.name_ = name
        self.sent = first
        self.acknowledged = {}

    def run(self):
        try:
            with AdminSocket(self.path, 30) as a:
                under_way = []
                while True:
                    n = self.sent
                    self.sent += 1
                    under_way.append(n)
                    a.send("POST", "/publish", {"event": "kill", "data": [self.name_, n], "key": "%s-%d" % (self.name_, n)})
                    if len(under_way) >= 8:
                        answer = a.receive()
                        if answer["status"] == 200:
                            self.acknowledged[under_way[0]] = answer["body"]["id"]
                        under_way.pop(0)
        except (AssertionError, OSError, ValueError):
            pass


def test_kill_at_random_points(stage, store):
    """Forty deaths under load: no acknowledged message is lost, none comes twice, ids grow, repeats by key answer the first id."""
    rng = random.Random(11)
    conf = {"threads": 2, "state_dir": str(store), "history_count": 1000000, "max_age": 0}
    acknowledged, next_number = {}, {"a": 0, "b": 0}
    start = None
    for _ in range(40):
        hub = HubProcess(stage.hub_program, sanitizer=FLAVOUR, **conf)
        wait_healthy(hub)
        if start is None:
            start = json.loads(hub.channel().admin("POST", "/publish", b'{"event":"kill","data":"start"}').body)["id"]
        publishers = [Publisher(hub.admin_path, name, next_number[name]) for name in ("a", "b")]
        for p in publishers:
            p.start()
        time.sleep(rng.uniform(0.005, 0.12))  # the random point of death is what is tested: there is no condition to wait for
        hub.process.kill()
        hub.process.wait(10)
        for p in publishers:
            p.join(30)
            assert not p.is_alive()
            acknowledged.update({(p.name_, n): position for n, position in p.acknowledged.items()})
            next_number[p.name_] = p.sent
        assert hub.problems() == []
        hub.end()
        hub.remove()
    assert len(acknowledged) > 200, "the load was too small to say anything"
    hub = HubProcess(stage.hub_program, sanitizer=FLAVOUR, **conf)
    wait_healthy(hub)
    channel = hub.channel()
    events = replay(channel, start)
    assert reset_reasons(events) == []
    got = [(tuple(json.loads(e.data)), e.id) for e in events if e.type == "kill"]
    assert len({number for number, _ in got}) == len(got), "a message came twice"
    stored = dict(got)
    assert {k: stored.get(k) for k in acknowledged} == acknowledged
    sequence = [int(position.split("-")[1]) for _, position in got]
    assert sequence == sorted(set(sequence))
    assert len({position.split("-")[0] for _, position in got}) == 1, "one life of the data"
    for key in list(acknowledged)[:: max(1, len(acknowledged) // 20)]:
        body = json.dumps({"event": "kill", "data": list(key), "key": "%s-%d" % key}, separators=(",", ":")).encode()
        assert json.loads(channel.admin("POST", "/publish", body).body)["id"] == acknowledged[key]
    assert hub.stop() == 0
    assert hub.problems() == []
    hub.end()
    hub.remove()


def wait_healthy(hub):
    def healthy():
        with AdminSocket(hub.admin_path) as a:
            return a.call("GET", "/health")["status"] == 200

    wait_until(healthy, 20, "the store is open")


def replay(channel, position):
    """All that a stream of event "kill" gets from there up to a message published now."""
    reserved = channel.reserve(events=["kill", "mark"], last_id=position)
    assert reserved.verdict == OK
    near, far = socket.socketpair()
    near.settimeout(60)
    channel.attach(reserved.ticket, far)
    far.close()
    assert channel.admin("POST", "/publish", b'{"event":"mark","data":0}').status == 200
    parser = EventParser()
    while not (parser.events and parser.events[-1].type == "mark"):
        chunk = near.recv(1 << 20)
        assert chunk
        parser.feed(chunk)
    near.close()
    return parser.events


# ---- restarts ----


@pytest.mark.parametrize("how", ["stop", "graceful", "kill"])
def test_nothing_is_lost_over(httpd, how):
    """Messages, subscriptions, group members and what was read are the same afterwards; clients resume without a reset."""
    httpd.add_users("u", "v")
    httpd.log.allow("SSE0118")
    httpd.configure(locations=PRIVATE + STREAM + ADMIN).start()
    admin = httpd.admin()
    admin.subscribe("sub:e", user="u")
    admin.call("PUT", "/groups/g", {"users": ["u"]})
    admin.subscribe("group:e", group="g")
    with httpd.stream("/private", headers=basic("u")) as s:
        s.opened()
        admin.publish("sub:e", 0)
        position = s.expect("sub:e").id
    admin.publish("sub:e", 1)
    admin.publish("group:e", 2)
    admin.publish("direct", 3, users=["u"])
    if how == "stop":
        httpd.stop()
        httpd.start()
    elif how == "graceful":
        httpd.graceful()
    else:
        old = httpd.hub_pid()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: httpd.hub_pid() not in (None, old) and httpd.healthy(), 10, "another hub")
    admin = httpd.admin()
    assert admin.get("/subscriptions?user=u")["events"] == ["sub:e"]
    assert admin.get("/groups/g")["users"] == ["u"]
    admin.publish("sub:e", 4)
    with httpd.stream("/private", headers={**basic("u"), "Last-Event-ID": position}) as s:
        assert json.loads(s.opened().data) == {"resumed": True}
        for event, data in (("sub:e", "1"), ("group:e", "2"), ("direct", "3"), ("sub:e", "4")):
            s.expect(event, data)
        admin.publish("sub:e", 5)
        s.expect("sub:e", "5")


# ---- tracking and resume=user ----


def test_resume_of_a_user_on_another_device(httpd):
    """`?resume=user`: from what the user's streams were last sent, on any device, also after a restart."""
    httpd.add_users("u", "v")
    httpd.configure(locations=PRIVATE + ADMIN).start()
    admin = httpd.admin()
    admin.subscribe("news", user="u")
    assert admin.get("/users/u/tracking")["pending"] == 0
    with httpd.stream("/private", headers=basic("u")) as s:
        s.opened()
        last = admin.publish("news", 1)
        s.expect("news", "1")
        tracked = wait_until(lambda: (lambda t: t if t["last_id"] == last else None)(admin.get("/users/u/tracking")), 10, "the message is tracked")
        assert tracked["pending"] == 0 and tracked["delivered_at"]
    wait_until(lambda: not admin.get("/presence/users/u")["streams"], 5)
    admin.publish("news", 2)
    admin.publish("direct", 3, users=["u"])
    admin.publish("direct", "for v", users=["v"])
    assert admin.get("/users/u/tracking")["pending"] == 2
    httpd.restart()
    admin = httpd.admin()
    with httpd.stream("/private?resume=user", headers=basic("u")) as s:
        assert json.loads(s.opened().data) == {"resumed": True}
        s.expect("news", "2")
        s.expect("direct", "3")
        admin.publish("news", 4)
        s.expect("news", "4")
    wait_until(lambda: admin.get("/users/u/tracking")["pending"] == 0, 10, "nothing waits any more")
    with httpd.stream("/private", headers=basic("u")) as s:
        assert json.loads(s.opened().data) == {"resumed": False}
    with httpd.stream("/private?resume=user", headers={**basic("u"), "Last-Event-ID": last}) as s:
        assert s.opened().id == last, "the header wins"


def test_forgetting(httpd):
    httpd.add_users("u", "v")
    httpd.configure(locations=PRIVATE + STREAM + ADMIN).start()
    admin = httpd.admin()
    for user in ("u", "v"):
        admin.subscribe("e", user=user)
    with httpd.stream("/events") as s:
        position = s.opened().id
    admin.publish("direct", 1, users=["u", "v"])
    admin.publish("e", 2)
    admin.call("DELETE", "/users/u")
    assert admin.get("/subscriptions?user=u")["events"] == []
    assert admin.get("/subscriptions?user=v")["events"] == ["e"]
    with httpd.stream("/private", headers={**basic("v"), "Last-Event-ID": position}) as s:
        s.opened()
        s.expect("direct", "1")
        s.expect("e", "2")
    with httpd.stream("/private", headers={**basic("u"), "Last-Event-ID": position}) as s:
        s.opened()
        admin.broadcast("end", 0)
        event = s.next()
        while event.type == "stream-reset":
            event = s.next()
        assert event.type == "end", event
    admin.call("DELETE", "/events/e/history")
    assert admin.get("/events/e/history")["messages"] == []
    with httpd.stream("/events?event=e", headers={"Last-Event-ID": position}) as s:
        s.opened()
        assert json.loads(s.expect("stream-reset").data) == {"reason": "expired", "events": ["e"]}
        s.expect("end")
        admin.publish("e", 3)
        s.expect("e", "3")


def test_history_pages(httpd):
    httpd.configure().start()
    admin = httpd.admin()
    ids = [admin.publish("h", {"n": n}) for n in range(7)]
    admin.publish("h", "text\nof two lines", raw=True)
    admin.publish("other", 1)
    seen, after = [], ""
    for _ in range(10):
        page = admin.get("/events/h/history?limit=3" + ("&after=" + after if after else ""))
        assert len(page["messages"]) <= 3
        seen += page["messages"]
        after = page["next"]
        if not after:
            break
    assert [m["id"] for m in seen[:7]] == ids
    assert [m["data"] for m in seen[:7]] == [{"n": n} for n in range(7)]
    assert seen[7]["data"] == "text\nof two lines" and seen[7]["raw"] is True
    assert all(m["event"] == "h" and m["published"] for m in seen)
    assert admin.get("/events/nothing/history")["messages"] == []
    assert admin.request("GET", "/events/h/history?after=nonsense").status == 400


# ---- stores that are not as they should be ----


def database_of(httpd):
    return httpd.state / "broker.db"


def test_damaged_store_is_set_aside(httpd):
    """httpd serves, the damaged file is kept, clients are told."""
    httpd.configure().start()
    position = httpd.admin().publish("e", 1)
    httpd.stop()
    for name in ("broker.db-wal", "broker.db-shm"):
        (httpd.state / name).unlink(missing_ok=True)
    database_of(httpd).write_bytes(b"this is no database " * 1000)
    give(httpd.state)
    httpd.log.expect("SSE0303")
    httpd.start()
    kept = [p for p in httpd.state.iterdir() if p.name.startswith("broker.db") and p.read_bytes().startswith(b"this is no database")]
    assert len(kept) == 1 and kept[0] != database_of(httpd)
    with httpd.stream("/events?event=e", headers={"Last-Event-ID": position}) as s:
        s.opened()
        assert reset_reasons([s.next()]) in (["unknown-id"], ["broker-reset"])
        httpd.admin().publish("e", 2)
        s.expect("e", "2")


def test_store_of_a_newer_version_is_left_alone(httpd):
    httpd.configure().start()
    httpd.admin().publish("e", 1)
    httpd.stop()
    database = sqlite3.connect(database_of(httpd))
    database.execute("PRAGMA user_version = 9999")
    database.commit()
    database.close()
    give(httpd.state)
    httpd.log.expect("SSE0301")
    httpd.log.expect("SSE0202")
    httpd.start(hub=False)
    answer = wait_until(lambda: (lambda a: a if a.status == 503 else None)(httpd.admin().request("POST", "/publish", {"event": "e", "data": 2})), 20)
    assert int(answer.head.get("retry-after")) >= 1
    with httpd.stream() as s:
        assert s.next(20).type == "stream-end"
    assert httpd.fetch("/index.html").status == 200
    httpd.stop()
    assert sqlite3.connect(database_of(httpd)).execute("PRAGMA user_version").fetchone() == (9999,)


def test_full_disk(httpd):
    """Publishes are refused, not lost; streams and pages go on; with room again the hub goes on by itself."""
    size = 4 * 1024 * 1024
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d,mode=0750" % size, "tmpfs", httpd.state], check=True)
    try:
        give(httpd.state)
        httpd.log.expect("SSE0304")
        httpd.log.allow("SSE0")
        httpd.configure(server="SSEHistory 100000").start()
        admin = httpd.admin()
        ballast = httpd.state / "ballast"
        with httpd.stream("/events?event=full") as s:
            s.opened()
            accepted = [admin.publish("full", 0)]
            with open(ballast, "wb") as f:
                try:
                    while True:
                        f.write(b"x" * 65536)
                        f.flush()
                except OSError:
                    pass
            refused = None
            for n in range(1, 2000):
                answer = admin.request("POST", "/publish", {"event": "full", "data": [n, "x" * 5000]})
                if answer.status != 200:
                    refused = answer
                    break
                accepted.append(answer.json["id"])
            assert refused is not None and refused.status == 503, "the disk never got full"
            assert int(refused.head.get("retry-after")) >= 1
            assert httpd.fetch("/index.html").status == 200
            got = [s.expect("full", timeout=20).id for _ in accepted]
            assert got == accepted
            ballast.unlink()

            def again():
                answer = admin.request("POST", "/publish", {"event": "full", "data": "room"})
                return answer.json["id"] if answer.status == 200 else None

            position = wait_until(again, 30, "publishes are taken again", step=0.1)
            assert s.expect("full", '"room"').id == position
        with httpd.stream("/events?event=full", headers={"Last-Event-ID": accepted[0]}) as s:
            s.opened()
            assert [s.expect("full").id for _ in range(len(accepted))] == [*accepted[1:], position]
    finally:
        httpd.stop()
        subprocess.run(["umount", httpd.state], check=True)
