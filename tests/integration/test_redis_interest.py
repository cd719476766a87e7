# SPDX-License-Identifier: Apache-2.0
"""A hub hears from Redis only of channels that its streams carry. Streams that come and go, each perhaps the last or the first of its
channel, while another hub publishes without pause: nothing is lost, doubled or out of order."""

import json
import random
import socket
import threading
import time

import pytest
from event_parser import EventParser
from hub_process import HubProcess
from redis_servers import RedisNode
from stage import FLAVOUR
from wire_codec import OK

SECONDS = 10


@pytest.fixture
def hubs(stage):
    redis = RedisNode()
    made = [
        HubProcess(stage.hub_program, sanitizer=FLAVOUR, threads=2, presence_grace=0, broker="redis://127.0.0.1:%d/0" % redis.port) for _ in range(2)
    ]
    yield made
    problems = []
    for hub in made:
        if hub.process.poll() is None and hub.stop() != 0:
            problems.append("the hub ended with %d: %s" % (hub.process.returncode, hub.log.read_text()))
        hub.end()
        problems += hub.problems()
        hub.remove()
    redis.remove()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


class Reader:
    """One stream on a socket pair, parsed as it comes."""

    def __init__(self, channel, **reservation):
        reserved = channel.reserve(**reservation)
        assert reserved.verdict == OK
        self.sock, far = socket.socketpair()
        self.sock.settimeout(1)
        channel.attach(reserved.ticket, far)
        far.close()
        self.parser = EventParser()
        self.taken = 0

    def read(self, over):
        """Something more; or nothing, once all is over and nothing will come."""
        chunk = b""
        deadline = time.monotonic() + 30
        while not chunk:
            try:
                chunk = self.sock.recv(65536)
                break
            except socket.timeout:
                if over.is_set():
                    return
                assert time.monotonic() < deadline, "nothing came"
        assert chunk, "the hub ended the stream: %r" % self.parser.events[-1:]
        self.parser.feed(chunk)

    def new(self, name):
        """Data of the events of that name which have not been asked for yet."""
        fresh, self.taken = self.parser.events[self.taken :], len(self.parser.events)
        assert not [e for e in fresh if e.type in ("stream-reset", "stream-end")], fresh
        return [int(e.data) for e in fresh if e.type == name]


class Stress:
    def __init__(self, hubs):
        self.here, self.there = hubs
        self.published = 0
        self.over = threading.Event()
        self.problems = []
        self.counts = []

    def guard(self, work, *arguments):
        try:
            work(*arguments)
        except Exception as e:  # told by the test's own thread
            self.problems.append("%s%r: %r" % (work.__name__, arguments, e))
            self.over.set()

    def publish(self):
        channel = self.there.channel()
        while not self.over.is_set():
            reply = channel.admin("POST", "/publish", b'{"event":"e","data":%d}' % (self.published + 1))
            assert reply.status == 200, reply.body
            self.published += 1

    def come_and_go(self, seed):
        """Each stream goes on where the one before it was: every number comes once."""
        rng = random.Random(seed)
        channel = self.here.channel()
        last_id, last, streams = "", None, 0
        while not self.over.is_set():
            reader = Reader(channel, user="u%d" % seed, events=["e"], last_id=last_id)
            streams += 1
            for _ in range(rng.choice((1, 1, 2, 5))):
                reader.read(self.over)
            reader.sock.close()
            for n in reader.new("e"):
                assert last is None or n == last + 1, "%d after %r" % (n, last)
                last = n
            last_id = reader.parser.last_id
            time.sleep(rng.choice((0, 0, 0.001, 0.005)))
        self.counts.append(streams)

    def subscribe(self):
        """A live stream whose user is subscribed and unsubscribed on the other hub: it gets all that is published in between."""
        channel = self.there.channel()
        reader = Reader(self.here.channel(), user="w")
        got, rounds = set(), 0
        while not self.over.is_set():
            assert channel.admin("POST", "/subscribe", b'{"user":"w","events":["e"]}').status == 200
            first = self.published + 2  # the next one may be under way
            while self.published < first + 3 and not self.over.is_set():
                time.sleep(0.001)
            last = self.published
            assert channel.admin("POST", "/unsubscribe", b'{"user":"w","events":["e"]}').status == 200
            while not self.over.is_set() and not got.issuperset(range(first, last + 1)):
                reader.read(self.over)
                got.update(reader.new("e"))
            rounds += 1
        self.counts.append(rounds)


def test_streams_that_come_and_go_lose_nothing(hubs):
    stress = Stress(hubs)
    work = [(stress.publish,), (stress.subscribe,), *((stress.come_and_go, n) for n in range(3))]
    threads = [threading.Thread(target=stress.guard, args=w) for w in work]
    for thread in threads:
        thread.start()
    stress.over.wait(SECONDS)
    stress.over.set()
    for thread in threads:
        thread.join(60)
    assert not stress.problems
    assert stress.published > 100 and len(stress.counts) == 4 and min(stress.counts) > 10, (stress.published, stress.counts)
