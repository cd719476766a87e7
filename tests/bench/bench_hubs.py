# SPDX-License-Identifier: Apache-2.0
"""Hubs on one Redis without httpd in front: what publishes, connects and deliveries cost hubs and Redis as hubs are added, and what a hub
pays for events that none of its streams carries. This process is their httpd, publisher and reader."""

import contextlib
import json
import selectors
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bench_procs import cpu_us, user_memory
from hub_process import HubProcess
from redis_servers import RedisNode

WINDOW = 64  # messages of one publisher under way
DATA = "x" * 100
GROUPS = 64
WORKERS = 16  # that open streams, as httpd's do
FOREIGN = 100000  # messages of other events


@contextlib.contextmanager
def hubs_on_redis(bench, count):
    """(hubs, Redis), all gone afterwards."""
    redis = RedisNode("--appendfsync", "everysec")
    hubs = []
    try:
        url = f"redis://127.0.0.1:{redis.port}/0"
        for _ in range(count):
            hubs.append(HubProcess(bench.hub_program, sanitizer="none", broker=url, threads=1, max_streams=20000))
        yield hubs, redis
    finally:
        for hub in hubs:
            hub.stop()
            hub.end()
            hub.remove()
        redis.remove()


class Meter:
    """Time, and CPU of groups of processes, since it was made."""

    def __init__(self, **pids):
        self.pids = pids
        self.cpu = self._read()
        self.began = time.monotonic()

    def _read(self):
        return {name: sum(map(cpu_us, pids)) for name, pids in self.pids.items()}

    def read(self):
        """(seconds, microseconds by name)"""
        seconds = time.monotonic() - self.began
        return seconds, {name: now - self.cpu[name] for name, now in self._read().items()}


def publish(hub, names, batch=1):
    """Publishes a message to each event of `names` over the admin socket; every one must be acknowledged."""
    bodies = [[{"event": name, "data": DATA} for name in names[i : i + batch]] for i in range(0, len(names), batch)]
    lines = [json.dumps({"method": "POST", "path": "/publish", "body": b if batch > 1 else b[0]}).encode() + b"\n" for b in bodies]
    sent = max(1, WINDOW // batch)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(hub.admin_path)
        answers = s.makefile("rb")
        s.sendall(b"".join(lines[:sent]))
        for i in range(len(lines)):
            answer = json.loads(answers.readline())
            if answer["status"] != 200:
                raise AssertionError(f"refused: {answer}")
            if sent + i < len(lines):
                s.sendall(lines[sent + i])


def publish_everywhere(hubs, event, count, batch=1):
    """One publisher a hub, all at once."""
    threads = [threading.Thread(target=publish, args=(hub, [event] * (count // len(hubs)), batch)) for hub in hubs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


class Readers:
    """Streams over socket pairs, spread over the hubs, each with a user, `events` and a group; counts messages of events[0]."""

    def __init__(self, hubs, count, events):
        self.selector = selectors.EpollSelector()
        self.block = b"event: %s\n" % events[0].encode()
        self.messages = self.opened = 0
        self.events = events
        self.channels = [hubs[w % len(hubs)].channel() for w in range(WORKERS)]
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda w: self._open(self.channels[w], range(w, count, WORKERS)), range(WORKERS)))
        self.read_until(lambda: self.opened == count)

    def _open(self, channel, numbers):
        for i in numbers:
            near, far = socket.socketpair()
            reserved = channel.reserve(user=f"u{i}", events=self.events, groups=[f"g{i % GROUPS}"])
            channel.attach(reserved.ticket, far)
            far.close()
            near.setblocking(False)
            self.selector.register(near, selectors.EVENT_READ)

    def read_until(self, done, limit=60):
        deadline = time.monotonic() + limit
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.opened} streams opened, {self.messages} messages")
            for key, _ in self.selector.select(0.02):
                data = key.fileobj.recv(1 << 18)
                if not data:
                    raise AssertionError("a stream ended")
                self.opened += data.count(b"event: stream-open\n")
                self.messages += data.count(self.block)

    def read_during(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self.read_until(lambda: not thread.is_alive())

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        for channel in self.channels:
            channel.close()


def deliver(hub, readers, event, streams, count):
    """`count` messages from one publisher to all streams."""
    expected = readers.messages + count * streams
    readers.read_during(publish, hub, [event] * count)
    readers.read_until(lambda: readers.messages == expected)


def used_memory(redis):
    return int(next(line for line in redis.say("INFO", "memory").splitlines() if line.startswith("used_memory:")).split(":")[1])


def bare(bench, streams, count):
    """`count` hubs: publishes, then streams that open, then messages to all of them."""
    result = {}
    with hubs_on_redis(bench, count) as (hubs, redis):
        groups = {"hubs": [h.process.pid for h in hubs], "redis": [redis.process.pid]}
        publish_everywhere(hubs, "warm", 500)
        each = Readers(hubs, count, ["carried"])  # a stream on each hub
        for name, event, messages, batch in (
            ("single", "nobody", 20000, 1),
            ("batch", "nobody", 40000, 100),
            ("carried", "carried", 40000, 100),
        ):
            meter = Meter(**groups)
            each.read_during(publish_everywhere, hubs, event, messages, batch)
            each.read_until(lambda: each.messages == (messages * count if event == "carried" else 0))
            seconds, cpu = meter.read()
            result[name] = {"messages_per_second": messages / seconds, "cpu_us": cpu["hubs"] / messages, "aside_us": cpu["redis"] / messages}
        each.close()

        pss = sum(user_memory(h.process.pid) for h in hubs)
        used = used_memory(redis)
        meter = Meter(**groups)
        readers = Readers(hubs, streams, ["bench", "spare", "part"])
        seconds, cpu = meter.read()
        result["open"] = {
            "per_second": streams / seconds,
            "cpu_us": cpu["hubs"] / streams,
            "aside_us": cpu["redis"] / streams,
            "aside_bytes": (used_memory(redis) - used) / streams,
            "user_bytes": (sum(user_memory(h.process.pid) for h in hubs) - pss) / streams,
        }
        messages = max(10, 300000 // streams)
        meter = Meter(**groups)
        deliver(hubs[0], readers, "bench", streams, messages)
        seconds, cpu = meter.read()
        result["fan_out"] = {"deliveries_per_second": messages * streams / seconds, "cpu_us": cpu["hubs"] / (messages * streams)}
        readers.close()
    return result


def foreign(bench, streams, events):
    """A hub with streams of its own while messages of `events` other events are published through another hub."""
    result = {}
    with hubs_on_redis(bench, 2) as ((here, elsewhere), redis):
        publish_everywhere([here, elsewhere], "warm", 500)
        readers = Readers([here], streams, ["own"])
        deliver(here, readers, "own", streams, 10)
        groups = {"here": [here.process.pid], "redis": [redis.process.pid]}
        time.sleep(2)  # cursors and presence are written within a second
        idle = Meter(**groups)
        time.sleep(4)  # what the hub uses in this time is measured
        seconds, cpu = idle.read()
        result["idle"] = {"cpu_us_per_second": cpu["here"] / seconds}
        pss = user_memory(here.process.pid)
        if events:
            names = [f"elsewhere{i % events}" for i in range(FOREIGN)]
            meter = Meter(**groups)
            publish(elsewhere, names, 100)
            seconds, cpu = meter.read()
            more = cpu["here"] - result["idle"]["cpu_us_per_second"] * seconds
            result["foreign"] = {
                "messages_per_second": FOREIGN / seconds,
                "cpu_us_per_second": cpu["here"] / seconds,
                "cpu_us": more / FOREIGN,
                "aside_us": cpu["redis"] / FOREIGN,
            }
        result["foreign_bytes"] = user_memory(here.process.pid) - pss
        meter = Meter(**groups)
        deliver(elsewhere, readers, "own", streams, 300)
        result["own"] = {"cpu_us": meter.read()[1]["here"] / (300 * streams)}
        readers.close()
    return result
