# SPDX-License-Identifier: Apache-2.0
"""A crowd of EventSources over HTTP/2, each on a connection of its own as if it were a browser of its own, run by one thread.

They do what EventSource does: parse, remember the last id, wait `retry` after an end and ask again, with the id, on the
connection while it lives. The framing is python3-h2's.
"""

import collections
import selectors
import socket
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from event_parser import EventParser


class Source:
    def __init__(self, crowd, number):
        self.crowd = crowd
        self.number = number
        self.events = []
        self.statuses = collections.Counter()
        self.requests = 0
        self.connections = 0
        self.failures = 0
        self.sock = None
        self.h2 = None
        self.parser = None
        self.last_id = ""
        self.retry = 3000
        self.due = time.monotonic()

    # ---- one connection ----

    def _connect(self):
        raw = socket.create_connection(self.crowd.address, timeout=20)
        try:
            self.sock = self.crowd.context.wrap_socket(raw, server_hostname="localhost")
        except OSError:
            raw.close()
            raise
        if self.sock.selected_alpn_protocol() != "h2":
            raise AssertionError("the server does not speak HTTP/2")
        self.sock.setblocking(False)
        self.connections += 1
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.crowd.selector.register(self.sock, selectors.EVENT_READ, self)

    def ask(self):
        self.due = None
        if not self.sock:
            try:
                self._connect()
            except OSError:  # EventSource comes back after a failed connection, too
                self.failures += 1
                self._again()
                return
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", self.crowd.target), ("accept", "text/event-stream")]
        if self.last_id:
            headers.append(("last-event-id", self.last_id))
        self.requests += 1
        self.parser = EventParser()
        try:
            self.h2.send_headers(self.h2.get_next_available_stream_id(), headers, end_stream=True)
            self._flush()
        except (h2.exceptions.ProtocolError, OSError):  # the server has just closed a connection that was idle
            self._lost()

    def _flush(self):
        data = self.h2.data_to_send()
        while data:  # a few hundred bytes: the socket takes them
            data = data[self.sock.send(data) :]

    def _lost(self):
        self.crowd.selector.unregister(self.sock)
        self.sock.close()
        self.sock = self.h2 = None
        if self.due is None:
            self._again()

    def _again(self):
        self.due = time.monotonic() + self.retry / 1000

    def readable(self):
        while self.sock:
            try:
                data = self.sock.recv(65536)
            except ssl.SSLWantReadError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            try:
                happened = self.h2.receive_data(data)
                for event in happened:
                    self._take(event)
                self._flush()
                # GOAWAY: a server sheds idle connections when it is busy, as browsers know.
                if any(isinstance(event, h2.events.ConnectionTerminated) for event in happened):
                    self._lost()
            except (h2.exceptions.ProtocolError, OSError):
                self._lost()

    def _take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[dict(event.headers)[":status"]] += 1
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            before = len(self.parser.events)
            self.parser.feed(event.data)
            for e in self.parser.events[before:]:
                self.last_id = e.id or self.last_id
                self.events.append(e)
            self.retry = self.parser.retry or self.retry
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self._again()

    def of(self, event_type):
        return [e.data for e in self.events if e.type == event_type]


class Crowd:
    def __init__(self, address, context, n, target="/events?event=e"):
        self.address = address
        self.context = context
        self.target = target
        self.selector = selectors.DefaultSelector()
        self.sources = [Source(self, i) for i in range(n)]
        self.problem = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self._stop.is_set():
                now = time.monotonic()
                for source in self.sources:
                    if source.due is not None and source.due <= now:
                        source.ask()
                for key, _ in self.selector.select(0.05):
                    key.data.readable()
        except BaseException as e:  # shown by the test that owns the crowd
            self.problem = e
            raise

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)
        for source in self.sources:
            if source.sock:
                source.sock.close()
        self.selector.close()
