# SPDX-License-Identifier: Apache-2.0
"""Broker drivers that are shared objects: built as docs/brokers.md says, from what is installed alone, and used by a real httpd."""

import os
import re
import subprocess

import pytest
from httpd_server import ADMIN, STREAM
from stage import FLAVOUR, TOP, make_directory
from waiting import wait_until

SOURCES = sorted((TOP / "tests" / "driver").glob("*.c"))
INSTALLED = TOP / "build" / FLAVOUR / "root"
EMPTY = "#include <broker/broker.h>\n"
# What it speaks is another version than any hub's.
ANOTHER = EMPTY + 'const sse_broker_driver_t sse_broker_driver = {.abi = SSE_BROKER_ABI + 1000, .scheme = "odd"};\n'


def pkg_config(*arguments):
    env = dict(os.environ, PKG_CONFIG_PATH=str(INSTALLED / "lib" / "pkgconfig"))
    return subprocess.run(["pkg-config", *arguments, "mod_sse"], env=env, check=True, capture_output=True, text=True).stdout.split()


def build(directory, scheme, *sources):
    """The line of docs/brokers.md; nothing of the tree but the sources."""
    line = next(line for line in (TOP / "docs" / "brokers.md").read_text().splitlines() if line.startswith("cc ") and "-shared" in line)
    words = re.sub(r"\$\(pkg-config[^)]*\)", "@flags", line).split()
    assert words[-4:-2] == ["@flags", "kafka.c"] and words[-2] == "-o", "the line that the documentation gives has changed"
    target = directory / ("sse_broker_%s.so" % scheme)
    subprocess.run([*words[:-4], *pkg_config("--cflags"), *map(str, sources), "-o", str(target)], check=True, cwd=directory)
    target.chmod(0o755)


@pytest.fixture
def drivers():
    path = make_directory("mod_sse-drivers-")
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


def configure(httpd, drivers, url):
    return httpd.configure("SSEDriverDir %s\nSSEBroker %s\n" % (drivers, url), STREAM + ADMIN)


def test_the_installed_place_is_told():
    assert pkg_config("--variable=driverdir") == [str(INSTALLED / "lib" / "mod_sse")]


def test_a_driver_of_ones_own_carries_events(httpd, drivers):
    build(drivers, "journal", *SOURCES)
    configure(httpd, drivers, "journal://%s/state/journal" % httpd.dir).start()
    stream = httpd.stream("/events?event=news")
    stream.opened()
    httpd.admin().publish("news", {"n": 1})
    assert stream.expect("news").data == '{"n":1}'
    last = stream.last_id
    stream.close()
    httpd.admin().publish("news", 2)
    httpd.stop()
    httpd.start()
    with httpd.stream("/events?event=news", headers={"Last-Event-ID": last}) as stream:
        stream.opened()
        assert stream.expect("news").data == "2"
        httpd.admin().publish("news", 3)
        assert stream.expect("news").data == "3"


def test_a_driver_that_is_not_there_is_a_configuration_error(httpd, drivers):
    configure(httpd, drivers, "journal://%s/state/journal" % httpd.dir)
    status, said = httpd.configtest()
    httpd.log.allow(".*")
    assert status != 0
    assert "SSE0125" in said and "%s/sse_broker_journal.so" % drivers in said


@pytest.mark.parametrize(
    "source, words",
    [
        (EMPTY, "sse_broker_odd.so defines no sse_broker_driver"),
        (ANOTHER, r"sse_broker_odd.so speaks version \d+ of the broker contract, this hub version \d+"),
        (None, r'no broker driver "odd": .*sse_broker_odd.so'),
    ],
    ids=["no symbol", "another version", "no shared object"],
)
def test_what_is_no_driver_is_said_at_the_start(httpd, drivers, source, words):
    if source:
        (drivers / "odd.c").write_text(source)
        build(drivers, "odd", drivers / "odd.c")
    else:
        (drivers / "sse_broker_odd.so").write_text("not a shared object")
    configure(httpd, drivers, "odd://host/")
    httpd.log.allow("SSE02")
    httpd.log.allow("SSE01")
    httpd.start(hub=False)
    wait_until(lambda: httpd.log.matching("SSE0200: the hub cannot start: .*" + words), 20, "the log says what is wrong")
    assert httpd.fetch("/index.html").status == 200
