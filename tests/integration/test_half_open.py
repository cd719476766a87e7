# SPDX-License-Identifier: Apache-2.0
"""Clients whose machine or network is gone without a word: given up within two heartbeats. And clients that are there and do not
read, who are not taken for these."""

import socket
import time

import pytest
from event_stream import request_bytes
from httpd_server import ADMIN, STREAM
from netns import OtherHost
from tls_site import TlsSite, client_context
from waiting import wait_until

HEARTBEAT = 3


@pytest.fixture
def other_host():
    host = OtherHost()
    yield host
    host.remove()


def read_until(s, mark):
    s.settimeout(10)
    text = b""
    while mark not in text:
        chunk = s.recv(65536)
        assert chunk, text
        text += chunk


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with unread messages"])
def test_pulled_cable(httpd, other_host, busy):
    httpd.configure(
        server="SSEHeartbeat %d\nSSEPresenceGrace 0\nListen %s:{port}" % (HEARTBEAT, other_host.here), locations=STREAM + ADMIN
    ).start()
    admin = httpd.admin()
    gone = [other_host.connect(httpd.port) for _ in range(5)]
    for s in gone:
        s.sendall(request_bytes("GET", "/events?event=e", []))
        read_until(s, b"stream-open")
    with httpd.stream("/events?event=e") as local:
        local.opened()
        assert admin.get("/presence")["streams"] == 6
        other_host.pull_cable()
        began = time.monotonic()
        if busy:
            admin.publish("e", "x" * 1000)
            local.expect("e")
        wait_until(lambda: admin.get("/presence")["streams"] == 1, 4 * HEARTBEAT, "the lost clients are given up")
        took = time.monotonic() - began
        assert took < 2 * HEARTBEAT + 1.5, took
        admin.publish("e", "still")
        assert local.expect("e").data == '"still"'
    for s in gone:
        s.close()


def open_tls(host, site):
    raw = host.connect(site.port)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s = client_context().wrap_socket(raw, server_hostname="localhost")
    s.sendall(request_bytes("GET", "/events?event=e", []))
    read_until(s, b"stream-open")
    return s


def fill(admin, n):
    """More than a client with a small buffer has room for, less than the server may hold for it."""
    for i in range(n):
        admin.publish("e", "%d %s" % (i, "f" * 1000))


WAYS = {"tls": "", "relayed": "SSETLSHandoff Off\n"}


@pytest.mark.parametrize("way", WAYS)
def test_who_has_no_room_is_not_gone(make_httpd, way):
    """A client that answers the kernel but does not read (a stopped program) keeps its stream, with all that was sent to it."""
    site = TlsSite(make_httpd(), server="SSEHeartbeat 1\n" + WAYS[way]).start()
    n = 100
    with site.stream(rcvbuf=4096) as s:
        s.opened()
        assert site.carried() == {way: 1}
        clock = site.httpd.stream("/events?event=other")
        fill(site.admin(), n)
        clock.wait_comment(4, timeout=20)
        assert site.admin().get("/presence")["streams"] == 2
        for i in range(n):
            assert s.next().data.startswith('"%d ' % i)
        clock.wait_comment(7, timeout=20)
        site.admin().publish("e", "still")
        s.expect("e", '"still"')
        clock.close()


@pytest.mark.parametrize("way", WAYS)
def test_who_had_no_room_and_goes(make_httpd, other_host, way):
    site = TlsSite(make_httpd(), server="SSEHeartbeat 2\nSSEPresenceGrace 0\n" + WAYS[way], host=other_host.here).start()
    s = open_tls(other_host, site)
    with site.httpd.stream("/events?event=other") as clock:
        fill(site.admin(), 100)
        clock.wait_comment(3, timeout=20)
        assert site.admin().get("/presence")["streams"] == 2
        other_host.pull_cable()
        wait_until(lambda: site.admin().get("/presence")["streams"] == 1, 40, "the lost client is given up")
    s.close()


@pytest.mark.parametrize("mpm,way", [("event", "relayed"), ("worker", "parked")])
def test_carried_client_that_is_gone(make_httpd, other_host, mpm, way):
    """httpd's Timeout is what a parked one gets."""
    server = "SSETLSHandoff Off\nSSEHeartbeat %d\nTimeout %d\nSSEPresenceGrace 0\n" % (HEARTBEAT, HEARTBEAT)
    site = TlsSite(make_httpd(mpm), server=server, host=other_host.here).start()
    s = open_tls(other_host, site)
    assert site.carried() == {way: 1}
    other_host.pull_cable()
    began = time.monotonic()
    wait_until(lambda: site.admin().get("/presence")["streams"] == 0, 4 * HEARTBEAT, "the lost client is given up")
    assert time.monotonic() - began < 2 * HEARTBEAT + 2.5
    s.close()
