# SPDX-License-Identifier: Apache-2.0
"""``SSE_BROKER``: publishing straight to Redis, with and without httpd on the same Redis."""

import re
import signal
import subprocess
import time

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from mod_sse import Events, KeyConflict, Unavailable
from mod_sse.checks import transport_problems
from mod_sse.transport.broker import BrokerURL, script
from ports import free_port
from redis_servers import Cluster, RedisNode, SentinelSet


@pytest.fixture
def redis():
    node = RedisNode()
    yield node
    node.remove()


@pytest.fixture
def straight(redis):
    with override_settings(SSE_BROKER=f"redis://127.0.0.1:{redis.port}/0?prefix=py:", SSE_TIMEOUT=3, SSE_ADMIN_URL="unix:///nowhere/admin.sock"):
        yield redis


def history(redis, channel):
    entries = redis.say("XRANGE", "py:{default}:h:" + channel, "-", "+")
    return [fields[1].split("\n", 1)[1] for _, fields in entries]


def test_a_message_is_stored_and_numbered(straight):
    first = Events.publish("news", {"n": 12345678901234567890})
    second = Events.publish("news", "é")
    assert re.fullmatch("[0-9a-f]+-1", first) and re.fullmatch("[0-9a-f]+-2", second)
    assert history(straight, "e:news") == ['news{"n":12345678901234567890}e:news', 'news"é"e:news']


def test_addressees_and_broadcasts(straight):
    Events.broadcast("all", 1)
    assert history(straight, "b:") == ["all1b:"]


def test_a_key_counts_once(straight):
    first = Events.publish("news", 1, key="k")
    assert Events.publish("news", 1, key="k") == first
    with pytest.raises(KeyConflict):
        Events.publish("news", 2, key="k")
    assert len(history(straight, "e:news")) == 1


def test_flushed_scripts_are_sent_again(straight):
    Events.publish("news", 1)
    straight.say("SCRIPT", "FLUSH")
    Events.publish("news", 2)
    Events.publish("news", 3)
    assert len(history(straight, "e:news")) == 3


def test_a_server_that_is_away_or_full(straight):
    Events.publish("news", 1)
    straight.say("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(Unavailable, match="OOM"):
        Events.publish("news", 2)
    straight.say("CONFIG", "SET", "maxmemory", 0)
    straight.kill()
    with pytest.raises(Unavailable):
        Events.publish("news", 3)
    straight.start()
    Events.publish("news", 4)
    assert len(history(straight, "e:news")) == 2


def test_httpd_on_the_same_redis_delivers(straight, make_httpd):
    httpd = make_httpd()
    httpd.configure(f"SSEBroker redis://127.0.0.1:{straight.port}/0?prefix=py:\n").start()
    with httpd.stream("/events?event=news") as stream:
        stream.opened()
        sent = Events.publish("news", {"a": 1})
        assert stream.expect("news", '{"a":1}').id == sent
        assert httpd.admin().request("POST", "/publish", {"event": "news", "data": {"a": 1}, "key": "same"}).status == 200
        stream.expect("news", '{"a":1}')
        # The two ways agree on what a repeat is.
        Events.publish("news", {"a": 1}, key="same")
        Events.publish("news", "end")
        stream.expect("news", '"end"')


def test_the_script_is_what_the_hub_runs(tmp_path):
    """One source: the hub's table is made from the same files."""
    from mod_sse.transport.broker import LUA

    made = subprocess.run(["sh", str(LUA / "embed"), str(LUA)], check=True, capture_output=True, text=True).stdout

    def bare(text):
        return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("--")]

    own = re.search(r'\{"publish",\n(.*?)\},\n', made, re.S)[1]
    unquoted = [line[1:-3].replace('\\"', '"').replace("\\\\", "\\") for line in own.splitlines()]
    assert bare(script("publish")) == unquoted


@pytest.mark.parametrize("url", [7, "http://h", "redis://", "redis://h:x", "redis://h/x", "redis+sentinel://h", "redis://h?wait=x", "file:/nowhere/url"])
def test_bad_urls_are_told(url):
    with pytest.raises(ImproperlyConfigured, match="SSE_BROKER"):
        BrokerURL(url)
    with override_settings(SSE_BROKER=url):
        assert any("SSE_BROKER" in problem.msg for problem in transport_problems())


def test_a_url_in_a_file(tmp_path):
    (tmp_path / "url").write_text("redis://:pw@h:7/3\n")
    assert BrokerURL(f"file:{tmp_path}/url").hosts == [("h", 7)]
    (tmp_path / "url").write_text("http://h")
    with pytest.raises(ImproperlyConfigured, match="begins with none of"):
        BrokerURL(f"file:{tmp_path}/url")


def test_parts_of_a_url():
    url = BrokerURL("redis+sentinel://me:p%40ss@a,b:27000/mymaster/2?prefix=x:&wait=1")
    assert (url.user, url.password, url.master, url.db, url.prefix, url.wait) == ("me", "p@ss", "mymaster", 2, "x:", 1)
    assert url.hosts == [("a", 26379), ("b", 27000)]
    assert BrokerURL("redis+unix://:pw@/run/redis.sock?db=1").path == "/run/redis.sock"


@pytest.fixture(params=["unix", "sentinel", "cluster"])
def elsewhere(request):
    """(URL, how to look at what is stored) for each kind of SSEBroker URL besides plain ones."""
    if request.param == "unix":
        made = RedisNode("--unixsocket", "{dir}/sock", "--unixsocketperm", "777")
        url, look = f"redis+unix://{made.dir}/sock?prefix=py:", made
    elif request.param == "sentinel":
        made = SentinelSet()
        # The replica must have a message before it counts as accepted.
        url, look = f"{made.url}?prefix=py:&wait=1", made.master
    else:
        made = Cluster()
        url, look = f"{made.url}?prefix=py:&wait=1", made.master_of("{default}")
    yield url, look
    made.remove()


def test_every_kind_of_url(elsewhere):
    url, node = elsewhere
    with override_settings(SSE_BROKER=url, SSE_TIMEOUT=10, SSE_ADMIN_URL="unix:///nowhere/admin.sock"):
        first = Events.publish("news", 1, key="k")
        assert Events.publish("news", 1, key="k") == first
        assert len(set(Events.publish_many([{"event": "news", "data": n} for n in (2, 3)]))) == 2
        Events.publish("news", 4, users=[1, 2])
        with pytest.raises(KeyConflict):
            Events.publish("news", 5, key="k")
    assert history(node, "e:news") == ["news1e:news", "news2e:news", "news3e:news"]
    assert node.say("XLEN", "py:{default}:h:u:2") == "1"


def test_httpd_on_the_same_delivers_at_once(elsewhere, make_httpd):
    url, node = elsewhere
    httpd = make_httpd()
    httpd.configure(f"SSEBroker {url}\n").start()
    httpd.log.allow("SSE0202")  # the servers go first
    with override_settings(SSE_BROKER=url, SSE_TIMEOUT=10, SSE_ADMIN_URL="unix:///nowhere/admin.sock"), httpd.stream("/events?event=news") as stream:
        stream.opened()
        sent = Events.publish("news", {"a": 1})
        assert stream.expect("news", '{"a":1}').id == sent


def test_tls(certificate):
    """The certificate is trusted, and bears the host's address, as the hub wants it."""
    key, cert = certificate
    port = free_port()
    node = RedisNode("--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
    try:
        for host, options, good in (
            ("127.0.0.1", f"ca={cert}", True),
            ("127.0.0.1", "", False),
            ("localhost", f"ca={cert}", False),
            ("localhost", "verify=0", True),
        ):
            with override_settings(SSE_BROKER=f"rediss://{host}:{port}/0?prefix=py:&{options}", SSE_TIMEOUT=2):
                if good:
                    assert Events.publish("news", 1)
                else:
                    with pytest.raises(Unavailable, match="certificate"):
                        Events.publish("news", 1)
        assert len(history(node, "e:news")) == 2
    finally:
        node.remove()


def test_too_few_replicas(straight):
    with override_settings(SSE_BROKER=f"redis://127.0.0.1:{straight.port}/0?prefix=py:&wait=1", SSE_TIMEOUT=1.5):
        with pytest.raises(Unavailable, match="too few replicas"):
            Events.publish("news", 1)


def test_a_server_that_hangs_takes_no_longer_than_the_time_out(straight):
    Events.publish("news", 1)
    straight.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        with override_settings(SSE_TIMEOUT=1), pytest.raises(Unavailable, match="is Redis running"):
            Events.publish("news", 2)
        assert time.monotonic() - began < 3
    finally:
        straight.signal(signal.SIGCONT)
