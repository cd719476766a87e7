#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several hubs on one Redis, without httpd: acknowledged publishes a second, deliveries a second, and what events without a local
stream cost a hub. Prints a table and judges nothing; all of it shares this machine's processors.

  bench_hubs.py PROGRAM [--streams N] [--messages N]      PROGRAM: build/release/sse-hub
"""

import argparse
import json
import os
import pathlib
import selectors
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from hub_process import HubProcess  # noqa: E402
from redis_servers import RedisNode  # noqa: E402

WINDOW = 64  # requests of one publisher under way
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def publish(path, event, count):
    """Sends `count` publishes over an admin socket, WINDOW of them under way; each must be acknowledged."""
    line = json.dumps({"method": "POST", "path": "/publish", "body": {"event": event, "data": "x" * 80}}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        answers = s.makefile("rb")
        sent = min(WINDOW, count)
        s.sendall(line * sent)
        for _ in range(count):
            answer = answers.readline()
            assert b'"status":200' in answer.replace(b" ", b""), answer
            if sent < count:
                s.sendall(line)
                sent += 1


def publish_everywhere(hubs, event, count):
    threads = [threading.Thread(target=publish, args=(h.admin_path, event, count // len(hubs))) for h in hubs]
    begun = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return time.monotonic() - begun


class Readers:
    """Streams over socket pairs, spread over the hubs; counts what comes."""

    def __init__(self, hubs, count, event):
        self.selector = selectors.EpollSelector()
        self.messages = 0
        self.count = count
        self.opened = 0
        channels = [h.channel() for h in hubs]
        for i in range(count):
            channel = channels[i % len(hubs)]
            near, far = socket.socketpair()
            reserved = channel.reserve(events=[event])
            channel.attach(reserved.ticket, far)
            far.close()
            near.setblocking(False)
            self.selector.register(near, selectors.EVENT_READ)
        self.channels = channels
        self.read_until(lambda: self.opened == count)

    def read_until(self, condition, limit=120):
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, "%d opened, %d messages" % (self.opened, self.messages)
            for key, _ in self.selector.select(1):
                data = key.fileobj.recv(1 << 18)
                assert data, "a stream ended"
                self.opened += data.count(b"event: stream-open")
                self.messages += data.count(b"event: bench")

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        for channel in self.channels:
            channel.close()


def measure(program, redis, n_hubs, streams, messages):
    url = "redis://127.0.0.1:%d/0?prefix=b%d:" % (redis.port, n_hubs)
    hubs = [HubProcess(program, sanitizer="none", broker=url, threads=1, max_streams=20000) for _ in range(n_hubs)]
    try:
        pids = [h.process.pid for h in hubs]
        publish_everywhere(hubs, "warm", 500)
        before, redis_before = [cpu_seconds(p) for p in pids], cpu_seconds(redis.process.pid)
        took = publish_everywhere(hubs, "nobody", messages)
        used = sum(cpu_seconds(p) - b for p, b in zip(pids, before))
        redis_used = cpu_seconds(redis.process.pid) - redis_before
        print("%d hubs: %6d publishes/s; CPU a publish: hubs %5.1f us, Redis %5.1f us" % (
            n_hubs, messages / took, used / messages * 1e6, redis_used / messages * 1e6))
        if n_hubs > 1:
            before = cpu_seconds(pids[-1])
            publish(hubs[0].admin_path, "elsewhere", messages)
            print("        a hub without streams of it spends %.2f us an event" % ((cpu_seconds(pids[-1]) - before) / messages * 1e6))
        readers = Readers(hubs, streams, "bench")
        rounds = max(10, 200000 // streams)
        before = [cpu_seconds(p) for p in pids]
        begun = time.monotonic()
        thread = threading.Thread(target=publish, args=(hubs[0].admin_path, "bench", rounds))
        thread.start()
        readers.read_until(lambda: readers.messages == rounds * streams)
        took = time.monotonic() - begun
        thread.join()
        used = sum(cpu_seconds(p) - b for p, b in zip(pids, before))
        print("        %d streams: %7d deliveries/s; hubs' CPU a delivery %.2f us" % (
            streams, rounds * streams / took, used / (rounds * streams) * 1e6))
        readers.close()
    finally:
        for hub in hubs:
            hub.stop()
            hub.end()
            hub.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--streams", type=int, default=3000)
    parser.add_argument("--messages", type=int, default=20000)
    given = parser.parse_args()
    redis = RedisNode("--appendfsync", "everysec")
    try:
        for n in (1, 2, 4):
            measure(pathlib.Path(given.program), redis, n, given.streams, given.messages)
    finally:
        redis.remove()


if __name__ == "__main__":
    main()
