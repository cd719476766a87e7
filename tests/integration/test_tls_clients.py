# SPDX-License-Identifier: Apache-2.0
"""Clients that nobody here wrote, over TLS: each gets a thousand messages in order, once, over several streams that the server
ends by their age."""

import json
import subprocess
import threading

import pytest
from event_parser import EventParser
from event_stream import EventStream
from s_client import SClient
from stage import TOP
from tls_site import TlsSite, certificates, client_context
from waiting import wait_until

N = 1000
TARGET = "/events?event=e"
CA = str(certificates() / "ca.pem")


@pytest.fixture
def site(make_httpd):
    server = "Protocols h2 h2c http/1.1\nSSEMaxAge 1\nSSERetry 200\nSSEParkedStreams 4\n"
    return TlsSite(make_httpd(), server=server, modules=["http2"]).start()


class Publisher(threading.Thread):
    """A thousand messages over some seconds, so that several streams share them."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site = site
        self.stop = threading.Event()

    def run(self):
        with self.site.httpd.admin_socket() as admin:
            for i in range(0, N, 20):
                admin.call("POST", "/publish", [{"event": "e", "data": k} for k in range(i, i + 20)])
                if self.stop.wait(0.06):
                    return


class Reader:
    """What has come so far, over all of a client's streams."""

    def __init__(self):
        self.numbers = []
        self.streams = 0
        self.last_id = None

    def take(self, events):
        for e in events:
            if e.type == "e":
                self.numbers.append(int(e.data))
            elif e.type == "stream-open":
                self.streams += 1
                assert json.loads(e.data)["resumed"] == (self.streams > 1)
            else:
                assert e.type == "stream-end", e
            self.last_id = e.id

    def done(self):
        return len(self.numbers) >= N


def reconnect_until_done(site, one_stream):
    """one_stream(last id or None) -> the events of one stream, up to its end."""
    reader = Reader()
    reader.take(one_stream(None))
    publisher = Publisher(site)
    publisher.start()
    while not reader.done():
        reader.take(one_stream(reader.last_id))
    publisher.stop.set()
    publisher.join()
    assert reader.numbers == list(range(N))
    assert reader.streams >= 3
    return site.carried()


def parsed(raw):
    parser = EventParser()
    parser.feed(raw)
    return parser.events


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_python(site, version):
    context = client_context(version)

    def one_stream(last_id):
        with EventStream(site.address, TARGET, tls=context, headers={"Last-Event-ID": last_id} if last_id else {}) as s:
            events = s.rest(20)
            assert not s.connection.cut
            return events

    assert set(reconnect_until_done(site, one_stream)) == {"tls"}


@pytest.mark.parametrize("options,ways", [(["--http1.1"], {"tls"}), (["--http1.1", "--tls-max", "1.2"], {"tls"}), (["--http2"], {"parked"})], ids=str)
def test_curl(site, options, ways):
    def one_stream(last_id):
        command = ["curl", "-sSN", "--cacert", CA, "--max-time", "20", *options, "https://localhost:%d%s" % (site.port, TARGET)]
        if last_id:
            command += ["-H", "Last-Event-ID: " + last_id]
        done = subprocess.run(command, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return parsed(done.stdout)

    assert set(reconnect_until_done(site, one_stream)) == ways


@pytest.mark.parametrize("way", ["upgrade", "prior knowledge"])
def test_curl_h2c(site, way):
    def one_stream(last_id):
        option = "--http2" if way == "upgrade" else "--http2-prior-knowledge"
        command = ["curl", "-sSN", "--max-time", "20", option, "http://localhost:%d%s" % (site.httpd.port, TARGET)]
        done = subprocess.run(command + (["-H", "Last-Event-ID: " + last_id] if last_id else []), capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return parsed(done.stdout)

    assert set(reconnect_until_done(site, one_stream)) == {"parked"}


def test_nghttp(site):
    def one_stream(last_id):
        command = ["nghttp", "--no-verify-peer", "-t", "20", "https://localhost:%d%s" % (site.port, TARGET)]
        done = subprocess.run(command + (["-H", "last-event-id: " + last_id] if last_id else []), capture_output=True, timeout=30)
        return parsed(done.stdout)

    assert set(reconnect_until_done(site, one_stream)) == {"parked"}


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client(site, version):
    def one_stream(last_id):
        with SClient(site.address, version) as c:
            c.say("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (TARGET, "Last-Event-ID: %s\r\n" % last_id if last_id else ""))
            c.wait("\r\n\r\n")
            c.wait_end()
            # What s_client itself says begins behind the last blank line of the stream.
            return parsed(c.text.replace("closed\n", "").encode("latin-1").split(b"\n---\n")[0])

    assert set(reconnect_until_done(site, one_stream)) == {"tls"}


@pytest.fixture(scope="session")
def eventsource():
    subprocess.run([TOP / "script" / "fetch-node"], check=True, timeout=180)
    return TOP / "build" / "npm" / "node_modules" / "eventsource"


def test_node(site, eventsource):
    script = TOP / "tests" / "support" / "eventsource.js"
    command = ["node", script, eventsource, "https://localhost:%d%s" % (site.port, TARGET), CA, "e"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        live = []

        def read():
            for line in process.stdout:
                live.append(json.loads(line))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        wait_until(lambda: live, 20, "the stream is open")
        publisher = Publisher(site)
        publisher.start()
        wait_until(lambda: sum(e["type"] == "e" for e in live) >= N, 60, "all have come")
        publisher.join()
    finally:
        process.kill()
        process.wait(10)
    reading.join(10)
    process.stdout.close()
    assert [int(e["data"]) for e in live if e["type"] == "e"] == list(range(N))
    opened = [json.loads(e["data"])["resumed"] for e in live if e["type"] == "stream-open"]
    assert len(opened) >= 3 and opened == [False] + [True] * (len(opened) - 1)
    assert set(site.carried()) == {"tls"}
