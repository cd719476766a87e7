# SPDX-License-Identifier: Apache-2.0
"""The end of an AES-GCM key, for real: 2^24 records to one client. 8 GiB and some minutes, so it is run by `script/test long`."""

import json
import os
import shutil
import subprocess
import threading
import time

import pytest
from event_parser import EventParser
from stage import give, make_directory
from tls_site import TlsSite
from waiting import wait_until

RECORDS = 1 << 24
FRAGMENT = 512
SIZE = 262144 - 2  # with its quotes a message of the default SSEMaxMessageSize
AHEAD = 64  # messages that may be under way
TEXT = "x" * (SIZE - 9)


def message(n):
    return "%8d %s" % (n, TEXT)


class FloodClient:
    """openssl s_client, whose event stream is checked and counted as it comes; what has come is not kept."""

    def __init__(self, address, version, last_id=""):
        command = ["openssl", "s_client", "-connect", "%s:%d" % address, "-servername", "localhost", "-quiet", "-tls" + version]
        self.process = subprocess.Popen(
            [*command, "-maxfraglen", str(FRAGMENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        request = "GET /events?event=e HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: %s\r\n\r\n" % last_id
        self.process.stdin.write(request.encode())
        self.process.stdin.flush()
        self.messages = []  # numbers
        self.others = []  # all other events
        self.last_id = ""
        self.bytes = 0
        self.problem = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            pieces, out = [], self.process.stdout
            while chunk := os.read(out.fileno(), 1 << 20):
                self.bytes += len(chunk)
                # A blank line may be cut in two; only a chunk that could end a frame is worth joining.
                pieces.append(chunk)
                if b"\n" in chunk:
                    *frames, rest = b"".join(pieces).split(b"\n\n")
                    pieces = [rest]
                    for frame in frames:
                        self._take(frame)
        except BaseException as e:
            self.problem = e
            raise

    def _take(self, frame):
        if b'\ndata: "' not in frame:
            parser = EventParser()
            parser.feed(frame.split(b"\r\n\r\n")[-1] + b"\n\n")
            self.others += parser.events
            self.last_id = parser.last_id or self.last_id
            return
        lines = frame.decode().split("\n")
        fields = dict(line.split(": ", 1) for line in lines)
        n = int(fields["data"][1:9])
        assert fields["data"] == '"%s"' % message(n)
        self.messages.append(n)
        self.last_id = fields["id"]

    def end(self):
        """Exit status and what it said of errors: 0 after close_notify."""
        self.thread.join(60)
        status = self.process.wait(60)
        said = self.process.stderr.read().decode()
        self.close()
        return status, said

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


@pytest.fixture
def memory_directory():
    """What is published is written to the store, all 8 GiB of it."""
    directory = make_directory("/dev/shm/mod_sse-")
    give(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.long
@pytest.mark.parametrize("version", ["1_3", "1_2"])
def test_end_of_a_key(make_httpd, memory_directory, version):
    server = 'SSEStreamBuffer 67108864\nSSEHistory 200\nSSEHeartbeat 0\nSSEMaxAge 100000\nSSEStateDir "%s"\n' % memory_directory
    server += "SSLCipherSuite ECDHE-ECDSA-AES128-GCM-SHA256\n"
    site = TlsSite(make_httpd(), server=server, suite=("1.3", "TLS_AES_128_GCM_SHA256")).start()
    client = FloodClient(site.address, version)
    began = time.monotonic()
    sent = 0
    with site.httpd.admin_socket() as admin:

        def publish():
            nonlocal sent
            admin.call("POST", "/publish", {"event": "e", "data": message(sent)})
            sent += 1

        wait_until(lambda: client.others, 10, "the stream is open")
        while client.thread.is_alive():
            publish()
            if sent % AHEAD == 0:
                wait_until(lambda: sent - len(client.messages) < AHEAD or not client.thread.is_alive(), 60, "the client reads", step=0.002)
        for _ in range(10):
            publish()
    took = time.monotonic() - began
    status, said = client.end()
    assert client.problem is None
    assert status == 0 and "error" not in said.lower().replace("verify error", ""), (status, said)
    assert json.loads(client.others[-1].data)["reason"] == "max-age"
    # A message ends with a record that is not full, so their number is a little above bytes / 512.
    assert RECORDS * 0.99 < client.bytes / FRAGMENT < RECORDS * 1.01
    assert client.messages == list(range(len(client.messages)))
    rest = FloodClient(site.address, version, client.last_id)
    wait_until(lambda: rest.messages and rest.messages[-1] == sent - 1, 30, "what was missed has come")
    rest.close()
    assert rest.problem is None
    assert json.loads(rest.others[0].data) == {"resumed": True}
    assert client.messages + rest.messages == list(range(sent))
    assert site.carried() == {"tls": 2}
    print("TLS %s: %d messages, %d bytes in %.0f s" % (version, len(client.messages), client.bytes, took))
