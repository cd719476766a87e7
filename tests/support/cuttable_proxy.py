# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that a test can cut: the browser's network fails and comes back, neither end is told why."""

import selectors
import socket
import threading

from ports import free_port


class CuttableProxy:
    """Runs a thread of its own until close()."""

    def __init__(self, target):
        self.target = target
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self._selector = selectors.DefaultSelector()
        self._peer = {}
        self._cut = False
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server(self.address)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self):
        """Resets every connection, and every new one until mend()."""
        with self._lock:
            self._cut = True
            for s in list(self._peer):
                self._drop(s)

    def mend(self):
        with self._lock:
            self._cut = False

    def _drop(self, s):
        for end in (s, self._peer.pop(s, None)):
            if end is None:
                continue
            self._peer.pop(end, None)
            try:
                self._selector.unregister(end)
            except (KeyError, ValueError):
                continue
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            end.close()

    def _accept(self):
        client, _ = self._listener.accept()
        if self._cut:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            return
        try:
            server = socket.create_connection(self.target, 5)
        except OSError:
            client.close()
            return
        self._peer[client], self._peer[server] = server, client
        for s in (client, server):
            self._selector.register(s, selectors.EVENT_READ)

    def _run(self):
        while not self._closing:
            for key, _ in self._selector.select(0.1):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._peer:
                        self._pump(key.fileobj)

    def _pump(self, s):
        peer = self._peer[s]
        try:
            chunk = s.recv(65536)
            if chunk:
                peer.sendall(chunk)
                return
        except OSError:
            pass
        self._drop(s)

    def close(self):
        self._closing = True
        self._thread.join(10)
        with self._lock:
            for s in list(self._peer):
                self._drop(s)
        self._listener.close()
        self._selector.close()
