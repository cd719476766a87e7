# SPDX-License-Identifier: Apache-2.0
"""Redis servers of a test's own: single ones, a master with replica and Sentinels, a Cluster of six. Temporary directories, free
loopback ports, the append only file on; each is stopped by its pid."""

import shutil
import signal
import socket
import subprocess

from ports import free_port
from stage import make_directory
from waiting import wait_until


class RedisNode:
    """One redis-server (or Sentinel, by `arguments`)."""

    def __init__(self, *arguments, port=None, program="redis-server"):
        self.dir = make_directory("mod_sse-redis-")
        self.port = port or free_port()
        self.address = ("127.0.0.1", self.port)
        self.program = program
        self.arguments = [str(a).replace("{dir}", str(self.dir)) for a in arguments]
        self.process = None
        self.start()

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.dir), "--logfile", str(self.dir / "log")]
        if self.program == "redis-server" and "--sentinel" not in self.arguments:
            options += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local"]
        files = [a for a in self.arguments if a.endswith(".conf") and "/" in a]
        rest = [a for a in self.arguments if a not in files]
        self.process = subprocess.Popen(
            ["redis-server", *files, *options, *rest], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir
        )
        wait_until(lambda: self.say("PING") == "PONG", 20, "redis-server answers")

    def say(self, *words, timeout=5.0):
        """One command; its answer as text, lists as lists of text, None while it cannot be reached."""
        try:
            with socket.create_connection(self.address, timeout) as s:
                s.settimeout(timeout)
                raw = b"*%d\r\n" % len(words)
                for word in words:
                    data = str(word).encode()
                    raw += b"$%d\r\n%s\r\n" % (len(data), data)
                s.sendall(raw)
                with s.makefile("rb") as f:
                    return _read(f)
        except OSError:
            return None

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(20)

    def signal(self, number):
        self.process.send_signal(number)

    def remove(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        shutil.rmtree(self.dir, ignore_errors=True)


def _read(f):
    line = f.readline().rstrip(b"\r\n").decode("utf-8", "replace")
    if not line:
        raise OSError("closed")
    kind, rest = line[0], line[1:]
    if kind == "$":
        n = int(rest)
        return None if n < 0 else f.read(n + 2)[:-2].decode("utf-8", "replace")
    if kind == "*":
        return [_read(f) for _ in range(int(rest))]
    return rest


class SentinelSet:
    """A master, a replica, three Sentinels that fail over within about two seconds."""

    def __init__(self, name="mymaster"):
        self.name = name
        self.nodes = []
        self.sentinels = []
        self.master = self._add()
        self.replica = self._add("--replicaof", "127.0.0.1 %d" % self.master.port)
        wait_until(lambda: "state=online" in (self.master.say("INFO", "replication") or ""), 20, "the replica has joined")
        for _ in range(3):
            conf = make_directory("mod_sse-sentinel-") / "sentinel.conf"
            conf.write_text(
                "sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 3000\n"
                % (name, self.master.port, name, name)
            )
            self.sentinels.append(RedisNode(str(conf), "--sentinel"))
        for sentinel in self.sentinels:
            wait_until(lambda s=sentinel: s.say("SENTINEL", "replicas", name), 30, "the Sentinels know the replica")
            wait_until(lambda s=sentinel: len(s.say("SENTINEL", "sentinels", name) or []) == 2, 30, "the Sentinels know each other")

    def _add(self, *arguments):
        self.nodes.append(RedisNode(*arguments))
        return self.nodes[-1]

    @property
    def url(self):
        return "redis+sentinel://%s/%s" % (",".join("127.0.0.1:%d" % s.port for s in self.sentinels), self.name)

    def remove(self):
        for node in self.sentinels + self.nodes:
            node.remove()


class Cluster:
    """Three masters with a replica each."""

    def __init__(self):
        self.nodes = []
        for _ in range(6):
            self.nodes.append(
                RedisNode("--cluster-enabled", "yes", "--cluster-port", free_port(), "--cluster-node-timeout", 1500, "--cluster-config-file", "nodes.conf")
            )
        subprocess.run(
            ["redis-cli", "--cluster", "create", *["127.0.0.1:%d" % n.port for n in self.nodes], "--cluster-replicas", "1", "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        for node in self.nodes:
            wait_until(lambda n=node: "cluster_state:ok" in (n.say("CLUSTER", "INFO") or ""), 30, "the cluster is whole")
        wait_until(lambda: len(self.masters_with_replica()) == 3, 30, "every master has its replica")

    def masters_with_replica(self):
        return [n for n in self.nodes if "state=online" in (n.say("INFO", "replication") or "")]

    def master_of(self, tag):
        slot = int(self.nodes[-1].say("CLUSTER", "KEYSLOT", tag) or self.nodes[0].say("CLUSTER", "KEYSLOT", tag))
        for node in self.nodes:
            for first, last, master, *_ in node.say("CLUSTER", "SLOTS") or []:
                if int(first) <= slot <= int(last):
                    return next(n for n in self.nodes if n.port == int(master[1]))
        raise AssertionError("no node has slot %d" % slot)

    @property
    def url(self):
        return "redis+cluster://" + ",".join("127.0.0.1:%d" % n.port for n in self.nodes[:2])

    def remove(self):
        for node in self.nodes:
            node.remove()
