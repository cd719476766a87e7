# SPDX-License-Identifier: Apache-2.0
"""The hub's threads under ThreadSanitizer: every kind of work at the same time, no data race, and every message arrives. Of all
streams every second is a TLS connection handed over, of every suite in turn."""

import contextlib
import itertools
import json
import random
import socket
import threading

import pytest
from event_parser import EventParser
from hub_process import HubProcess
from stage import TOP
from tls_records import SUITES, TlsReader
from wire_codec import CLEAR, OK, TLS

PROGRAM = TOP / "build" / "tsan" / "root" / "libexec" / "mod_sse" / "sse-hub"


@pytest.fixture
def hub():
    hub = HubProcess(PROGRAM, threads=3, heartbeat=1, presence_grace=0, history_count=500)
    yield hub
    hub.end()
    problems = hub.problems()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
    hub.remove()


KINDS = itertools.cycle([kind for suite in SUITES for kind in (None, suite)])
KINDS_LOCK = threading.Lock()


class Client:
    """One stream over a socket pair; a test's far end is what a browser would hold."""

    def __init__(self, channel, **reservation):
        with KINDS_LOCK:
            suite = next(KINDS)
        self.tls = suite and TlsReader(*suite, max_fragment=2048 if suite == SUITES[0] else 16384)
        reserved = channel.reserve(**reservation)
        assert reserved.verdict == OK, reserved
        self.sock, far = socket.socketpair()
        self.sock.settimeout(60)
        channel.attach(reserved.ticket, far, TLS if self.tls else CLEAR, self.tls.state if self.tls else b"")
        far.close()
        self.parser = EventParser()

    def read(self, size=65536):
        """False at the end."""
        chunk = self.sock.recv(size)
        self.parser.feed(self.tls.feed(chunk) if self.tls else chunk)
        return bool(chunk)

    def read_until(self, *event_types):
        while not any(e.type in event_types for e in self.parser.events):
            assert self.read(), "the stream ended: %r" % self.parser.events[-3:]

    def close(self):
        self.sock.close()


def post(channel, path, **body):
    reply = channel.admin("POST", path, json.dumps(body).encode())
    assert reply.status // 100 == 2, reply
    return json.loads(reply.body)


def run_all(jobs):
    """Runs the jobs in threads; the first exception of any is raised."""
    failures = []

    def guarded(job):
        try:
            job()
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join(240)
        assert not t.is_alive(), "a job hangs"
    if failures:
        raise failures[0]


def test_everything_at_once(hub):
    """Steady receivers, streams that come and go, publishers, subscription and membership changes, presence, resumes."""
    channel = hub.channel()
    post(channel, "/subscribe", group="staff", events=["group:event"])
    steady = []
    for n in range(60):
        steady.append(Client(channel, user="u%d" % (n % 20), groups=["staff"] if n % 2 else [], events=["all", "e%d" % (n % 5)]))
    for client in steady:
        client.read_until("stream-open")
    rounds = 200

    def publish(seed):
        rng = random.Random(seed)
        own = hub.channel()
        for n in range(rounds):
            post(own, "/publish", event="all", data={"publisher": seed, "n": n, "text": "x" * rng.randint(0, 3000)})
            post(own, "/publish", event="direct", data=n, users=["u%d" % rng.randint(0, 19)], groups=["staff"])
            if n % 20 == 0:
                post(own, "/broadcast", event="to:everyone", data={"n": n})
        own.close()

    def come_and_go(seed):
        rng = random.Random(seed)
        own = hub.channel()
        last_id = ""
        for n in range(rounds):
            client = Client(own, user="v%d" % rng.randint(0, 3), events=["all"], last_id=last_id)
            client.read_until("stream-open", "stream-end")  # change() disconnects one of these users now and then
            last_id = client.parser.last_id
            client.close()
            if n % 5 == 0:
                reserved = own.reserve(user="v1", events=["all"])
                if reserved.verdict == OK:
                    own.release(reserved.ticket)
        own.close()

    def change(seed):
        own = hub.channel()
        for n in range(rounds):
            user = "u%d" % (n % 20)
            post(own, "/subscribe", user=user, events=["s:%d" % (n % 7)])
            post(own, "/publish", event="s:%d" % (n % 7), data=n)
            own.admin("PATCH", "/groups/staff", json.dumps({"add": [user], "remove": ["u%d" % ((n + 3) % 20)]}).encode())
            post(own, "/unsubscribe", user=user, events=["s:%d" % (n % 7)])
            assert own.admin("GET", "/presence/users/" + user).status == 200
            if n % 5 == 0:
                post(own, "/disconnect", user="v2")
        own.close()

    received = {}

    def receive(client, key):
        client.read_until("last")
        received[key] = [json.loads(e.data) for e in client.parser.events if e.type == "all"]

    readers = [lambda c=c, k=k: receive(c, k) for k, c in enumerate(steady)]

    def work():
        try:
            run_all([lambda: publish(1), lambda: publish(2), lambda: come_and_go(3), lambda: come_and_go(4), lambda: change(5)])
        finally:
            post(hub.channel(), "/broadcast", event="last", data=None)

    run_all([*readers, work])
    for key in range(len(steady)):
        for publisher in (1, 2):
            numbers = [m["n"] for m in received[key] if m["publisher"] == publisher]
            assert numbers == list(range(rounds)), "stream %d, publisher %d: %r" % (key, publisher, numbers)
    for client in steady:
        ids = [e.id for e in client.parser.events]
        assert len([i for i in ids if i]) == len(ids)
        client.close()
    assert hub.stop() == 0


def test_admin_socket_beside_the_channels(hub):
    """Publishes by the admin socket and by workers' channels at once; both see each other's."""
    from admin_client import AdminSocket

    channel = hub.channel()
    client = Client(channel, user="u", events=["both"])
    client.read_until("stream-open")

    def by_socket():
        with AdminSocket(hub.admin_path, 60) as s:
            for n in range(50):
                s.send("POST", "/publish", {"event": "both", "data": n})
            assert [s.receive()["status"] for _ in range(50)] == [200] * 50

    def by_channel():
        own = hub.channel()
        for n in range(50):
            post(own, "/publish", event="both", data=100 + n)
        own.close()

    run_all([by_socket, by_channel])
    post(channel, "/broadcast", event="last", data=None)
    client.read_until("last")
    numbers = [json.loads(e.data) for e in client.parser.events if e.type == "both"]
    assert sorted(numbers) == list(range(50)) + list(range(100, 150))
    assert [n for n in numbers if n < 100] == list(range(50))
    client.close()
    assert hub.stop() == 0


def test_slow_and_dead_clients(hub):
    """Clients that never read and clients that vanish, while messages flow to others."""
    channel = hub.channel()
    readers = [Client(channel, user="good", events=["flood"]) for _ in range(2)]
    deaf = [Client(channel, user="deaf%d" % n, events=["flood"]) for n in range(5)]

    def publish():
        own = hub.channel()
        for n in range(40):
            post(own, "/publish", event="flood", data={"n": n, "text": "x" * 100000})
        post(own, "/publish", event="flood", data={"n": -1})
        own.close()

    def read(good):
        while not any(e.type == "flood" and json.loads(e.data)["n"] == -1 for e in good.parser.events):
            assert good.read(262144)

    def vanish():
        own = hub.channel()
        for n in range(40):
            Client(own, user="gone", events=["flood"]).close()
        own.close()

    run_all([publish, *[lambda c=c: read(c) for c in readers], vanish])
    for good in readers:
        assert [json.loads(e.data)["n"] for e in good.parser.events if e.type == "flood"] == [*range(40), -1]
    for client in [*deaf, *readers]:
        client.close()
    hub.wait_streams(0, channel)
    assert hub.stop() == 0


def test_stop_while_messages_flow(hub):
    """Every stream gets what was published, its end, and over TLS close_notify."""
    channel = hub.channel()
    clients = [Client(channel, user="u%d" % (n % 5), events=["flow"]) for n in range(36)]
    for client in clients:
        client.read_until("stream-open")
    flowing = threading.Event()

    def publish():
        own = hub.channel()
        n = 0
        with contextlib.suppress(OSError, AssertionError):  # the hub refuses, then is gone
            while True:
                post(own, "/publish", event="flow", data={"n": n, "text": "y" * 5000})
                n += 1
                if n == 20:
                    flowing.set()

    def read(client):
        while client.read():
            pass

    def stop():
        assert flowing.wait(60)
        assert hub.stop() == 0

    run_all([publish, stop, *[lambda c=c: read(c) for c in clients]])
    for client in clients:
        events = [e for e in client.parser.events if e.type == "flow"]
        assert [json.loads(e.data)["n"] for e in events] == list(range(len(events))) and len(events) >= 20
        assert json.loads(client.parser.events[-1].data)["reason"] == "shutdown"
        assert client.tls is None or client.tls.closed
        client.close()
