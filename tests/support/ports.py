# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports below the ephemeral range, so that no client socket of a test can be in a server's way."""

import random
import socket

_given = set()


def free_port():
    for _ in range(1000):
        port = random.randint(20000, 32000)
        if port in _given:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between 20000 and 32000")
