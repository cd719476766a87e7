# SPDX-License-Identifier: Apache-2.0
"""What httpd's workers and the hub say to each other (src/core/wire.h), spoken by a test in a worker's place."""

import array
import dataclasses
import fcntl
import os
import socket
import struct

VERSION = 4
HELLO, RESERVE, RESERVED, ATTACH, RELEASE, ADMIN, ADMIN_REPLY = range(1, 8)
OK, STALE, REFUSED, BUSY, UNAVAILABLE, POLL = range(6)
GROUPS_KNOWN, ID_IN_QUERY, RESUME_USER, POLLED, PARKS = 1, 2, 4, 8, 16
CLEAR, TLS, RELAY, PARKED = range(4)

_FDPASS_MAX = 48 * 1024
_HEAD = 8
_F_ADD_SEALS = 1033
_ALL_SEALS = 0x000F


def sealed_file(data, name="sse"):
    """A memory file holding `data` that nobody can change any more; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    fcntl.fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)
    return fd


def _text(value):
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(raw)) + raw


def encode(kind, number, *fields):
    """Fields: ("u32", n), ("u64", n), or text."""
    out = struct.pack("<HHI", VERSION, kind, number)
    for field in fields:
        if isinstance(field, tuple):
            out += struct.pack("<I" if field[0] == "u32" else "<Q", field[1])
        else:
            out += _text(field)
    return out


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def number(self, form):
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self):
        n = self.number("<I")
        self.at += n
        return self.data[self.at - n : self.at]


@dataclasses.dataclass
class Reserved:
    verdict: int
    ticket: int
    retry_after: int
    body: bytes


@dataclasses.dataclass
class AdminReply:
    status: int
    headers: bytes
    content_type: bytes
    ticket: int
    body: bytes


class Channel:
    """A worker's private channel; one request at a time, as a worker's thread has it."""

    def __init__(self, rendezvous, timeout=20.0):
        self.sock, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(timeout)
        self._number = 0
        _send(rendezvous, encode(HELLO, 0, ("u32", os.getpid())), [far.fileno()])
        far.close()

    def _ask(self, kind, expected, *fields):
        self._number += 1
        _send_message(self.sock, encode(kind, self._number, *fields))
        data, ancillary, flags, _ = self.sock.recvmsg(_FDPASS_MAX, socket.CMSG_SPACE(16) + socket.CMSG_SPACE(12))
        assert data, "the hub closed the channel"
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        file = _take_file(ancillary)
        if file is not None:
            assert file[:_HEAD] == data
            data = file
        reader = Reader(data)
        version, got, number = reader.number("<H"), reader.number("<H"), reader.number("<I")
        assert (version, got, number) == (VERSION, expected, self._number)
        return reader

    def reserve(self, realm="default", user="", events=(), groups=None, last_id="", flags=0, address="127.0.0.1", session=b"", looked_up=0):
        names = list(groups or ())
        if groups is not None:
            flags |= GROUPS_KNOWN
        reader = self._ask(
            RESERVE, RESERVED, ("u32", flags), realm, user, session, ("u64", 0), ("u64", looked_up), address, last_id,
            ("u32", len(names)), ("u32", len(events)), *names, *events,
        )  # fmt: skip
        return Reserved(reader.number("<I"), reader.number("<Q"), reader.number("<I"), reader.text())

    def attach(self, ticket, client, carriage=CLEAR, tls=b"", head=b""):
        self._number += 1
        _send(self.sock, encode(ATTACH, self._number, ("u64", ticket), ("u32", carriage), tls, head), [client.fileno()])

    def release(self, ticket):
        self._number += 1
        _send(self.sock, encode(RELEASE, self._number, ("u64", ticket)))

    def admin(self, method, path, body=b"", realm="default", query="", content_type="application/json"):
        fields = [realm, method, path, query, content_type if body else "", "", "", "127.0.0.1", body]
        reader = self._ask(ADMIN, ADMIN_REPLY, *fields)
        return AdminReply(reader.number("<I"), reader.text(), reader.text(), reader.number("<Q"), reader.text())

    def close(self):
        self.sock.close()


def _send(sock, data, fds=()):
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary)


def _send_message(sock, data):
    """A message that is larger than a datagram lies in a memory file; its head goes with the descriptor."""
    if len(data) <= _FDPASS_MAX:
        _send(sock, data)
        return
    fd = sealed_file(data)
    try:
        _send(sock, data[:_HEAD], [fd])
    finally:
        os.close(fd)


def _take_file(ancillary):
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % 4])
            with os.fdopen(fds[0], "rb") as f:
                f.seek(0)
                return f.read()
    return None
