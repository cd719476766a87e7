# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL, MariaDB, Redis and memcached servers of the test run's own, on temporary directories and free loopback ports."""

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


class PostgresServer:
    """A cluster with trust authentication on loopback; as root it runs as user postgres."""

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
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.dir / "data", "-p", str(self.port), "-k", self.dir, "-h", "127.0.0.1", "-F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.dir,
            **self._identity(),
        )
        wait_until(self._ready, 30, "PostgreSQL is ready")

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

    def create_database(self, name):
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, name)

    def stop(self):
        """Fast shutdown: clients are disconnected."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class MariadbServer:
    """On a UNIX socket, with a root of its own without password; as root it runs as user mysql."""

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
        self.process = subprocess.Popen(
            ["mariadbd", *data, "--skip-networking", "--socket=" + self.socket, *small],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        wait_until(self._ready, 60, "MariaDB is ready")

    def run(self, sql):
        command = ["mariadb", "--no-defaults", "-u", "root", "--socket=" + self.socket]
        return subprocess.run(command, input=sql, text=True, capture_output=True)

    def _ready(self):
        return self.run("SELECT 1").returncode == 0

    def create_database(self, name):
        done = self.run("CREATE DATABASE %s CHARACTER SET utf8mb4" % name)
        assert done.returncode == 0, done.stderr

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class RedisServer:
    def __init__(self):
        self.dir = make_directory("mod_sse-redis-")
        self.port = free_port()
        self.url = "redis://127.0.0.1:%d/0" % self.port
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.dir), "--appendonly", "yes", "--save", ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._ready, 15, "Redis is ready")

    def _ready(self):
        import redis

        try:
            return redis.Redis(port=self.port).ping()
        except redis.RedisError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class MemcachedServer:
    def __init__(self):
        self.port = free_port()
        self.process = None
        self.start()

    def start(self):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *user],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._ready, 15, "memcached is ready")

    def _ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)
        self.process = None

    def remove(self):
        self.stop()
