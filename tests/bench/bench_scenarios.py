# SPDX-License-Identifier: Apache-2.0
"""What script/bench measures: a table of scenarios, each the same work given to several servers."""

from dataclasses import dataclass, field

FAN_OUT = ("warm,10,1", "closed,40,1", "burst,100,16", "paced,{paced},0,{rate}", "socket,{paced},0,{rate},1,1,0,1")
PACED_DELIVERIES = 40000  # a second, about half of what a core can send: latency under load, not under overload
PACED_MESSAGES = 40  # at least: a p99 of few is their worst

HOSTS = ("mod_sse-on-1", "mod_sse-on-2", "mod_sse-on-4", "nchan-on-2", "nchan-on-4")


@dataclass(frozen=True)
class Scenario:
    """`phases` are written for the load client: NAME,messages,window,rate,publishers,batch,directed,socket; {rate} is filled in."""

    name: str
    title: str
    phases: tuple
    streams: dict  # mode -> numbers of streams
    rounds: dict = field(default_factory=lambda: {"quick": 2, "full": 5})
    servers: tuple = ("raw", "nchan-1", "nchan-2", "mod_sse")
    users: bool = False  # each stream has a user of its own, 3 events and 1 group
    logins: bool = False  # each stream brings the session cookie of a Django user
    directed: bool = False  # each message goes to one user
    again: int = 0  # how often all streams leave and come back
    storm: str = ""  # messages missed, streams that stay
    only_mod_sse: tuple = ("socket",)  # phases that the others cannot run: batches, the admin socket
    settle: int = 1000

    @property
    def memory(self):
        """Whether memory per stream means anything: many streams, and little else stored."""
        return self.phases == FAN_OUT

    def arguments(self, streams, server):
        rate = max(1, PACED_DELIVERIES // streams)
        args = ["--streams", str(streams), "--settle", str(self.settle), "--groups", "64"]
        for phase in self.phases:
            if phase.split(",")[0] in self.only_mod_sse and not server.startswith("mod_sse"):
                continue
            args += ["--phase", phase.format(rate=rate, paced=max(rate * 3, PACED_MESSAGES))]
        if self.again:
            args += ["--again", str(self.again)]
        if self.storm:
            args += ["--storm", self.storm]
        return args


SCENARIOS = {
    s.name: s
    for s in (
        Scenario(
            "event",
            "one event to all streams, streams of one event",
            FAN_OUT,
            {"quick": (3000,), "full": (1000, 3000, 9000)},
        ),
        Scenario(
            "user",
            "one event to all streams, each with a user of its own, 3 events and 1 group",
            FAN_OUT,
            {"quick": (3000,), "full": (3000, 9000)},
            users=True,
        ),
        Scenario(
            "tls",
            "one event to all streams: clear, TLS handed to the hub, TLS relayed by httpd, HTTP/2 (two threads each), nchan over TLS",
            FAN_OUT,
            {"quick": (2000,), "full": (2000,)},
            servers=("mod_sse", "mod_sse-tls", "mod_sse-relay", "mod_sse-h2", "nchan-tls-1", "nchan-tls-2"),
        ),
        Scenario(
            "tls-many",
            "the same without HTTP/2, whose threads would be too many",
            FAN_OUT,
            {"quick": (9000,), "full": (9000,)},
            servers=("mod_sse", "mod_sse-tls", "mod_sse-relay", "nchan-tls-1", "nchan-tls-2"),
        ),
        Scenario(
            "directed",
            "each message to one of the users",
            ("warm,100,1,0,1,1,1", "one,2000,1,0,1,1,1", "eight,4000,0,0,8,1,1"),
            {"quick": (1000,), "full": (5000,)},
            servers=("nchan-1", "nchan-2", "mod_sse"),
            users=True,
            directed=True,
        ),
        Scenario(
            "publish",
            "acknowledged publishes with one stream open (mod_sse: committed to its store; nchan: in memory)",
            ("warm,200,1", "p1,2000", "p8,8000,0,0,8", "p64,16000,0,0,64", "p1b100,20000,0,0,1,100", "p8b100,40000,0,0,8,100"),
            {"quick": (1,), "full": (1,)},
            servers=("nchan-1", "nchan-2", "mod_sse"),
            only_mod_sse=("p1b100", "p8b100"),
            settle=200,
        ),
        Scenario(
            "storm",
            "streams return at once, each with 100 missed messages, while others get live ones",
            ("warm,10,1",),
            {"quick": (2000,), "full": (5000,)},
            servers=("nchan-1", "nchan-2", "mod_sse"),
            storm="100,50",
        ),
        Scenario(
            "login",
            "connects with a Django session in PostgreSQL: read by mod_sse, or asked of Django under mod_wsgi",
            (),
            {"quick": (1000,), "full": (5000,)},
            servers=("httpd, a file", "nchan+Django", "mod_sse"),
            logins=True,
            again=3,
            settle=200,
        ),
        Scenario(
            "bare-hubs",
            "1, 2 and 4 hubs on one Redis, without httpd: publishes over admin sockets, connects, one event to all streams",
            (),
            {"quick": (1000,), "full": (3000,)},
            rounds={"quick": 1, "full": 3},
            servers=("hubs-1", "hubs-2", "hubs-4"),
        ),
        Scenario(
            "foreign",
            "a hub with streams of its own while 0 to 100 000 other events are published through another hub",
            (),
            {"quick": (100,), "full": (100,)},
            rounds={"quick": 1, "full": 3},
            servers=("foreign-0", "foreign-1000", "foreign-10000", "foreign-100000"),
        ),
        Scenario(
            "hosts-publish",
            "acknowledged publishes over HTTP through several hosts on one Redis, one stream open",
            ("warm,200,1,0,8", "p8,4000,0,0,8", "p64,8000,0,0,64", "p8b100,40000,0,0,8,100"),
            {"quick": (1,), "full": (1,)},
            rounds={"quick": 1, "full": 3},
            servers=HOSTS,
            only_mod_sse=("p8b100",),
            settle=200,
        ),
        Scenario(
            "hosts",
            "one event to all streams, spread over several hosts on one Redis",
            FAN_OUT,
            {"quick": (3000,), "full": (9000,)},
            rounds={"quick": 1, "full": 3},
            servers=HOSTS,
        ),
    )
}

# Sets that `script/bench NAME` runs.
SETS = {
    "quick": ("event", "user"),
    "hubs": ("bare-hubs", "foreign", "hosts-publish", "hosts"),
    "full": ("event", "user", "tls", "tls-many", "directed", "publish", "storm", "login", "bare-hubs", "foreign", "hosts-publish", "hosts"),
}
