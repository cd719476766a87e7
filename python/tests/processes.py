# SPDX-License-Identifier: Apache-2.0
"""Processes that run the test site's code: commands, a server, short scripts. Each is stopped by its pid."""

import json
import os
import pathlib
import queue
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent


def environment(**settings):
    return dict(os.environ, EVENTS_SITE_SETTINGS=json.dumps(settings), PYTHONDONTWRITEBYTECODE="1", PYTHONWARNINGS="ignore::DeprecationWarning")


def python(source, **settings):
    """Runs a script after django.setup(); its standard output. AssertionError with its words if it fails."""
    source = "import django\ndjango.setup()\n" + source
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, env=environment(**settings))
    assert done.returncode == 0, done.stderr
    return done.stdout


def manage(*arguments, **settings):
    """One manage.py command: (exit status, standard output, standard error)."""
    done = subprocess.run(
        [sys.executable, str(HERE / "manage.py"), *arguments], capture_output=True, text=True, timeout=60, env=environment(**settings)
    )
    return done.returncode, done.stdout, done.stderr


class Process:
    """A manage.py command that runs on; its lines come by next()."""

    def __init__(self, *arguments, **settings):
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(HERE / "manage.py"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**settings),
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def next(self, timeout=20):
        try:
            return self.lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError("nothing was printed within %g s" % timeout) from None

    def wait_for(self, text, timeout=20):
        """The next line that holds `text`."""
        before = []
        while True:
            try:
                line = self.next(timeout)
            except AssertionError as err:
                raise AssertionError(f"no {text!r}: {err}, after {before}; exit status {self.process.poll()}") from None
            if text in line:
                return line
            before.append(line)

    def stop(self):
        """Asks it to end (SIGTERM); its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
