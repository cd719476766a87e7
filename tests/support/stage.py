# SPDX-License-Identifier: Apache-2.0
"""Where the tests find what they test: the installed flavour, copied once a run to a folder that httpd's user can read
(a clone may stand in a home directory that it cannot), and the sanitizer settings that go with the flavour.

MOD_SSE_FLAVOUR names the flavour, asan by default.
"""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
FLAVOUR = os.environ.get("MOD_SSE_FLAVOUR", "asan")
RUN_AS = "www-data"


def make_directory(prefix="mod_sse-"):
    """A temporary directory that every user may enter. Its owner removes it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    return path


def give(path, user=RUN_AS):
    """Hands a directory and what is in it to another user (only root can)."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        for each in [path, *path.rglob("*")]:
            os.chown(each, entry.pw_uid, entry.pw_gid)


class Stage:
    """An installed copy of mod_sse: module, hub and sanitizer environment. Lives as long as the test run."""

    def __init__(self, flavour=FLAVOUR):
        self.flavour = flavour
        installed = TOP / "build" / flavour / "root"
        if not (installed / "modules" / "mod_sse.so").exists():
            raise RuntimeError("nothing installed under build/%s: run script/build %s" % (flavour, flavour))
        self.path = make_directory("mod_sse-stage-")
        shutil.copytree(installed / "modules", self.path / "modules")
        shutil.copytree(installed / "libexec", self.path / "libexec")
        shutil.copytree(TOP / "python", self.path / "python", ignore=shutil.ignore_patterns("__pycache__")) if (
            TOP / "python"
        ).exists() else None
        self.module = self.path / "modules" / "mod_sse.so"
        self.hub_program = self.path / "libexec" / "mod_sse" / "sse-hub"

    def environment(self, reports):
        """Environment of httpd; sanitizer reports go to files below `reports`."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        if self.flavour == "asan":
            # httpd and Python are not built for leak checks: the hub, which is, asks for its own (see hub_wrapper).
            env["LD_PRELOAD"] = _library("libasan.so")
            env["ASAN_OPTIONS"] = "detect_leaks=0:log_path=%s/httpd" % reports
            env["UBSAN_OPTIONS"] = "print_stacktrace=1:log_path=%s/httpd" % reports
        return env

    def hub_wrapper(self, directory, reports):
        """A program that becomes the hub with leak checks on. Returns what SSEHubProgram should say."""
        if self.flavour != "asan":
            return self.hub_program
        wrapper = directory / "sse-hub"
        wrapper.write_text(
            "#!/bin/sh\n"
            "unset LD_PRELOAD\n"
            "export ASAN_OPTIONS=detect_leaks=1:log_path=%s/hub UBSAN_OPTIONS=print_stacktrace=1:log_path=%s/hub\n"
            'exec %s "$@"\n' % (reports, reports, self.hub_program)
        )
        wrapper.chmod(0o755)
        return wrapper

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


def _library(name):
    found = subprocess.run(["gcc", "-print-file-name=" + name], capture_output=True, text=True, check=True).stdout.strip()
    return os.path.realpath(found)


def reports_in(directory):
    """The sanitizers' reports, as one text; empty when there was none. That a busy machine did not stop a thread in time for the leak
    check is no report: leaks that are then seen stand in it all the same."""
    reports = ""
    for path in sorted(directory.iterdir()):
        lines = [line for line in path.read_text(errors="replace").splitlines(True) if "was not suspended. False leaks" not in line]
        if lines:
            reports += "--- %s\n%s" % (path.name, "".join(lines))
    return reports
