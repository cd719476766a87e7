# SPDX-License-Identifier: Apache-2.0
"""httpd behind other servers: events come through at once, the limits and the log use the client's own address, and ends arrive."""

import json
import time

import pytest
from event_stream import EventStream
from httpd_server import ADMIN, STREAM
from proxies import Proxy
from tls_site import certificates, client_context
from waiting import wait_until

NAMES = ["nginx", "nginx-default", "httpd", "haproxy", "varnish"]
SERVER = "RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\nSSEMaxStreamsPerHost 2\nSSEHeartbeat 1\nSSEPresenceGrace 0\n"
TARGET = "/events?event=e"


@pytest.fixture
def make_proxy(httpd):
    proxies = []

    def make(name, **more):
        proxies.append(Proxy(name, httpd, **more))
        return proxies[-1]

    httpd.configure(server=SERVER + 'LogFormat "%a %U" by_client\nCustomLog "{dir}/clients.log" by_client\n', locations=STREAM + ADMIN).start()
    yield make
    for proxy in proxies:
        proxy.close()


def client(proxy, address, **more):
    """Asks the proxy to close at the end: some would keep the connection."""
    headers = {"Connection": "close", "X-Test-Client": address, **more.pop("headers", {})}
    return EventStream(proxy.address, TARGET, headers=headers, **more)


@pytest.mark.parametrize("name", NAMES)
def test_events_come_through_at_once(httpd, make_proxy, name):
    proxy = make_proxy(name)
    with client(proxy, "192.0.2.1") as s:
        assert s.status == 200 and s.head.get("content-type") == "text/event-stream"
        s.opened()
        admin = httpd.admin()
        for i in range(50):
            began = time.monotonic()
            admin.publish("e", i)
            s.expect("e", str(i))
            assert time.monotonic() - began < 2
        s.wait_comment(2, 10)
    wait_until(lambda: httpd.admin().get("/presence")["streams"] == 0, 10, "the proxy has passed the end on")


@pytest.mark.parametrize("name", NAMES)
def test_the_end_and_the_resume(httpd, make_proxy, name):
    proxy = make_proxy(name)
    with client(proxy, "192.0.2.1") as s:
        s.opened()
        httpd.admin().publish("e", "first")
        s.expect("e", '"first"')
        httpd.graceful()
        last = s.rest()[-1]
        assert (last.type, json.loads(last.data)["reason"]) == ("stream-end", "shutdown")
    httpd.admin().publish("e", "second")
    with client(proxy, "192.0.2.1", headers={"Last-Event-ID": s.last_id}) as s:
        s.opened()
        s.expect("e", '"second"')


@pytest.mark.parametrize("name", NAMES)
def test_limits_and_log_know_the_client(httpd, make_proxy, name):
    proxy = make_proxy(name)
    streams = [client(proxy, "192.0.2.1") for _ in range(2)] + [client(proxy, "192.0.2.2") for _ in range(2)]
    for s in streams:
        s.opened()
    with client(proxy, "192.0.2.1") as busy:
        assert json.loads(busy.rest()[-1].data)["reason"] == "busy"
    with client(proxy, "2001:db8::7") as other:
        other.opened()
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::7"):
        wait_until(lambda: "%s /events" % address in (httpd.dir / "clients.log").read_text(), 5, address + " is in the log")
    for s in streams:
        s.close()


def test_tls_that_ends_in_the_proxy(httpd, make_proxy):
    """httpd sees clear HTTP: the stream is handed over as such."""
    proxy = make_proxy("nginx", certificate=certificates() / "localhost")
    with client(proxy, "192.0.2.1", tls=client_context()) as s:
        s.opened()
        httpd.admin().publish("e", 1)
        s.expect("e", "1")
        assert httpd.admin().get("/status")["streams"]["carried"]["clear"]["ever"] == 1
