# SPDX-License-Identifier: Apache-2.0
"""The quick start of docs/django.md, done as it is written: a new project, each command, each setting, the stretch of httpd.conf. Only
the paths are this test's own."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from stage import TOP
from waiting import wait_until

SECTION = (TOP / "docs" / "django.md").read_text().partition("## Set it up")[2].partition("\n## ")[0]
# What a user would type or answer.
ANSWERS = {"createsuperuser": ["--noinput", "--email", "alice@example.org"], "collectstatic": ["--noinput"]}
VIEW = """
from django.contrib.auth.decorators import login_required
from django.views.generic import TemplateView
urlpatterns += [path("", login_required(TemplateView.as_view(template_name="page.html"), login_url="/admin/login/"))]
"""
LOG_IN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get(username="alice"))
print(client.cookies["sessionid"].value)
"""


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.S)


class Newcomer:
    def __init__(self, httpd):
        self.httpd = httpd
        self.site, self.etc = httpd.dir / "site", httpd.dir / "etc"
        for made in (self.site, self.etc):
            made.mkdir()
        self.source = httpd.dir / "source"
        shutil.copytree(TOP / "python", self.source / "python", ignore=shutil.ignore_patterns("__pycache__", "build"))
        self.django = [path for path in sys.path if "/build/django/" in path]
        if self.django:
            # httpd's user may not be able to read where this tree lies.
            shutil.copytree(self.django[0], httpd.dir / "django", ignore_dangling_symlinks=True)
            self.django = [str(httpd.dir / "django")]
        self.said = {}

    def here(self, text):
        for there, mine in (("/srv/site", self.site), ("/etc/apache2", self.etc), ("/run/mod_sse/admin.sock", self.httpd.admin_socket_path)):
            text = text.replace(there, str(mine))
        return text

    def run(self, line, cwd):
        """One line of a shell block; what it says on standard output."""
        words = self.here(line.partition("#")[0]).split()
        words[0] = {"python3": sys.executable, "venv/bin/python": str(self.site / "venv/bin/python")}.get(words[0], words[0])
        if "pip" in words[0]:
            words += ["--no-build-isolation", "--no-index"]  # as the line itself says for hosts without network
        more = next((ANSWERS[word] for word in words if word in ANSWERS), [])
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(self.django), "DJANGO_SUPERUSER_PASSWORD": "pw", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([*words, *more], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def shell(self, code):
        words = [self.site / "venv/bin/python", "manage.py", "shell", "-c", code]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(self.django)}
        return subprocess.run(words, cwd=self.site, env=environment, capture_output=True, text=True, check=True).stdout

    def write_settings(self, block):
        """What the block says, into the settings that startproject has made."""
        path = self.site / "mysite" / "settings.py"
        text = path.read_text()
        for name in ("INSTALLED_APPS", "MIDDLEWARE"):
            first = re.search(rf'{name} = \[\s*"([\w.]+)"', block)[1]
            text = text.replace(f"{name} = [", f"{name} = [\n    {first!r},", 1)
        text += "\n" + self.here("\n".join(re.findall(r"^(?:SSE_|STATIC_)\w+ = .*$", block, re.M)))
        text = text.replace("'DIRS': []", "'DIRS': [BASE_DIR / 'templates']").replace("ALLOWED_HOSTS = []", "ALLOWED_HOSTS = ['*']")
        path.write_text(text)


@pytest.fixture
def newcomer(make_httpd):
    return Newcomer(make_httpd())


def test_each_step(newcomer):
    install, commands = blocks("sh")
    settings, use = blocks("python")
    [conf] = blocks("apache")
    [page] = blocks("html")
    httpd, site = newcomer.httpd, newcomer.site

    for line in install.strip().splitlines():
        newcomer.run(line, newcomer.source)
    newcomer.run("venv/bin/python -m django startproject mysite .", site)
    newcomer.write_settings(settings)
    (site / "templates").mkdir()
    (site / "templates" / "page.html").write_text(page)
    with open(site / "mysite" / "urls.py", "a") as urls:
        urls.write(VIEW)
    printed = ""
    for line in commands.strip().splitlines():
        if not line.startswith(("cd ", "chown ") if os.geteuid() else "cd "):
            printed = newcomer.run(line, site) or printed

    # What the page shows "as printed" is what is printed.
    assert newcomer.here(conf.partition("# From here on as printed\n")[2]).split() == [
        word for line in printed.splitlines() if not line.startswith("#") for word in line.split()
    ]
    conf = newcomer.here(re.sub("LoadModule sse_module.*\n", "", conf)).replace("python-path=", f"python-path={''.join(p + ':' for p in newcomer.django)}")
    httpd.configure(server=conf + f'WSGISocketPrefix "{httpd.dir}/run/wsgi"\n', locations="", modules=["wsgi"]).start()
    wait_until(lambda: os.path.exists(httpd.admin_socket_path), 20, "the hub listens")
    assert "broker: local, connected" in newcomer.run("venv/bin/python manage.py sse_status", site)

    headers = {"Cookie": "sessionid=" + newcomer.shell(LOG_IN).split()[-1]}  # Django 5.2 says what it has imported first
    answer = httpd.fetch("/", headers=headers, timeout=30)
    assert answer.status == 200, answer.text[-2500:]
    assert 'data-url="/events/"' in answer.text
    script = re.search(r'src="(.*?mod_sse.js)"', answer.text)[1]
    assert httpd.fetch(script if script.startswith("/") else "/" + script).status == 200
    with httpd.stream("/events/", headers=headers) as stream:
        assert json.loads(stream.opened().data) == {"resumed": False}
        newcomer.shell(use)
        stream.expect("news", '"Hello"')
