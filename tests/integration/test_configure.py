# SPDX-License-Identifier: Apache-2.0
"""configure names the Debian package of what it misses."""

import os
import subprocess

from stage import TOP

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


def configure(directory, **environment):
    done = subprocess.run(
        [TOP / "configure", "--cache-file=cache", "--quiet"],
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
