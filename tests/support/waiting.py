# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition with a time limit: the only place of the tests that sleeps."""

import time


def wait_until(condition, timeout=10.0, what=None, step=0.02):
    """Returns the first true value of condition(); fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %.1f s: %s" % (timeout, what or getattr(condition, "__doc__", None) or condition))
        time.sleep(step)
