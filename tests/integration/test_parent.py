# SPDX-License-Identifier: Apache-2.0
"""What httpd's parent makes and keeps: state directory, key, admin socket, the hub's descriptors; over restarts, beside other
httpd instances and other modules' processes, and without root."""

import os
import pathlib
import pwd
import signal
import socket
import subprocess

import pytest
from admin_client import AdminSocket
from event_stream import fetch
from httpd_server import ADMIN, APACHE, MODULES, STREAM
from waiting import wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")


def sockets_of(pid):
    """Inodes of the process's sockets, by descriptor; none when it has ended."""
    found = {}
    try:
        fds = os.listdir("/proc/%d/fd" % pid)
    except FileNotFoundError:
        return found
    for fd in fds:
        try:
            target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found[int(fd)] = target
    return found


def publishes(httpd):
    with AdminSocket(httpd.admin_socket_path) as admin:
        return admin.call("POST", "/publish", {"event": "a", "data": 1})


def test_socket_and_directories(httpd):
    (httpd.dir / "state").rmdir()
    httpd.configure().start()
    state = (httpd.dir / "state").stat()
    sock = os.stat(httpd.admin_socket_path)
    assert state.st_mode & 0o7777 == 0o750
    assert sock.st_mode & 0o777 == 0o660
    if os.geteuid() == 0:
        entry = pwd.getpwnam("www-data")
        assert (state.st_uid, state.st_gid) == (entry.pw_uid, entry.pw_gid)
        assert (sock.st_uid, sock.st_gid) == (0, entry.pw_gid)
    httpd.stop()
    assert not pathlib.Path(httpd.admin_socket_path).exists()
    assert not pathlib.Path(httpd.admin_socket_path + ".lock").exists()


def test_socket_mode_is_the_directive_s(httpd):
    httpd.configure(server='SSEAdminSocket "{dir}/run/admin.sock" 0600').start()
    assert os.stat(httpd.admin_socket_path).st_mode & 0o777 == 0o600


def test_socket_survives_restarts(httpd):
    httpd.configure().start()
    born = os.stat(httpd.admin_socket_path).st_ino
    for restart in (httpd.graceful, httpd.restart, httpd.graceful):
        restart()
        publishes(httpd)
        assert os.stat(httpd.admin_socket_path).st_ino == born


def test_socket_left_by_a_killed_httpd_is_replaced(httpd):
    httpd.configure()
    left = socket.socket(socket.AF_UNIX)
    left.bind(httpd.admin_socket_path)
    left.close()
    httpd.start()
    publishes(httpd)


def test_file_in_the_socket_s_place_is_left_alone(httpd):
    httpd.configure(server='SSEAdminSocket "{dir}/run/precious"')
    (httpd.dir / "run" / "precious").write_text("data")
    httpd.log.expect("SSE0112")
    httpd.log.expect("AH00020")
    with pytest.raises(AssertionError, match="is not a socket"):
        httpd.start()
    assert (httpd.dir / "run" / "precious").read_text() == "data"


def test_two_instances_beside_each_other(make_httpd):
    one, two = make_httpd().configure().start(), make_httpd().configure().start()
    for httpd in (one, two):
        publishes(httpd)
        assert httpd.admin().get("/presence")["hubs"] == 1
    one.stop()
    publishes(two)


def test_second_instance_cannot_take_the_socket(make_httpd):
    one = make_httpd().configure().start()
    two = make_httpd().configure(server='SSEAdminSocket "%s"' % one.admin_socket_path)
    two.log.expect("SSE0112")
    two.log.expect("AH00020")
    with pytest.raises(AssertionError, match="in use by another httpd"):
        two.start()
    publishes(one)


@as_root
def test_socket_directory_of_everybody_is_refused(httpd):
    httpd.configure(server='SSEAdminSocket "{dir}/open/admin.sock"')
    (httpd.dir / "open").mkdir()
    (httpd.dir / "open").chmod(0o777)
    httpd.log.expect("SSE0112")
    httpd.log.expect("AH00020")
    with pytest.raises(AssertionError, match="can be written by others"):
        httpd.start()


@as_root
def test_state_directory_of_another_user_is_refused(httpd):
    httpd.configure()
    os.chown(httpd.dir / "state", 0, 0)
    httpd.log.expect("SSE0110")
    httpd.log.expect("AH00020")
    with pytest.raises(AssertionError, match="belongs to user id 0"):
        httpd.start()


def test_other_modules_processes_hold_none_of_the_hub_s_ends(httpd, each_mpm, make_httpd):
    """mod_cgid's daemon is forked by the parent at start and again at each restart; neither it nor a worker may keep the hub from
    seeing its parent's end, or the admin socket from being freed."""
    httpd = make_httpd(each_mpm).configure(modules=["cgid"], server='ScriptSock "{dir}/run/cgid"').start()
    for restart in (lambda: None, httpd.graceful, httpd.restart):
        restart()
        hub = wait_until(httpd.hub_pid, 10, "there is a hub")
        private = {sockets_of(hub)[fd] for fd in (4, 5, 6)}

        def keepers():
            """A child that the parent has just forked lets go of them when it begins."""
            return [pid for pid in httpd.family() - {hub, httpd.process.pid} if private & set(sockets_of(pid).values())]

        assert len(httpd.family()) >= 5
        wait_until(lambda: not keepers(), 10, "none but the parent and the hub holds the hub's ends")


def test_key_file_keeps_its_key(httpd):
    location = ADMIN.replace('SSEAdminKeyFile "{dir}/keys"', "")
    httpd.configure(locations=STREAM + location).start()
    key = (httpd.dir / "state" / "admin.key").read_text()
    httpd.restart()
    assert (httpd.dir / "state" / "admin.key").read_text() == key
    assert httpd.fetch("/sse-admin/status", headers={"Authorization": "Bearer " + key.strip()}).status == 200


@as_root
def test_without_root(make_httpd):
    """httpd started by an ordinary user: the hub is that user's, and where no directive names a socket there is a warning."""
    httpd = make_httpd().configure(server='SSEAdminSocket "{dir}/run/admin.sock"')
    text = "\n".join(line for line in httpd.conf.read_text().splitlines() if not line.startswith(("User ", "Group ", "CoreDump")))
    httpd.conf.write_text(text)
    entry = pwd.getpwnam("nobody")
    for path in [httpd.dir, *httpd.dir.rglob("*")]:
        os.chown(path, entry.pw_uid, entry.pw_gid)
    process = subprocess.Popen(
        [APACHE, "-f", str(httpd.conf), "-DFOREGROUND"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=httpd.stage.environment(httpd.reports),
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
    )
    httpd.process = process
    wait_until(lambda: connects(httpd), 30, "httpd answers")
    publishes(httpd)
    assert os.stat("/proc/%d" % wait_until(httpd.hub_pid, 10, "there is a hub")).st_uid == entry.pw_uid
    with httpd.stream() as s:
        s.opened()
        process.send_signal(signal.SIGTERM)
        assert s.expect("stream-end")


def connects(httpd):
    try:
        return fetch(httpd.address, target="/index.html", timeout=5).status == 200
    except OSError:
        return False


def test_module_list_is_enough():
    """mod_cgid is one of httpd's own: the test above must not silently do without it."""
    assert (MODULES / "mod_cgid.so").exists()
