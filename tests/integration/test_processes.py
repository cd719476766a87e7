# SPDX-License-Identifier: Apache-2.0
"""What kind of process the hub is, and what streams leave behind in httpd: nothing."""

import os
import pwd
import socket

import pytest
from httpd_server import ADMIN, STREAM
from stage import RUN_AS
from waiting import wait_until


@pytest.fixture(scope="module")
def server(make_shared_httpd, each_mpm):
    return make_shared_httpd(each_mpm).configure(server="SSEPresenceGrace 0", locations=STREAM + ADMIN).start()


def status_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def descriptors(pid):
    """What the process's descriptors are, by number."""
    found = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            continue
    return found


def listening_inodes(port):
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return {"socket:[%s]" % r[9] for r in rows if r[1].endswith(":%04X" % port) and r[3] == "0A"}


def test_hub_is_a_process_of_its_own(server):
    hub = server.hub_pid()
    status = status_of(hub)
    assert status["Name"] == "sse-hub"
    assert status["PPid"] == str(server.process.pid)
    entry = pwd.getpwnam(RUN_AS)
    assert set(status["Uid"].split()) == {str(entry.pw_uid)}, "privileges are dropped for good"
    assert set(status["Gid"].split()) == {str(entry.pw_gid)}
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
    assert os.getpgid(hub) == hub != os.getpgid(server.process.pid)


def test_hub_may_open_many_files(server):
    with open("/proc/%d/limits" % server.hub_pid()) as f:
        limit = [line.split() for line in f if line.startswith("Max open files")][0]
    assert limit[3] == limit[4], "the soft limit is raised to the hard one"


def test_hub_holds_no_socket_of_httpds(server):
    listening = listening_inodes(server.port)
    assert listening
    assert not listening & set(descriptors(server.hub_pid()).values())


def test_hubs_signals_are_its_own(server):
    """Nothing blocked or ignored that httpd blocked or ignored (but SIGPIPE, which both ignore)."""
    status = status_of(server.hub_pid())
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigIgn"], 16) & ~(1 << (13 - 1)) == 0


def test_descriptors_are_given_back(server):
    """Many streams later neither httpd nor the hub holds more than before."""
    admin = server.admin()

    def open_and_close(count):
        streams = [server.stream() for _ in range(count)]
        for s in streams:
            s.opened()
            s.close()
        wait_until(lambda: admin.get("/presence")["streams"] == 0, 10)

    def sockets():
        return {
            pid: sum(1 for d in descriptors(pid).values() if d.startswith("socket:"))
            for pid in server.family()
        }

    open_and_close(60)
    before = sockets()
    for _ in range(5):
        open_and_close(60)
    # Each worker thread of httpd may have made its channel to the hub meanwhile: 40 at most, so 300 leaked sockets would show.
    wait_until(lambda: sum(sockets().values()) - sum(before.values()) <= 120, 10, "descriptors are given back")
    hub = server.hub_pid()
    wait_until(lambda: sockets()[hub] <= before[hub] + 60, 10, "the hub gives its descriptors back")


def test_failed_hand_offs_leave_nothing(server):
    """Clients that are gone before the head is written."""
    admin = server.admin()
    for _ in range(100):
        s = socket.create_connection(server.address)
        s.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        s.close()
    wait_until(lambda: admin.get("/presence")["streams"] == 0, 10, "no stream is left")
    with server.stream() as s:
        s.opened()
        assert admin.get("/presence")["streams"] == 1


def test_state_directory_is_closed_to_others(server):
    status = os.stat(server.state)
    assert status.st_uid == pwd.getpwnam(RUN_AS).pw_uid
    for name in os.listdir(server.state):
        assert os.stat(server.state / name).st_mode & 0o007 == 0, name


def test_state_directory_is_made(httpd):
    """One that does not exist yet: owned by httpd's user, mode 0750."""
    httpd.configure(server='SSEStateDir "{dir}/made/here"')
    (httpd.dir / "made").mkdir()
    httpd.start()
    status = os.stat(httpd.dir / "made" / "here")
    assert status.st_uid == pwd.getpwnam(RUN_AS).pw_uid
    assert status.st_mode & 0o777 == 0o750
