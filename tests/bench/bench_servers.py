# SPDX-License-Identifier: Apache-2.0
"""The servers that script/bench measures. Each is started afresh for every run, in a temporary directory of its own, on a free
loopback port, and stopped by its pid. `load_args(scenario)` says how the load client speaks to it."""

import re
import signal
import socket
import subprocess

from event_stream import fetch
from httpd_server import KEY, Httpd
from ports import free_port
from stage import RUN_AS, make_directory
from waiting import wait_until

GROUPS = 64  # groups, and events with one group's share of users, over which users are spread
EVENT = "bench"
NGINX = "/usr/sbin/nginx"
NCHAN_MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so"


class Server:
    """What the runner asks of a server, beside start(), stop(), pids(), problems() and load_args(scenario)."""

    kinds = {}  # what the table calls its processes, where their names do not say it

    def prepare(self, scenario, streams):
        """Stores what the server must know before streams open: nothing here."""

    def ports(self):
        """The loopback ports over which streams and publishers are spread."""
        return [self.port]

    def aside(self):
        """Processes whose CPU is told apart from the server's."""
        return []


class Program(Server):
    """A server that is one program in the foreground of a temporary directory."""

    def __init__(self):
        self.dir = make_directory("mod_sse-bench-")
        self.port = free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.dir / "console", "ab") as console:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, cwd="/")
        wait_until(self._answers, 20, self.name + " answers")

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(self.name + " ended: " + self.problems())
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def problems(self):
        logs = [self.dir / "console", self.dir / "error.log"]
        return "".join(p.read_text(errors="replace")[-3000:] for p in logs if p.exists())

    def pids(self):
        return [self.process.pid]

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        for path in sorted(self.dir.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.dir.rmdir()


class Raw(Program):
    """send() in a loop. Users and groups do not exist, so that every scenario is the same to it."""

    name = "raw"

    def __init__(self, bench):
        super().__init__()
        self.bench = bench

    def command(self):
        return [str(self.bench.programs / "bench-raw"), str(self.port)]

    def load_args(self, scenario):
        # As long as the same message from mod_sse.
        frame = f"id: {'0' * self.bench.id_length}\nevent: {EVENT}\ndata: %s\n\n"
        return ["--path", "/", "--ready", ": open", "--publish-path", "/", "--body", frame]


class Nchan(Program):
    """Debian's nginx with nchan: messages in memory or in Redis, message buffers and heartbeat as ours, no access log."""

    name = "nchan"

    def __init__(self, bench, workers, redis=""):
        super().__init__()
        self.workers = workers
        # With Redis, nchan 1.3.6 delivers nothing where the first message is "newest"; as long as a channel is empty when streams open
        # its default is the same. A pass that is written outside the locations is not heeded.
        self.store = "nchan_redis_pass redis;" if redis else "nchan_subscriber_first_message newest;"
        self.more_http = f"upstream redis {{ nchan_redis_server {redis}; }}" if redis else ""
        self.locations = self.more_listen = ""

    def command(self):
        temporary = "".join(
            f"    {kind}_temp_path {self.dir}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.dir / "nginx.conf").write_text(f"""
load_module {NCHAN_MODULE};
daemon off;
user {RUN_AS};
pid {self.dir}/pid;
error_log {self.dir}/error.log warn;
worker_processes {self.workers};
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    client_body_buffer_size 1m;
    client_max_body_size 1m;
{temporary}
    nchan_shared_memory_size 1g;
    nchan_message_buffer_length 1000;
    nchan_message_timeout 1h;
    {self.more_http}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096 {"reuseport" if self.workers > 1 else ""};
        {self.more_listen}
        location = /event {{
            nchan_subscriber eventsource;
            nchan_eventsource_ping_interval 15;
            nchan_channel_id {EVENT};
            {self.store}
        }}
        location = /user {{
            nchan_subscriber eventsource;
            nchan_eventsource_ping_interval 15;
            nchan_channel_id u$arg_u {EVENT} part$arg_g spare g$arg_g;
            {self.store}
        }}
        location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; {self.store} }}
        {self.locations}
    }}
}}
""")
        return [NGINX, "-p", str(self.dir), "-c", str(self.dir / "nginx.conf")]

    def _answers(self):
        """It says 503 until it has its Redis."""
        return super()._answers() and fetch(("127.0.0.1", self.port), f"/pub?id={EVENT}").status != 503

    def load_args(self, scenario):
        path = "/user?u=%u&g=%g" if scenario.users else "/event"
        target = "u%u" if scenario.directed else EVENT
        return ["--path", path, "--ready", ": hi", "--publish-path", f"/pub?id={target}",
                "--publish-header", f"X-EventSource-Event: {EVENT}", "--body", "%s"]  # fmt: skip


# What is measured is streams, not passwords: any name is let in.
_USERS = """
<Location /user>
    SetHandler sse-stream
    AuthType Basic
    AuthName bench
    AuthBasicProvider anon
    Anonymous *
    Anonymous_LogEmail Off
    Require valid-user
</Location>
"""
_EVENTS = """
<Location /event>
    SetHandler sse-stream
    SSEAnonymous On
    SSEAllowEvents **
</Location>
"""
ADMIN = """
<Location /admin>
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
</Location>
"""
WORKERS = 50
MPM = f"""
<Directory />
    AllowOverride None
</Directory>
ListenBacklog 4096
ServerLimit 2
StartServers 2
ThreadsPerChild 25
MaxRequestWorkers {WORKERS}
MinSpareThreads 1
MaxSpareThreads {WORKERS}
MaxKeepAliveRequests 0
KeepAliveTimeout 60
"""


class ModSse(Server):
    """httpd with the event MPM and 50 workers, mod_sse and its hub: the release build as `make install` leaves it."""

    kinds = {"apache2": "httpd", "sse-hub": "hub"}

    def __init__(self, bench, directives=""):
        self.httpd = Httpd(bench.stage)
        self.bench = bench
        self.directives = f"{bench.directives}\n{directives}"
        self.port = self.httpd.port

    def configure(self):
        self.httpd.configure(server=self.directives, locations=ADMIN + _EVENTS + _USERS, modules=["authn_anon"], mpm_settings=MPM)

    def start(self):
        self.configure()
        # nginx writes no access log and keeps no extended status here either, nor does Django's httpd.
        conf = self.httpd.conf.read_text().splitlines()
        text = "\n".join(line for line in conf if not line.startswith(("LogFormat ", "CustomLog "))) + "\n"
        self.httpd.conf.write_text(text.replace("ExtendedStatus On\n", "ExtendedStatus Off\n"))
        self.httpd.start()
        wait_until(self.httpd.hub_pid, 10, "the hub runs")
        self._warm()

    def _connect(self):
        return socket.create_connection(self.httpd.address, 10)

    def _warm(self):
        """Nearly every worker serves a page, so that what a thread allocates once is not taken for the memory of streams. A few stay
        free: one has to say how many are busy, and connections from before may still be ending."""
        held = WORKERS - 5
        waiting = []
        for _ in range(held):
            s = self._connect()
            s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
            waiting.append(s)

        def busy():
            status = self.httpd.fetch("/server-status?auto").body.decode()
            return int(re.search(r"BusyWorkers: (\d+)", status)[1]) > held

        wait_until(busy, 10, "the workers are busy")
        for s in waiting:
            s.sendall(b"\r\n")
        for s in waiting:
            while s.recv(4096):
                pass
            s.close()

    def prepare(self, scenario, streams):
        if not scenario.users:
            return
        requests = [("/subscribe", {"user": f"u{u}", "events": [EVENT, f"part{u % GROUPS}", "spare"]}) for u in range(streams)]
        with self.httpd.admin_socket() as admin:
            for start in range(0, streams, 100):
                part = requests[start : start + 100]
                for path, body in part:
                    admin.send("POST", path, body)
                for _ in part:
                    self._accepted(admin.receive())
            for g in range(min(GROUPS, streams)):
                admin.send("PUT", f"/groups/g{g}", {"users": [f"u{u}" for u in range(g, streams, GROUPS)]})
                self._accepted(admin.receive())

    @staticmethod
    def _accepted(answer):
        if answer["status"] // 100 != 2:
            raise AssertionError(f"refused: {answer}")

    def problems(self):
        return self.httpd.console() + "\n".join(self.httpd.log.lines()[-20:])

    def pids(self):
        return [self.httpd.process.pid]

    def stop(self):
        try:
            self.httpd.stop()
        finally:
            self.httpd.remove()

    def load_args(self, scenario):
        target = '"users":["u%u"],' if scenario.directed else ""
        args = ["--publish-path", "/admin/publish", "--publish-header", f"Authorization: Bearer {KEY}",
                "--publish-header", "Content-Type: application/json", "--ready", "event: stream-open",
                "--body", f'{{"event":"{EVENT}",{target}"data":%s}}', "--admin-socket", self.httpd.admin_socket_path]  # fmt: skip
        if scenario.users:
            return [*args, "--path", "/user", "--basic", "u%u:x"]
        return [*args, "--path", f"/event?event={EVENT}"]
