# SPDX-License-Identifier: Apache-2.0
"""Several httpd instances on one Redis behave as one host."""

import os
import signal
import time

import pytest
from httpd_server import ADMIN, BASIC, basic
from redis_servers import RedisNode
from waiting import wait_until

LOCATIONS = "<Location /events>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n" + ADMIN


@pytest.fixture(scope="module")
def redis():
    node = RedisNode()
    yield node
    node.remove()


@pytest.fixture(scope="module", params=[2, 4])
def hosts(request, redis, make_shared_httpd):
    servers = []
    for _ in range(request.param):
        server = make_shared_httpd()
        server.add_users("ann", "bob", "cem")
        server.configure("SSEBroker redis://127.0.0.1:%d/0?prefix=h%d:&lease=3\nSSEPresenceGrace 1\n" % (redis.port, request.param), LOCATIONS)
        servers.append(server.start())
    return servers


def stream_of(server, user, query="", last_id=None):
    headers = basic(user)
    if last_id:
        headers["Last-Event-ID"] = last_id
    stream = server.stream("/events" + query, headers=headers)
    stream.opened()
    return stream


def test_a_message_reaches_streams_of_every_host(hosts):
    streams = [stream_of(h, "ann", "?event=news") for h in hosts]
    for i, host in enumerate(hosts):
        host.admin().publish("news", i)
        for stream in streams:
            stream.expect("news", str(i))
    hosts[-1].admin().publish("note", "direct", users=["ann"])
    hosts[0].admin().broadcast("all", 1)
    for stream in streams:
        stream.expect("note", '"direct"')
        stream.expect("all", "1")
        stream.close()


def test_a_subscription_made_elsewhere_does_not_miss_the_next_publish(hosts):
    for i in range(20):
        with stream_of(hosts[i % len(hosts)], "bob") as stream:
            event = "race:%d" % i
            hosts[(i + 1) % len(hosts)].admin().subscribe(event, user="bob")
            hosts[(i + 1) % len(hosts)].admin().publish(event, i)
            stream.expect(event, str(i))


def test_a_client_resumes_on_another_host(hosts):
    with stream_of(hosts[0], "ann", "?event=move") as stream:
        hosts[1].admin().publish("move", 0)
        stream.expect("move", "0")
        last = stream.last_id
    for i in range(1, 6):
        hosts[i % len(hosts)].admin().publish("move", i)
    with stream_of(hosts[-1], "ann", "?event=move", last_id=last) as stream:
        for i in range(1, 6):
            stream.expect("move", str(i))


def test_streams_of_known_channels_read_no_history(hosts, redis):
    """What a hub is subscribed to it has been told: only channels that are new to it are read from Redis."""

    def read():
        """How often the length of a channel was asked for, as reading and publishing do."""
        lines = redis.say("INFO", "commandstats").splitlines()
        return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith("cmdstat_xlen:"))

    with stream_of(hosts[0], "ann", "?event=known") as first:
        hosts[1].admin().publish("known", 1)
        first.expect("known", "1")
        before = read()
        with stream_of(hosts[0], "ann", "?event=known", last_id=first.last_id) as second:
            assert read() == before
            with stream_of(hosts[0], "ann", "?event=known&event=new", last_id=first.last_id) as third:
                assert read() == before + 1
                hosts[1].admin().publish("known", 2)
                hosts[1].admin().publish("new", 3)
                for stream in (first, second, third):
                    stream.expect("known", "2")
                third.expect("new", "3")


def test_groups_and_their_messages(hosts):
    with stream_of(hosts[0], "cem") as stream:
        hosts[1].admin().call("PUT", "/groups/crew", {"users": ["cem"]})
        hosts[-1].admin().publish("note", "to crew", groups=["crew"])
        stream.expect("note", '"to crew"')
        hosts[1].admin().subscribe("crew:event", group="crew")
        hosts[0].admin().publish("crew:event", 7)
        stream.expect("crew:event", "7")
        hosts[1].admin().call("DELETE", "/groups/crew")


def test_presence_is_over_all_hosts(hosts):
    admins = [h.admin() for h in hosts]
    assert admins[0].get("/presence")["hubs"] == len(hosts)
    a, b = stream_of(hosts[0], "ann"), stream_of(hosts[1], "ann")

    def seen(streams):
        return all(x.get("/presence/users/ann")["streams"] == streams for x in admins)

    wait_until(lambda: seen(2), 5, "both streams are seen everywhere")
    b.close()
    wait_until(lambda: seen(1), 5, "one is seen everywhere")
    wait_until(lambda: all(x.get("/presence/users")["users"] == ["ann"] for x in admins), 8, "only ann is online")
    a.close()
    wait_until(lambda: not any(x.get("/presence/users/ann")["online"] for x in admins), 8, "ann is gone everywhere")


def test_a_disconnect_reaches_the_other_hosts(hosts):
    streams = [stream_of(h, "bob") for h in hosts]
    hosts[0].admin().post("/disconnect", {"user": "bob"})
    for stream in streams:
        stream.expect("stream-end")
        stream.close()


def test_a_killed_hub_disappears(hosts):
    stream = stream_of(hosts[1], "cem")
    admin = hosts[0].admin()
    wait_until(lambda: admin.get("/presence/users/cem")["online"], 5, "cem is online")
    hosts[1].log.allow("SSE")
    begun = time.monotonic()
    os.kill(hosts[1].hub_pid(), signal.SIGKILL)
    wait_until(lambda: not admin.get("/presence/users/cem")["online"], 10, "cem is gone with the hub")
    assert time.monotonic() - begun < 8
    stream.close()
    wait_until(hosts[1].healthy, 20, "the other hub is there again")
    wait_until(lambda: admin.get("/presence")["hubs"] == len(hosts), 10, "the hubs are counted again")


def test_redis_goes_and_comes_back(hosts, redis):
    """Streams stay, publishes get 503, nothing acknowledged is lost, nothing comes twice."""
    streams = [stream_of(h, "ann", "?event=tick") for h in hosts]
    admin = hosts[0].admin()
    for h in hosts:
        h.log.allow("SSE0202")
    sent = [admin.publish("tick", 0) and 0]
    redis.kill()
    wait_until(lambda: admin.request("POST", "/publish", {"event": "tick", "data": -1}).status == 503, 5, "publishes are refused")
    assert admin.request("GET", "/health").status == 503
    redis.start()
    wait_until(lambda: all(h.healthy() for h in hosts), 20, "all hubs are back")
    for i in range(1, 30):
        hosts[i % len(hosts)].admin().publish("tick", i)
        sent.append(i)
    for stream in streams:
        for i in sent:
            stream.expect("tick", str(i))
        stream.close()
