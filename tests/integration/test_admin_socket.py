# SPDX-License-Identifier: Apache-2.0
"""The admin socket: the same routes without httpd in between, one JSON object a line, pipelined, in order."""

import json
import os
import socket

import pytest
from httpd_server import ADMIN, STREAM


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    return make_shared_httpd().configure(locations=STREAM + ADMIN).start()


def test_publish(server):
    with server.stream("/events?event=socket") as s, server.admin_socket() as a:
        s.opened()
        answer = a.call("POST", "/publish", {"event": "socket", "data": {"n": 1}})
        assert answer["status"] == 200
        assert s.expect("socket", '{"n":1}').id == answer["body"]["id"]


def test_data_passes_as_text(server):
    with server.stream("/events?event=socket") as s, server.admin_socket() as a:
        s.opened()
        a.send_bytes(
            b'{"method":"POST","path":"/publish","body":{"event":"socket","data":{"b":1.00,"a":1234567890123456789012345678901234567890,"b":2}}}\n'
        )
        assert a.receive()["status"] == 200
        s.expect("socket", '{"b":1.00,"a":1234567890123456789012345678901234567890,"b":2}')


def test_pipelining(server):
    """Many requests before the first answer is read, cut at any byte; answers in order."""
    with server.stream("/events?event=pipe") as s, server.admin_socket() as a:
        s.opened()
        lines = b""
        for n in range(300):
            lines += json.dumps({"method": "POST", "path": "/publish", "body": {"event": "pipe", "data": n}}).encode() + b"\n"
            if n % 100 == 50:
                lines += b'{"method":"GET","path":"/presence"}\n'
        for at in range(0, len(lines), 4099):
            a.send_bytes(lines[at : at + 4099])
        ids = []
        for _ in range(303):
            answer = a.receive()
            assert answer["status"] == 200
            if "id" in answer["body"]:
                ids.append(answer["body"]["id"])
            else:
                assert answer["body"]["streams"] >= 1 and len(ids) % 100 == 51
        assert [s.expect("pipe", str(n)).id for n in range(300)] == ids


def test_other_realm(server):
    with server.admin_socket() as a:
        assert a.call("POST", "/subscribe", {"user": "u", "events": "x"}, realm="other")["body"] == {"events": ["x"]}
        assert a.call("GET", "/subscriptions?user=u")["body"] == {"events": []}
        assert a.call("GET", "/subscriptions?user=u", realm="other")["body"] == {"events": ["x"]}


def test_errors_are_problems(server):
    with server.admin_socket() as a:
        for method, path, body, status in (
            ("POST", "/publish", {"event": "a b", "data": 1}, 400),
            ("POST", "/publish", None, 400),
            ("GET", "/nothing", None, 404),
            ("GET", "/publish", None, 405),
            ("POST", "/publish", {"event": "e", "data": "x" * 300000}, 413),
        ):
            answer = a.call(method, path, body)
            assert answer["status"] == status, answer
            assert answer["body"]["status"] == status and answer["body"]["title"]
        assert a.call("GET", "/publish")["headers"]["Allow"] == "POST"
        assert a.call("GET", "/presence")["status"] == 200


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"5", b'"x"', b"{}", b'{"method":"GET"}', b'{"path":"/presence"}', b'{"method":5,"path":"/presence"}',
     b'{"method":"GET","path":5}', b'{"method":"GET","path":"/presence","realm":"a b"}',
     b'{"method":"GET","path":"/presence","realm":5}', b"\xff\xfe", b"GET / HTTP/1.1\r"],
)  # fmt: skip
def test_bad_line(server, line):
    """Answered by a 400 (or, for an empty line, by nothing), and the connection goes on."""
    with server.admin_socket() as a:
        a.send_bytes(line + b"\n")
        a.send("GET", "/presence")
        answer = a.receive()
        if line:
            assert answer["status"] == 400, answer
            answer = a.receive()
        assert answer["status"] == 200


def test_endless_line_is_bounded(server):
    """A line beyond every bound ends the connection, with or without a 413 before it; the hub lives on."""
    with server.admin_socket() as a:
        chunk = b"x" * (1 << 20)
        try:
            for _ in range(80):
                a.send_bytes(chunk)
            pytest.fail("80 MiB without a line end were taken")
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            pass
    with server.admin_socket() as a:
        assert a.call("GET", "/presence")["status"] == 200


def test_client_that_never_reads(server):
    """Answers pile up to a bound, then its requests wait: others are served."""
    with server.admin_socket() as deaf, server.admin_socket() as other:
        deaf.sock.settimeout(1)
        line = b'{"method":"GET","path":"/status"}\n' * 1000
        try:
            for _ in range(500):
                deaf.send_bytes(line)
        except (socket.timeout, BrokenPipeError, ConnectionResetError):
            pass
        assert other.call("GET", "/presence")["status"] == 200


def test_client_that_vanishes_mid_line(server):
    with server.admin_socket() as a:
        a.send_bytes(b'{"method":"POST","path":"/publish","body":{"event":"half')
    with server.admin_socket() as a:
        a.send("POST", "/publish", {"event": "socket", "data": 1})
    with server.admin_socket() as a:
        assert a.call("GET", "/presence")["status"] == 200


def test_last_line_without_line_end_is_no_request(server):
    with server.stream("/events?event=unfinished&event=after") as s:
        s.opened()
        with server.admin_socket() as a:
            a.send_bytes(b'{"method":"POST","path":"/publish","body":{"event":"unfinished","data":1}}')
        server.admin().publish("after", 1)
        s.expect("after")


def test_file_permissions(server):
    mode = os.stat(server.admin_socket_path).st_mode & 0o777
    assert mode == 0o660
    assert os.stat(os.path.dirname(server.admin_socket_path)).st_mode & 0o022 == 0


def test_mode_of_the_socket(httpd):
    httpd.configure(server='SSEAdminSocket "{dir}/run/own.sock" 0600').start()
    assert os.stat(httpd.dir / "run" / "own.sock").st_mode & 0o777 == 0o600


def test_no_socket(httpd):
    httpd.configure(server="SSEAdminSocket none").start()
    assert httpd.admin().get("/presence")["hubs"] == 1
    assert not os.path.exists(httpd.admin_socket_path)
