# SPDX-License-Identifier: Apache-2.0
"""The sdist and the wheel, built and installed without network, by Debian's own setuptools and pip."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
NEEDED = [
    "mod_sse/py.typed",
    "mod_sse/static/mod_sse/mod_sse.js",
    "mod_sse/templates/admin/mod_sse/online/change_list.html",
    "mod_sse/migrations/0001_initial.py",
    "mod_sse/management/commands/sse_listen.py",
    "mod_sse/locale/de/LC_MESSAGES/django.mo",
    "mod_sse/transport/unix.py",
    "mod_sse/lua/publish.lua",
    "mod_sse/lua/common.lua",
    "mod_sse/devserver/hub.py",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    source = tmp_path_factory.mktemp("source") / "python"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__", "dist", "build", "*.egg-info"))
    dist = tmp_path_factory.mktemp("dist")
    code = f"from setuptools import build_meta as b\nb.build_sdist({str(dist)!r})\nb.build_wheel({str(dist)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True, text=True)
    return next(dist.glob("*.tar.gz")), next(dist.glob("*.whl"))


def test_what_is_in_them(built):
    sdist, wheel = built
    assert sdist.name.lower().replace("-", "_").startswith("django_mod_sse_0.1.0") and wheel.name == "django_mod_sse-0.1.0-py3-none-any.whl"
    inside = zipfile.ZipFile(wheel).namelist()
    root = tarfile.open(sdist).getnames()
    for name in NEEDED:
        assert name in inside, name
        assert any(entry.endswith("/" + name) for entry in root), name
    assert not [name for name in inside if name.startswith(("tests", "custom_app")) or "__pycache__" in name]
    assert any(entry.endswith("/LICENSE") for entry in root)


@pytest.mark.parametrize("which", [0, 1], ids=["sdist", "wheel"])
def test_they_install_and_work(built, which, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(built[which])], check=True, capture_output=True, text=True)
    code = (
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['mod_sse', 'django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.sessions'],"
        " SECRET_KEY='x', DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}, DEFAULT_AUTO_FIELD='django.db.models.AutoField')\n"
        "import django, sys; django.setup()\n"
        "import mod_sse; assert mod_sse.__file__.startswith(sys.argv[1]), mod_sse.__file__\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0); call_command('makemigrations', '--check', '--dry-run', verbosity=0)\n"
        "from django.dispatch import Events; from django.contrib.auth.models import User; assert User.subscribe and Events.publish\n"
    )
    paths = [str(target)] + [p for p in sys.path if "/build/django/" in p]
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], env={"PYTHONPATH": ":".join(paths), "PATH": "/usr/bin"}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
