# SPDX-License-Identifier: Apache-2.0
"""A real httpd of a test's own: configuration, processes and logs in one temporary directory, on free loopback ports.

A test gets it started by the `httpd` fixture, which stops it afterwards and fails the test on any line in the error log that
the test did not announce, on any sanitizer report, and on any process that stayed behind.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess

from admin_client import Admin, AdminSocket
from event_stream import EventStream, fetch
from httpd_log import HttpdLog
from ports import free_port
from stage import RUN_AS, give, make_directory, reports_in
from waiting import wait_until

APACHE = "/usr/sbin/apache2"
MODULES = pathlib.Path("/usr/lib/apache2/modules")
MPMS = ("event", "worker", "prefork")

_BASE_MODULES = (
    "authn_core authz_core authz_host authz_user authn_file auth_basic headers deflate filter brotli dir mime env setenvif status "
    "remoteip reqtimeout dbd alias"
).split()

_MPM_SETTINGS = {
    "event": "StartServers 2\nThreadsPerChild 10\nMinSpareThreads 10\nMaxSpareThreads 40\nMaxRequestWorkers 40\n",
    "worker": "StartServers 2\nThreadsPerChild 10\nMinSpareThreads 10\nMaxSpareThreads 40\nMaxRequestWorkers 40\n",
    "prefork": "StartServers 3\nMinSpareServers 2\nMaxSpareServers 8\nMaxRequestWorkers 16\n",
}

# Streams by httpd's own user (Basic authentication), anonymous allowed: the least that most tests need.
STREAM = """
<Location /events>
    SetHandler sse-stream
    SSEAnonymous On
    SSEAllowEvents **
</Location>
"""
ADMIN = """
<Location /sse-admin>
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
</Location>
"""
# The user is who the Basic header says; the password is always "pw".
BASIC = """
    AuthType Basic
    AuthName test
    AuthBasicProvider file
    AuthUserFile "{dir}/users"
    Require valid-user
"""

KEY = "test-key-0123456789abcdef"


def basic(user, password="pw"):
    """The header that logs `user` in where BASIC stands."""
    import base64

    return {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()}


class Httpd:
    def __init__(self, stage, mpm="event"):
        self.stage = stage
        self.mpm = mpm
        self.dir = make_directory("mod_sse-test-")
        self.state = self.dir / "state"
        self.reports = self.dir / "reports"
        for name in ("state", "reports", "run", "htdocs"):
            (self.dir / name).mkdir()
        self.reports.chmod(0o777)
        give(self.state)
        (self.dir / "htdocs" / "index.html").write_text("a plain page\n")
        self.key_file = self.dir / "keys"
        self.key_file.write_text(KEY + "\n")
        self.users_file = self.dir / "users"
        self.users_file.write_text("")
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.admin_socket_path = str(self.dir / "run" / "admin.sock")
        self.log = HttpdLog(self.dir / "error.log")
        self.access_log = self.dir / "access.log"
        self.conf = self.dir / "httpd.conf"
        self.module = stage.module
        self.hub_program = stage.hub_wrapper(self.dir, self.reports)
        self.process = None
        self._started = set()

    # ---- configuration ----

    def add_users(self, *names):
        """Users for BASIC; their password is "pw"."""
        for name in names:
            subprocess.run(["htpasswd", "-bB", "-C", "4", str(self.users_file), name, "pw"], check=True, capture_output=True)

    def configure(self, server="", locations=STREAM + ADMIN, modules=(), without=(), mpm_settings=None):
        """Writes the configuration. `{dir}`, `{port}` and `{stage}` in the pieces are filled in. A directive that stands in `server`
        replaces the default one of that name."""
        loads = ["LoadModule mpm_%s_module %s/mod_mpm_%s.so" % (self.mpm, MODULES, self.mpm)]
        for name in [*_BASE_MODULES, *modules]:
            if name not in without:
                loads.append("LoadModule %s_module %s/mod_%s.so" % (name, MODULES, name))
        if "sse" not in without:
            loads.append("LoadModule sse_module %s" % self.module)
        own = {line.split()[0].lower() for line in server.splitlines() if line.strip()}
        defaults = [
            ("SSEStateDir", '"{dir}/state"'),
            ("SSEHubProgram", '"%s"' % self.hub_program),
            ("SSEAdminSocket", '"{dir}/run/admin.sock"'),
            ("SSEHubThreads", "2"),
        ]
        text = "\n".join(loads) + "\n"
        text += 'ServerRoot "{dir}"\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile "{dir}/httpd.pid"\n'
        text += 'DefaultRuntimeDir "{dir}/run"\nCoreDumpDirectory "{dir}"\n' if os.geteuid() == 0 else 'DefaultRuntimeDir "{dir}/run"\n'
        text += 'ErrorLog "{dir}/error.log"\n' if "errorlog" not in own else ""
        text += "LogLevel warn sse:info\n" if "loglevel" not in own else ""
        text += 'LogFormat "%h %u \\"%r\\" %>s %O \\"%{Last-Event-ID}i\\"" test\nCustomLog "{dir}/access.log" test\n'
        if os.geteuid() == 0:
            text += "User %s\nGroup %s\n" % (RUN_AS, RUN_AS)
        text += 'DocumentRoot "{dir}/htdocs"\n<Directory "{dir}/htdocs">\nRequire all granted\n</Directory>\n'
        text += "TypesConfig /dev/null\n"
        text += _MPM_SETTINGS[self.mpm] if mpm_settings is None else mpm_settings
        text += "ExtendedStatus On\n<Location /server-status>\nSetHandler server-status\n</Location>\n"
        text += "".join("%s %s\n" % pair for pair in defaults if pair[0].lower() not in own)
        text += server + "\n" + locations + "\n"
        for mark, value in (("{dir}", self.dir), ("{port}", self.port), ("{stage}", self.stage.path)):
            text = text.replace(mark, str(value))
        self.conf.write_text(text)
        return self

    def configtest(self):
        """httpd -t: (exit status, what it said)."""
        done = subprocess.run(
            [APACHE, "-t", "-f", str(self.conf)], capture_output=True, text=True, env=self.stage.environment(self.reports), timeout=60
        )
        logged = "\n".join(self.log.lines())
        return done.returncode, done.stdout + done.stderr + logged

    # ---- processes ----

    def start(self, hub=True):
        """Starts it and waits until httpd answers and (unless hub is False) its hub serves."""
        if not self.conf.exists():
            self.configure()
        with open(self.dir / "console", "ab") as console:
            self.process = subprocess.Popen(
                [APACHE, "-f", str(self.conf), "-DFOREGROUND"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=self.stage.environment(self.reports),
                cwd="/",
                start_new_session=True,  # prefork signals its whole process group
            )
        wait_until(self._answers, 30, "httpd answers")
        if hub:
            wait_until(self.healthy, 30, "the hub serves")
        return self

    def healthy(self):
        """The hub is up and its broker connected, asked over the admin socket that the configuration names."""
        path = re.search(r'^SSEAdminSocket "?([^" \n]+)', self.conf.read_text(), re.M)[1]
        try:
            if path == "none":
                return fetch(self.address, target="/sse-admin/health").status == 200
            with AdminSocket(path) as a:
                return a.call("GET", "/health")["status"] == 200
        except (OSError, AssertionError):
            return False

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError("httpd ended with %d\n%s%s" % (self.process.returncode, self.console(), "\n".join(self.log.lines()[-20:])))
        try:
            return fetch(self.address, timeout=5).status
        except (OSError, AssertionError):
            return None

    def console(self):
        path = self.dir / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def family(self):
        """Pids of httpd's parent and all that descends from it."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open("/proc/%s/stat" % entry) as f:
                        parents[int(entry)] = int(f.read().rsplit(")", 1)[1].split()[1])
                except (OSError, IndexError):
                    continue
        pids = {self.process.pid} if self.process and self.process.poll() is None else set()
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in pids} - pids
            pids |= more
            grown = bool(more)
        self._started |= {(pid, born) for pid, born in ((p, _start_time(p)) for p in pids) if born}
        return pids

    def hub_pid(self):
        """The hub's pid, None while there is none."""
        hub = os.path.realpath(self.stage.hub_program)
        for pid in self.family():
            try:
                if os.readlink("/proc/%d/exe" % pid) == hub:
                    return pid
            except OSError:
                continue
        return None

    def signal(self, number):
        self.process.send_signal(number)

    def graceful(self):
        """Graceful restart; returns when the log says that it was done."""
        self._restart(signal.SIGUSR1)

    def restart(self):
        self._restart(signal.SIGHUP)

    def _restart(self, number):
        resumed = len(self.log.matching("resuming normal operations"))
        self.log.children_leave()
        self.signal(number)
        wait_until(lambda: len(self.log.matching("resuming normal operations")) > resumed, 30, "httpd has restarted")
        wait_until(self._answers, 30, "httpd answers")
        wait_until(self.healthy, 30, "the hub serves")

    def stop(self):
        """Stops httpd; AssertionError if a process of it stays behind."""
        if not self.process:
            return
        self.family()
        if self.process.poll() is None:
            self.log.children_leave()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self._kill()
                raise AssertionError("httpd did not stop within 30 s") from None
        self.process = None
        try:
            wait_until(lambda: not self._left(), 15, "every process of httpd has ended")
        finally:
            self._kill()

    def _left(self):
        return [pid for pid, born in self._started if _start_time(pid) == born]

    def _kill(self):
        for pid in self._left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def problems(self):
        """What the end of a test has to complain of: log lines, sanitizer reports, core dumps."""
        problems = self.log.problems()
        report = reports_in(self.reports)
        if report:
            problems.append("sanitizer report:\n" + report)
        problems += ["core dump: %s" % p.name for p in self.dir.glob("core*")]
        return problems

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- clients ----

    def fetch(self, target="/", method="GET", **more):
        return fetch(self.address, method, target, **more)

    def stream(self, target="/events", **more):
        """Opens a stream; its head must be a 200."""
        stream = EventStream(self.address, target, **more)
        if stream.status != 200:
            raise AssertionError("%s: %d %r" % (target, stream.status, stream.raw))
        return stream

    def admin(self, base="/sse-admin", **more):
        return Admin(self.address, KEY, base, **more)

    def admin_socket(self):
        return AdminSocket(self.admin_socket_path)


def _start_time(pid):
    """Kernel's start time of a process: with the pid it names it for good. None once it has ended."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
