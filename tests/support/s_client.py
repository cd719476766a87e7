# SPDX-License-Identifier: Apache-2.0
"""OpenSSL's own client as a process: commands that no library offers (key updates, short records), seen as a terminal sees them."""

import os
import selectors
import subprocess
import time


class SClient:
    def __init__(self, address, *options, timeout=15.0):
        self.timeout = timeout
        self.text = ""
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", "%s:%d" % address, "-servername", "localhost", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)
        # The handshake is through once it has told about the session; what is typed before would be lost.
        self.wait("Verify return code")

    def say(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def _read(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not self._selector.select(left):
            raise AssertionError("nothing came in time: %r" % self.text[-1000:])
        chunk = os.read(self.process.stdout.fileno(), 65536)
        self.text += chunk.decode("latin-1")
        return bool(chunk)

    def wait(self, text):
        """Reads until `text` has come; what was read up to its end is behind."""
        deadline = time.monotonic() + self.timeout
        while text not in self.text:
            if not self._read(deadline):
                raise AssertionError("s_client ended without %r: %r" % (text, self.text[-1000:]))
        self.text = self.text.split(text, 1)[1]

    def wait_end(self):
        deadline = time.monotonic() + self.timeout
        while self._read(deadline):
            pass
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stdin.close()
