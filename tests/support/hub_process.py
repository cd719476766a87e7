# SPDX-License-Identifier: Apache-2.0
"""The hub without httpd: this process is its parent and its workers. For ThreadSanitizer and for what only a worker can do."""

import json
import os
import shutil
import signal
import socket
import subprocess

from stage import make_directory, reports_in
from waiting import wait_until
from wire_codec import Channel, sealed_file


class HubProcess:
    def __init__(self, program, sanitizer="tsan", **conf):
        self.dir = make_directory("mod_sse-hub-")
        self.reports = self.dir / "reports"
        self.reports.mkdir()
        (self.dir / "state").mkdir(mode=0o750)
        self.admin_path = str(self.dir / "admin.sock")
        self.rendezvous, rendezvous = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.rendezvous, rendezvous):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.parent, parent = socket.socketpair()
        admin = socket.socket(socket.AF_UNIX)
        admin.bind(self.admin_path)
        admin.listen(64)
        text = dict(
            {"state_dir": str(self.dir / "state"), **conf},
            rendezvous_fd=rendezvous.fileno(),
            parent_fd=parent.fileno(),
            admin_fd=admin.fileno(),
        )
        fd = sealed_file(json.dumps(text).encode(), "sse-hub.conf")
        inherited = (rendezvous.fileno(), parent.fileno(), admin.fileno(), fd)
        self.log = self.dir / "hub.log"
        env = dict(os.environ)
        if sanitizer == "tsan":
            env["TSAN_OPTIONS"] = "second_deadlock_stack=1 log_path=%s/hub" % self.reports
        else:
            env["ASAN_OPTIONS"] = "detect_leaks=1:log_path=%s/hub" % self.reports
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(program), "--config-fd", str(fd)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=inherited, env=env
            )
        os.close(fd)
        for s in (rendezvous, parent, admin):
            s.close()
        self.parent.settimeout(30)
        ready = self.parent.recv(1)
        assert ready == b"1", "the hub did not start: %s" % self.log.read_text()

    def channel(self):
        return Channel(self.rendezvous)

    def stop(self):
        """Asks it to end as httpd does and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.parent.close()
        self.rendezvous.close()

    def problems(self):
        problems = []
        report = reports_in(self.reports)
        if report:
            problems.append("sanitizer report:\n" + report)
        return problems

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait_streams(self, count, channel, timeout=30):
        """Until the hub counts that many streams."""

        def counted():
            return json.loads(channel.admin("GET", "/presence").body)["streams"] == count

        wait_until(counted, timeout, "%d streams" % count)
