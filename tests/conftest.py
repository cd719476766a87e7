# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test that needs servers: tests/integration, tests/tsan, tests/e2e. What they hand out lives in
tests/support; each server is stopped by its pid when its fixture ends and then asked whether all was well."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))

import pytest  # noqa: E402
from httpd_server import MPMS, Httpd  # noqa: E402
from stage import Stage  # noqa: E402


@pytest.fixture(scope="session")
def stage():
    stage = Stage()
    yield stage
    stage.remove()


def _finish(servers):
    problems = []
    for server in servers:
        try:
            server.stop()
        except AssertionError as e:
            problems.append(str(e))
        problems += server.problems()
        if not problems:
            server.remove()
    if problems:
        kept = ", ".join(str(s.dir) for s in servers)
        pytest.fail("after the test (files kept in %s):\n%s" % (kept, "\n".join(problems)), pytrace=False)


@pytest.fixture
def make_httpd(stage):
    """make_httpd(mpm="event") -> Httpd, not yet started."""
    servers = []

    def make(mpm="event"):
        servers.append(Httpd(stage, mpm))
        return servers[-1]

    yield make
    _finish(servers)


@pytest.fixture
def httpd(make_httpd):
    """One httpd of the test's own on the event MPM, not yet started."""
    return make_httpd()


@pytest.fixture(scope="module")
def make_shared_httpd(stage):
    """As make_httpd, for servers that the tests of one module share."""
    servers = []

    def make(mpm="event"):
        servers.append(Httpd(stage, mpm))
        return servers[-1]

    yield make
    _finish(servers)


@pytest.fixture(scope="module", params=MPMS)
def each_mpm(request):
    return request.param


@pytest.fixture(scope="session")
def postgres():
    from backends import PostgresServer

    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def redis_server():
    from backends import RedisServer

    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def make_browser():
    """make_browser(*flags) -> Browser; each is another person."""
    from browser import Browser

    browsers = []

    def make(*flags):
        browsers.append(Browser(*flags))
        return browsers[-1]

    yield make
    for browser in browsers:
        browser.close()
