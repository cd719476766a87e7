# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the package's tests. MOD_SSE_DJANGO chooses a Django that script/fetch-django unpacked; without it, Debian's own.

The whole run has one SQLite database in a directory that httpd's user can read, so that a real httpd can look up its sessions.
"""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
SUPPORT = TOP / "tests"
DJANGO = os.environ.get("MOD_SSE_DJANGO", "")

paths = [str(HERE.parent), str(HERE), str(SUPPORT / "support")]
if DJANGO:
    unpacked = TOP / "build" / "django" / DJANGO
    if not (unpacked / "django").is_dir():
        raise SystemExit(f"no Django {DJANGO} under build/django: run script/fetch-django")
    paths.insert(0, str(unpacked))
sys.path[:0] = paths
os.environ["PYTHONPATH"] = os.pathsep.join(paths)
os.environ["DJANGO_SETTINGS_MODULE"] = "events_site.settings"

from stage import make_directory  # noqa: E402

STATE = make_directory("mod_sse-python-")
os.environ["EVENTS_SITE_STATE"] = str(STATE)

import django  # noqa: E402

if DJANGO:
    assert django.__version__.startswith(DJANGO), django.__file__


def pytest_report_header(config):
    return f"Django {django.__version__}"


def pytest_configure(config):
    django.setup()
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    setup_test_environment()
    call_command("migrate", verbosity=0)
    STATE.chmod(0o777)
    (STATE / "site.sqlite3").chmod(0o666)


def pytest_unconfigure(config):
    shutil.rmtree(STATE, ignore_errors=True)


# The servers of the integration tests: httpd, make_httpd, stage, make_browser…
spec = importlib.util.spec_from_file_location("server_fixtures", SUPPORT / "conftest.py")
server_fixtures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server_fixtures)
for name in ("stage", "make_httpd", "httpd", "make_shared_httpd", "make_browser"):
    globals()[name] = getattr(server_fixtures, name)


@pytest.fixture(scope="session")
def site_state():
    return STATE


@pytest.fixture(scope="module")
def live_httpd(make_shared_httpd):
    from live import LiveSite

    return LiveSite(make_shared_httpd(), STATE)


@pytest.fixture(params=["http", "socket"])
def live(request, live_httpd):
    """A running site, once with admin requests through httpd and once over the admin socket. Users and groups go with the test."""
    with live_httpd.use(request.param):
        live_httpd.way = request.param
        yield live_httpd
        live_httpd.empty()


@pytest.fixture
def settings_override():
    """settings_override(NAME=value, …) until the test ends."""
    from django.test import override_settings

    done = []

    def override(**values):
        done.append(override_settings(**values))
        done[-1].enable()

    yield override
    for one in reversed(done):
        one.disable()


@pytest.fixture
def certificate(tmp_path):
    """A key and a certificate for 127.0.0.1 that signs itself."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert
