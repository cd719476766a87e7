# SPDX-License-Identifier: Apache-2.0
"""Several hosts that share a Redis, as servers of script/bench: streams and publishers are spread over them, and Redis' CPU is told
apart. A host is one httpd with its hub, or one nginx with nchan, each with one thread for its streams; Redis is the same for both."""

from bench_servers import ModSse, Nchan, Server
from redis_servers import RedisNode


class Hosts(Server):
    def __init__(self, make, count):
        self.redis = RedisNode("--appendfsync", "everysec")
        self.hosts = [make(self.redis.port) for _ in range(count)]
        self.kinds = self.hosts[0].kinds

    def start(self):
        for host in self.hosts:
            host.start()

    def prepare(self, scenario, streams):
        self.hosts[0].prepare(scenario, streams)

    def ports(self):
        return [host.port for host in self.hosts]

    def pids(self):
        return [pid for host in self.hosts for pid in host.pids()]

    def aside(self):
        return [self.redis.process.pid]

    def problems(self):
        return "\n".join(host.problems() for host in self.hosts)

    def stop(self):
        try:
            for host in self.hosts:
                host.stop()
        finally:
            self.redis.remove()

    def load_args(self, scenario):
        return self.hosts[0].load_args(scenario)


def mod_sse_hosts(bench, count):
    return Hosts(lambda port: ModSse(bench, f"SSEBroker redis://127.0.0.1:{port}\nSSEHubThreads 1"), count)


def nchan_hosts(bench, count):
    return Hosts(lambda port: Nchan(bench, 1, f"redis://127.0.0.1:{port}"), count)
