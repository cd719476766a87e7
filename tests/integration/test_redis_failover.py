# SPDX-License-Identifier: Apache-2.0
"""Redis Sentinel and Redis Cluster under two httpd instances: a master dies, a shard dies."""

import threading
import time

import pytest
from httpd_server import ADMIN, BASIC, basic
from redis_servers import Cluster, SentinelSet
from waiting import wait_until

REALMS = ["default", "north", "south", "east", "west"]


def locations():
    text = ""
    for realm in REALMS:
        text += "<Location /%s/events>\n    SetHandler sse-stream\n    SSERealm %s\n    SSEAllowEvents **\n%s</Location>\n" % (realm, realm, BASIC)
        text += ADMIN.replace("/sse-admin", "/%s/sse-admin" % realm).replace("SetHandler", "SSERealm %s\n    SetHandler" % realm)
    return text


def two_hosts(make_httpd, url):
    hosts = []
    for _ in range(2):
        host = make_httpd()
        host.add_users("ann")
        for code in ("SSE0202", "SSE0402", "SSE0403"):
            host.log.allow(code)
        hosts.append(host.configure("SSEBroker %s\n" % url, locations() + ADMIN).start())
    return hosts


def stream_of(host, realm, last_id=None):
    headers = basic("ann")
    if last_id:
        headers["Last-Event-ID"] = last_id
    stream = host.stream("/%s/events?event=tick" % realm, headers=headers)
    stream.opened()
    return stream


def publish(host, realm, number, within=20.0):
    """As a publisher does: repeated with its key until it is taken. Returns the id."""
    deadline = time.monotonic() + within
    admin = host.admin("/%s/sse-admin" % realm)
    while True:
        answer = admin.request("POST", "/publish", {"event": "tick", "data": number, "key": str(number)})
        if answer.status == 200:
            return answer.json["id"]
        assert answer.status == 503, answer.body
        assert time.monotonic() < deadline, "not taken within %d s" % within
        time.sleep(0.05)  # a publisher's pause between attempts


def read_ticks(stream, upto):
    """Numbers until `upto`, and whether a reset was among them."""
    numbers, reset = [], False
    while not numbers or numbers[-1] != upto:
        event = stream.next(timeout=20)
        if event.type == "stream-reset":
            reset = True
        elif event.type == "tick":
            numbers.append(int(event.data))
    return numbers, reset


@pytest.fixture
def sentinels():
    servers = SentinelSet()
    yield servers
    servers.remove()


@pytest.fixture
def cluster():
    servers = Cluster()
    yield servers
    servers.remove()


@pytest.mark.parametrize("wait", [0, 1])
def test_a_master_dies(make_httpd, sentinels, wait):
    """What replication had is delivered once; what it had not is told by a reset; never silence."""
    hosts = two_hosts(make_httpd, sentinels.url + "?wait=%d" % wait)
    streams = [stream_of(h, "default") for h in hosts]
    for i in range(50):
        publish(hosts[i % 2], "default", i)
    sentinels.master.kill()
    if wait:
        # With no replica left nothing can be acknowledged until another one has joined.
        wait_until(lambda: "role:master" in (sentinels.replica.say("INFO", "replication") or ""), 30, "the replica is master")
        sentinels._add("--replicaof", "127.0.0.1 %d" % sentinels.replica.port)
    for i in range(50, 100):
        publish(hosts[i % 2], "default", i, within=40)
    for stream in streams:
        numbers, reset = read_ticks(stream, 99)
        assert sorted(set(numbers)) == numbers, "each once and in order"
        assert reset or numbers == list(range(100))
        if wait:
            assert not reset
        stream.close()


def test_a_shard_dies(make_httpd, cluster):
    """Other realms go on meanwhile; the realm of the dead shard is back with its successor."""
    hosts = two_hosts(make_httpd, cluster.url)
    streams = {(h, realm): stream_of(h, realm) for h in hosts for realm in REALMS}
    masters = {realm: cluster.master_of(realm) for realm in REALMS}
    assert len(set(masters.values())) > 1, "the realms are spread"
    for i in range(20):
        for realm in REALMS:
            publish(hosts[i % 2], realm, i)
    victim = masters["north"]
    victim.kill()
    for realm in REALMS:
        if masters[realm] is not victim:
            assert hosts[0].admin("/%s/sse-admin" % realm).request("POST", "/publish", {"event": "tick", "data": 20, "key": "20"}).status == 200
    for i in range(20, 40):
        for realm in REALMS:
            publish(hosts[i % 2], realm, i, within=40)
    for stream in streams.values():
        numbers, reset = read_ticks(stream, 39)
        assert sorted(set(numbers)) == numbers
        assert reset or numbers == list(range(40))
        stream.close()


def test_messages_keep_to_their_shard(make_httpd, cluster):
    """Where the servers have it, channels are sharded: other shards hear nothing of a realm's messages."""
    hosts = two_hosts(make_httpd, cluster.url)
    streams = [stream_of(hosts[0], realm) for realm in REALMS]
    for i, realm in enumerate(REALMS):
        publish(hosts[1], realm, i)
        assert streams[i].expect("tick").data == str(i)
        owner = cluster.master_of(realm)
        channel = "sse:{%s}:p:e:tick" % realm
        for node in cluster.masters_with_replica():
            assert (channel in node.say("PUBSUB", "SHARDCHANNELS")) == (node is owner)
            assert node.say("PUBSUB", "CHANNELS", "*:p:*") == []
    for stream in streams:
        stream.close()


def take_over(replica):
    """A busy cluster may let a handover time out (5 s): then it is asked for again."""
    asked = [0.0]

    def done():
        if "role:master" in replica.say("INFO", "replication"):
            return True
        if time.monotonic() - asked[0] > 6:
            asked[0] = time.monotonic()
            assert replica.say("CLUSTER", "FAILOVER") == "OK"
        return False

    wait_until(done, 40, "the replica has taken over")


def test_a_shard_is_handed_over(make_httpd, cluster):
    """CLUSTER FAILOVER, as before maintenance: nothing is lost and nobody is told a reset, and back again."""
    hosts = two_hosts(make_httpd, cluster.url + "?lease=300")
    stream = stream_of(hosts[0], "north")
    first = cluster.master_of("north")
    for round_ in range(2):
        old = cluster.master_of("north")
        replica = next(n for n in cluster.nodes if "master_port:%d" % old.port in (n.say("INFO", "replication") or ""))
        wait_until(lambda r=replica: "master_link_status:up" in r.say("INFO", "replication"), 20, "the replica follows")
        for i in range(20 * round_, 20 * round_ + 20):
            publish(hosts[1], "north", i)
            if i % 20 == 10:
                take_over(replica)
    assert cluster.master_of("north") is first
    assert read_ticks(stream, 39) == (list(range(40)), False)
    stream.close()


def move_slot(cluster, tag, between_keys):
    """As `redis-cli --cluster reshard` does it, a key at a time."""
    old = cluster.master_of(tag)
    new = next(n for n in cluster.masters_with_replica() if n is not old)
    slot = old.say("CLUSTER", "KEYSLOT", tag)
    old_id, new_id = old.say("CLUSTER", "MYID"), new.say("CLUSTER", "MYID")
    assert new.say("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id) == "OK"
    assert old.say("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id) == "OK"
    while True:
        keys = old.say("CLUSTER", "GETKEYSINSLOT", slot, 1)
        if not keys:
            break
        assert old.say("MIGRATE", "127.0.0.1", new.port, keys[0], 0, 5000) == "OK"
        between_keys()
    for node in (new, old):
        assert node.say("CLUSTER", "SETSLOT", slot, "NODE", new_id) == "OK"


def test_a_slot_moves(make_httpd, cluster):
    """A hub that only listens is told by its server where its channels went."""
    hosts = two_hosts(make_httpd, cluster.url + "?lease=300")  # no script to renew a lease meanwhile
    owner = cluster.master_of("north")
    # A realm of which nothing was of interest for a while is no other than a new one.
    stream_of(hosts[0], "north").close()
    wait_until(lambda: not owner.say("PUBSUB", "SHARDCHANNELS", "*north*"), 20, "the hub has let go of the realm")
    stream = stream_of(hosts[0], "north")
    for i in range(10):
        publish(hosts[1], "north", i)
    assert read_ticks(stream, 9) == (list(range(10)), False)
    wait_until(lambda: " 10 " in (owner.say("HGET", "sse:{north}:t", "ann") or ""), 20, "the cursor is saved: the hub has nothing more to say")
    move_slot(cluster, "north", lambda: None)
    for i in range(10, 30):
        publish(hosts[1], "north", i)
    assert read_ticks(stream, 29) == (list(range(10, 30)), False)
    stream.close()


def test_a_slot_moves_under_load(make_httpd, cluster):
    """What is not taken meanwhile is not there by half: each number comes once, and history has each once."""
    hosts = two_hosts(make_httpd, cluster.url)
    stream = stream_of(hosts[0], "north")
    first = stream.last_id
    publish(hosts[1], "north", 0)
    moved, tried, sent = threading.Event(), threading.Event(), [0]

    def publisher():
        while not moved.is_set() or sent[-1] < 20:
            number = sent[-1] + 1
            answer = hosts[1].admin("/north/sse-admin").request("POST", "/publish", {"event": "tick", "data": number, "key": str(number)})
            if answer.status == 200:
                sent.append(number)
            tried.set()

    def between_keys():
        tried.clear()
        tried.wait(0.5)  # an attempt, unless it waits for the slot

    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        move_slot(cluster, "north", between_keys)
    finally:
        moved.set()
        thread.join(60)
    assert not thread.is_alive()
    assert read_ticks(stream, sent[-1]) == (sent, False)
    stream.close()
    again = stream_of(hosts[1], "north", last_id=first)
    assert read_ticks(again, sent[-1]) == (sent, False)
    again.close()
