# SPDX-License-Identifier: Apache-2.0
"""configure names the Debian package of what it misses; without mod_ssl's header the module is built without the hand-off of TLS."""

import os
import subprocess

import pytest
from stage import TOP
from tls_site import TlsSite

NEEDED = {
    "apr-1": "libapr1-dev",
    "apr-util-1": "libaprutil1-dev",
    "libuv": "libuv1-dev",
    "json-c": "libjson-c-dev",
    "sqlite3": "libsqlite3-dev",
    "hiredis": "libhiredis-dev",
    "libcrypto": "libssl-dev",
    "zlib": "zlib1g-dev",
}


def configure(directory, *options, **environment):
    done = subprocess.run(
        [TOP / "configure", "--cache-file=cache", "--quiet", *options],
        cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_each_missing_dependency_is_named(tmp_path):
    """pkg-config that does not know one of them, one after the other."""
    without = tmp_path / "pkg-config"
    without.write_text('#!/bin/sh\nfor a; do case "$a" in "$MISSING"|"$MISSING "*) exit 1;; esac; done\nexec /usr/bin/pkg-config "$@"\n')
    without.chmod(0o755)
    for module, package in NEEDED.items():
        status, said = configure(tmp_path, PKG_CONFIG=str(without), MISSING=module)
        assert status != 0 and "error:" in said, (module, said)
        assert module in said and package in said, (module, said)
        # What pkg-config said of the others is cached; this one must be asked again.
        cache = tmp_path / "cache"
        cache.write_text("".join(line for line in cache.read_text().splitlines(True) if "pkg_cv_" not in line and "PKG_CONFIG" not in line and "env_MISSING" not in line))


def test_missing_apxs_is_named(tmp_path):
    status, said = configure(tmp_path, APXS="/nonexistent/apxs")
    assert status != 0
    assert "apache2-dev" in said


@pytest.fixture(scope="module")
def module_without_handoff(tmp_path_factory):
    directory = tmp_path_factory.mktemp("without-mod-ssl-header")
    status, said = configure(directory, "--without-mod-ssl-header", "--enable-werror", "CFLAGS=-O0")
    assert status == 0, said
    done = subprocess.run(["make", "-j2", "mod_sse.la"], cwd=directory, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    module = directory / ".libs" / "mod_sse.so"
    assert "libssl" not in subprocess.run(["objdump", "-p", module], capture_output=True, text=True, check=True).stdout
    return module


@pytest.mark.parametrize("mpm,way", [("event", "relayed"), ("worker", "parked")])
def test_without_mod_ssl_header(make_httpd, module_without_handoff, mpm, way):
    httpd = make_httpd(mpm)
    httpd.module = module_without_handoff
    site = TlsSite(httpd).start()
    with site.stream() as s, httpd.stream("/events?event=e") as clear:
        s.opened()
        clear.opened()
        assert site.carried() == {way: 1, "clear": 1}
        for i in range(20):
            site.admin().publish("e", i)
            s.expect("e", str(i))
            clear.expect("e", str(i))
    assert any("built without mod_ssl's header" in line for line in httpd.log.lines())
