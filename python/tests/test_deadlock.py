# SPDX-License-Identifier: Apache-2.0
"""The trap of publishing through one's own httpd: all workers wait for views, the views wait for a worker. And its end."""

import json
import threading
import time

import pytest

from event_stream import fetch
from httpd_server import ADMIN, KEY
from stage import RUN_AS, give
from waiting import wait_until

WORKERS = 4
TIMEOUT = 2.0

WSGI = """
WSGIDaemonProcess site processes=1 threads=16 python-path="{app}"
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /site "{dir}/site.wsgi"
<Directory "{dir}">
    Require all granted
</Directory>
"""
SCRIPT = """
import json, os, sys
os.environ.update({environment!r})
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""


@pytest.fixture
def site(make_httpd, stage, site_state):
    """site(url of the admin handler) starts an httpd with four workers whose Django publishes there."""
    import os

    def start(way):
        httpd = make_httpd()
        # httpd's user may not be able to read where this tree lies.
        app = httpd.dir / "app"
        app.mkdir()
        import pathlib
        import shutil

        here = pathlib.Path(__file__).parent
        shutil.copytree(stage.path / "python" / "mod_sse", app / "mod_sse")
        shutil.copytree(here / "events_site", app / "events_site", ignore=shutil.ignore_patterns("__pycache__"))
        for path in os.environ["PYTHONPATH"].split(os.pathsep):
            if "/build/django/" in path:
                shutil.copytree(path, app, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        url = f"http://127.0.0.1:{httpd.port}/sse-admin/" if way == "http" else f"unix://{httpd.admin_socket_path}"
        settings = {"SSE_ADMIN_URL": url, "SSE_ADMIN_KEY": KEY, "SSE_TIMEOUT": TIMEOUT}
        environment = {
            "DJANGO_SETTINGS_MODULE": "events_site.settings",
            "EVENTS_SITE_STATE": str(site_state),
            "EVENTS_SITE_SETTINGS": json.dumps(settings),
        }
        (httpd.dir / "site.wsgi").write_text(SCRIPT.format(environment=environment))
        give(app, RUN_AS)
        httpd.configure(
            server=WSGI.replace("{app}", str(app)),
            locations=ADMIN,
            modules=["wsgi"],
            mpm_settings=f"StartServers 1\nThreadsPerChild {WORKERS}\nMaxRequestWorkers {WORKERS}\nMinSpareThreads 1\nMaxSpareThreads {WORKERS}\n",
        )
        # With so few workers httpd says that they are used up: that is what is tested.
        httpd.log.allow("AH00484|AH10159|AH03490")
        httpd.start()
        wait_until(lambda: httpd.fetch("/sse-admin/health").status == 200, 20, "the hub serves")
        assert httpd.fetch("/site/plain/", timeout=30).status == 200
        return httpd

    return start


def publish_together(httpd, number):
    """So many requests for a view that publishes when all of them have a worker: their statuses and how long it took."""
    answers = []

    def one():
        answers.append(fetch(httpd.address, target=f"/site/publish/?together={number}", timeout=40).status)

    threads = [threading.Thread(target=one) for _ in range(number)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.monotonic() - began


def test_the_trap(site):
    """With all workers taken by such views some wait until SSE_TIMEOUT; it ends there, and the site lives on."""
    httpd = site("http")
    httpd.log.allow(r"mod_sse\.exceptions\.Unavailable|wsgi|Traceback|  |Internal Server Error|^$|[A-Z]\w*(Error|Exception)|During handling")
    assert publish_together(httpd, 1)[0] == [200]
    answers, took = publish_together(httpd, WORKERS)
    assert took >= TIMEOUT * 0.9
    assert 500 in answers
    assert publish_together(httpd, 1)[0] == [200]


def test_the_socket_needs_no_worker(site):
    httpd = site("socket")
    for number in (1, WORKERS):
        answers, took = publish_together(httpd, number)
        assert answers == [200] * number
        assert took < TIMEOUT
