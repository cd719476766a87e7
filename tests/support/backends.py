# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL, MariaDB, Redis and memcached servers of the test run's own, on temporary directories and free loopback ports."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess

from ports import free_port
from stage import give, make_directory
from waiting import wait_until


class Server:
    """A process of the test run's own. Subclasses say how it starts; `dir` is theirs and goes with them."""

    dir = None
    process = None
    patience = 30
    ending = signal.SIGTERM

    def spawn(self, *command, **identity):
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([str(word) for word in command], cwd=self.dir or "/", **quiet, **identity)
        wait_until(self._ready, self.patience, "%s is ready" % type(self).__name__)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.ending)
            self.process.wait(self.patience)
        self.process = None

    def remove(self):
        self.stop()
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)


class PostgresServer(Server):
    """A cluster with trust authentication on loopback; as root it runs as user postgres."""

    ending = signal.SIGINT  # fast shutdown: clients are disconnected

    def __init__(self):
        versions = sorted(pathlib.Path("/usr/lib/postgresql").iterdir(), key=lambda p: int(p.name))
        self.bin = versions[-1] / "bin"
        self.dir = make_directory("mod_sse-pg-")
        self.port = free_port()
        self.user = "postgres"
        self.as_root = os.geteuid() == 0
        if self.as_root:
            give(self.dir, "postgres")
        self._run("initdb", "-D", self.dir / "data", "-U", self.user, "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        self.start()

    def start(self):
        data = ["-D", self.dir / "data", "-p", self.port, "-k", self.dir, "-h", "127.0.0.1", "-F"]
        self.spawn(self.bin / "postgres", *data, **self._identity())

    def _identity(self):
        if not self.as_root:
            return {}
        entry = pwd.getpwnam("postgres")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _run(self, program, *arguments):
        subprocess.run([self.bin / program, *arguments], check=True, capture_output=True, cwd=self.dir, **self._identity())

    def _ready(self):
        done = subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)])
        return done.returncode == 0

    def pause(self):
        """Every process of it stops: the kernel goes on to take connections and bytes."""
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        parent = self.process.pid
        os.kill(parent, number)
        for child in pathlib.Path("/proc/%d/task/%d/children" % (parent, parent)).read_text().split():
            with contextlib.suppress(ProcessLookupError):  # one that ends by itself
                os.kill(int(child), number)

    def create_database(self, name):
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, name)


class MariadbServer(Server):
    """On a UNIX socket, with a root of its own without password; as root it runs as user mysql."""

    patience = 60

    def __init__(self):
        self.dir = make_directory("mod_sse-my-")
        self.socket = str(self.dir / "sock")
        data = ["--no-defaults", "--datadir=%s" % (self.dir / "data")]
        (self.dir / "data").mkdir()
        if os.geteuid() == 0:
            give(self.dir, "mysql")
            data.append("--user=mysql")
        subprocess.run(
            ["mariadb-install-db", *data, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, capture_output=True, cwd="/"
        )
        small = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M"]
        self.spawn("mariadbd", *data, "--skip-networking", "--socket=" + self.socket, *small)

    def run(self, sql):
        command = ["mariadb", "--no-defaults", "-u", "root", "--socket=" + self.socket]
        return subprocess.run(command, input=sql, text=True, capture_output=True)

    def _ready(self):
        return self.run("SELECT 1").returncode == 0

    def create_database(self, name):
        done = self.run("CREATE DATABASE %s CHARACTER SET utf8mb4" % name)
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def locked(self, database, table):
        """Meanwhile nobody else can read the table."""
        command = ["mariadb", "--no-defaults", "-u", "root", "--socket=" + self.socket, "-N", "--unbuffered", database]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            client.stdin.write("LOCK TABLES %s WRITE;\nSELECT 'locked';\n" % table)
            client.stdin.flush()
            assert client.stdout.readline() == "locked\n"
            yield
            client.stdin.close()


class RedisServer(Server):
    def __init__(self):
        self.dir = make_directory("mod_sse-redis-")
        self.port = free_port()
        self.url = "redis://127.0.0.1:%d/0" % self.port
        self.start()

    def start(self):
        self.spawn("redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.dir, "--appendonly", "yes", "--save", "")

    def _ready(self):
        import redis

        try:
            return redis.Redis(port=self.port).ping()
        except redis.RedisError:
            return False


class MemcachedServer(Server):
    def __init__(self):
        self.port = free_port()
        self.start()

    def start(self):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.spawn("memcached", "-l", "127.0.0.1", "-p", self.port, "-U", "0", *user)

    def _ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False
