# SPDX-License-Identifier: Apache-2.0
"""A place that the hub granted and that no stream took is free again at once: workers without a descriptor to spare, and workers
that die."""

import contextlib
import os
import pathlib
import subprocess

import pytest
from event_stream import Connection, EventStream, request_bytes
from stage import RUN_AS
from tls_site import TlsSite, client_context
from waiting import wait_until

ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 5\nMaxRequestWorkers 5\nMinSpareThreads 1\nMaxSpareThreads 5\n"
NO_HTACCESS = "<Directory />\nAllowOverride None\n</Directory>\n"


def child_of(httpd):
    return next(
        pid for pid in httpd.family() if pid != httpd.process.pid and "apache2" in pathlib.Path("/proc/%d/comm" % pid).read_text()
    )


def set_limit(pid, n):
    """A process may set the limits of those of its user."""
    as_user = ["setpriv", "--reuid", RUN_AS, "--regid", RUN_AS, "--clear-groups"]
    subprocess.run([*as_user, "prlimit", "--pid", str(pid), "--nofile=%d:" % n], check=True)


@contextlib.contextmanager
def no_descriptor_left(pid):
    """What the process has open stays open; it gets no more."""
    used = {int(fd) for fd in os.listdir("/proc/%d/fd" % pid)}
    free = next(n for n in range(len(used) + 1) if n not in used)
    set_limit(pid, free)
    try:
        yield
    finally:
        set_limit(pid, 1024)


def ready_connection(site):
    connection = Connection(site.address, tls=client_context())
    connection.send(request_bytes("GET", "/", []))
    connection.read_body(connection.read_head())
    return connection


@pytest.mark.parametrize("mpm,before", [("event", 0), ("event", 1), ("worker", 0)])
def test_stream_that_could_not_be_carried(make_httpd, mpm, before):
    """before: relayed streams so far, which start the relay's thread."""
    site = TlsSite(make_httpd(mpm), server="SSETLSHandoff Off\nSSEMaxStreams 1\nSSEParkedStreams 4\n" + NO_HTACCESS, mpm_settings=ONE_CHILD).start()
    for _ in range(before):
        with site.stream() as s:
            s.opened()
    wait_until(lambda: site.admin().get("/presence")["streams"] == 0, 10, "nothing is open")
    connection = ready_connection(site)
    with no_descriptor_left(child_of(site.httpd)):
        with EventStream(site.address, "/events?event=e", connection=connection) as s:
            last = s.rest()[-1]
            assert last.type == "stream-end" and "unavailable" in last.data
    with site.stream() as s:
        s.opened()
        assert sum(site.carried().values()) == before + 1
