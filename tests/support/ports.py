# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports below the ephemeral range, so that no client socket of a test can be in a server's way. Processes of one test
run that share its tests (pytest-xdist) have a part of the range each."""

import os
import random
import socket

FIRST, END = 20000, 32000

_given = set()
_part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").lstrip("gw"))
_size = (END - FIRST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port():
    for _ in range(1000):
        port = FIRST + _part * _size + random.randrange(_size)
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between %d and %d" % (FIRST, END))
