# SPDX-License-Identifier: Apache-2.0
"""A second host on this machine: a network namespace joined by a veth pair whose cable can be pulled. Needs root."""

import ctypes
import os
import socket
import subprocess

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


class OtherHost:
    """`here` is this side's address, `there` the other's."""

    def __init__(self):
        self.name = "sse%d" % os.getpid()
        net = "10.213.%d." % (os.getpid() % 250)
        self.here, self.there = net + "1", net + "2"
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self.name + "a", "type", "veth", "peer", "name", self.name + "b", "netns", self.name)
        self._ip("addr", "add", self.here + "/30", "dev", self.name + "a")
        self._ip("link", "set", self.name + "a", "up")
        self._ip("-n", self.name, "addr", "add", self.there + "/30", "dev", self.name + "b")
        self._ip("-n", self.name, "link", "set", self.name + "b", "up")

    def _ip(self, *arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def connect(self, port):
        """A socket of the other host, connected to `here`."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                with open("/run/netns/" + self.name) as ns:
                    if _libc.setns(ns.fileno(), _CLONE_NEWNET) == 0:
                        s = socket.create_connection((self.here, port), 10)
                        socket.send_fds(theirs, [b"x"], [s.fileno()])
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        theirs.close()
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        ours.close()
        assert fds, "the other host could not connect"
        return socket.socket(fileno=fds[0])

    def pull_cable(self):
        """From now on packets vanish, without a word to either end."""
        self._ip("-n", self.name, "link", "set", self.name + "b", "down")

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
        subprocess.run(["ip", "link", "del", self.name + "a"], capture_output=True)
