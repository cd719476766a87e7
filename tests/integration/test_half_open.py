# SPDX-License-Identifier: Apache-2.0
"""Clients whose machine or network is gone without a word: given up within two heartbeats."""

import time

import pytest
from event_stream import request_bytes
from httpd_server import ADMIN, STREAM
from netns import OtherHost
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
