# SPDX-License-Identifier: Apache-2.0
"""Transports against servers that misbehave: what is tried again, under which key, and what the error says."""

import json
import os
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from mod_sse import AccessDenied, Events, KeyConflict, MessageTooLarge, RequestRefused, Unavailable
from mod_sse.exceptions import NotThere
from mod_sse.transport import call, call_quietly, make_transport, pages


class HTTPServer(ThreadingHTTPServer):
    """Answers with what the test has put into `script`: (status, headers, body) or "drop"; the last entry is repeated."""

    daemon_threads = True

    def __init__(self, *script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = list(script)
        self.requests = []
        self.connections = set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/sse-admin/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        server.connections.add(self.client_address)
        server.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body) if body else None))
        step = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        if step == "drop":
            self.close_connection = True
            return
        if step == "silence":
            time.sleep(1)
            self.close_connection = True
            return
        status, headers, body = step
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (names that http.server asks for)

    def log_message(self, *args):
        pass


OK = (200, {}, {"id": "1-1"})


@pytest.fixture
def started():
    """started(server, **settings): both go when the test ends."""
    running = []

    def keep(server, **settings):
        override = override_settings(**settings)
        override.enable()
        running.append((server, override))
        return server

    yield keep
    for server, override in running:
        override.disable()
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve(started):
    def start(*script, **settings):
        server = HTTPServer(*script)
        return started(server, **{"SSE_ADMIN_URL": server.url, "SSE_ADMIN_KEY": "secret", "SSE_TIMEOUT": 2, **settings})

    return start


def test_keep_alive_and_headers(serve):
    server = serve(OK)
    for _ in range(3):
        assert Events.publish("e", {"x": "ü"}) == "1-1"
    assert len(server.connections) == 1
    method, path, headers, body = server.requests[0]
    assert (method, path) == ("POST", "/sse-admin/publish")
    assert headers["authorization"] == "Bearer secret"
    assert headers["content-type"] == "application/json"
    assert body["data"] == {"x": "ü"}


def test_a_lost_answer_is_repeated_under_the_same_key(serve):
    server = serve("drop", (503, {"Retry-After": "0"}, {"title": "hub away"}), (504, {"Content-Type": "text/html"}, b"<p>"), OK)
    assert Events.publish("e", 1) == "1-1"
    keys = [body["key"] for _, _, _, body in server.requests]
    assert len(keys) == 4 and len(set(keys)) == 1


def test_a_connection_that_the_server_closed_is_not_used(serve):
    server = serve((200, {"Connection": "close"}, {"id": "1"}), OK)
    Events.publish("e")
    Events.publish("e")
    assert len(server.requests) == 2 and len(server.connections) == 2


def test_time_out(serve):
    serve("silence", SSE_TIMEOUT=0.4)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no answer within 0.4 s"):
        Events.publish("e")
    assert time.monotonic() - began < 0.8


def test_nobody_there(tmp_path):
    with override_settings(SSE_ADMIN_URL=f"unix://{tmp_path}/none.sock", SSE_TIMEOUT=0.3):
        with pytest.raises(Unavailable, match="none.sock.*no such socket: is httpd with mod_sse running"):
            Events.publish("e")


def test_fail_silently(serve, caplog):
    serve((503, {}, {"title": "hub away"}), SSE_TIMEOUT=0.1, SSE_FAIL_SILENTLY=True)
    assert Events.publish("e") is None
    assert Events.publish_many([{"event": "a"}, {"event": "b"}]) == [None, None]
    user = User(pk=7)
    assert user.is_online() is False and user.subscribe("e") == [] == user.subscriptions()
    assert Group(name="g").online_users() == [] == Group(name="g").unsubscribe("e") == Group(name="g").subscriptions()
    assert caplog.text.count("lost: ") == 8
    with pytest.raises(ValueError):
        Events.publish("a b")


PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    "status, kind, says",
    [
        (401, AccessDenied, "SSE_ADMIN_KEY"),
        (403, AccessDenied, "SSE_ADMIN_KEY"),
        (404, NotThere, "unknown path"),
        (405, NotThere, ""),
        (409, KeyConflict, ""),
        (413, MessageTooLarge, ""),
        (400, RequestRefused, '"member": "event"'),
        (415, RequestRefused, ""),
    ],
)
def test_refusals(serve, status, kind, says):
    detail = {"title": "no", "detail": "unknown path", "errors": [{"member": "event"}]}
    server = serve((status, PROBLEM, detail))
    with pytest.raises(kind) as caught:
        Events.publish("e")
    assert says in str(caught.value)
    assert caught.value.status == status
    assert caught.value.problem == detail
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [(200, {"Content-Type": "text/html"}, b"<p>a page"), (404, {"Content-Type": "text/html"}, b"<p>"), (302, {"Location": "/"}, b"x")])
def test_the_url_points_to_something_else(serve, step):
    serve(step)
    with pytest.raises(NotThere, match="SetHandler sse-admin"):
        Events.publish("e")


def test_httpds_own_authentication_leaves_authorization_to_the_user(serve):
    server = serve(OK)
    with override_settings(SSE_ADMIN_URL=server.url.replace("//", "//me:p%40ss@")):
        Events.publish("e")
    headers = server.requests[0][2]
    assert headers["authorization"] == "Basic bWU6cEBzcw=="
    assert headers["x-sse-key"] == "secret"


def test_pages(serve):
    server = serve((200, {}, {"users": ["1", "2"], "next": "2"}), (200, {}, {"users": ["3"], "next": None}))
    assert pages("/presence/users", "users") == ["1", "2", "3"]
    assert [path for _, path, _, _ in server.requests] == ["/sse-admin/presence/users", "/sse-admin/presence/users?after=2"]


def test_quiet_calls_give_up_soon_after_a_failure(serve, caplog, monkeypatch):
    monkeypatch.setattr("mod_sse.transport._hurry_until", 0.0)
    serve("silence", SSE_TIMEOUT=0.5)
    began = time.monotonic()
    for _ in range(3):
        assert call_quietly("a test", "DELETE", "/sessions", query={"name": "x"}) is None
    assert time.monotonic() - began < 1.4  # 0.5 + 0.2 + 0.2, where three whole time-outs are 1.5
    assert caplog.text.count("a test was not passed on") == 3


def test_a_fork_does_not_share_the_connection(serve):
    server = serve(OK)
    Events.publish("e")
    pid = os.fork()
    if pid == 0:
        try:
            Events.publish("child")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    Events.publish("e")
    assert len(server.requests) == 3
    assert len(server.connections) == 2


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.server.lines.append(json.loads(line))
            answer = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
            if answer == "drop":
                return
            self.wfile.write(answer)


@pytest.fixture
def serve_socket(started, tmp_path):
    def start(*script):
        path = str(tmp_path / "admin.sock")
        server = socketserver.ThreadingUnixStreamServer(path, Lines)
        server.daemon_threads = True
        server.script, server.lines = list(script), []
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return started(server, SSE_ADMIN_URL="unix://" + path, SSE_REALM="shop", SSE_TIMEOUT=5)

    return start


def test_socket_requests(serve_socket):
    server = serve_socket(b'{"status":200,"headers":{},"body":{"id":"1"}}\n')
    assert Events.publish("e", {"n": 10**40}) == "1"
    assert server.lines[0]["realm"] == "shop"
    assert server.lines[0]["path"] == "/publish"
    assert server.lines[0]["body"]["data"] == {"n": 10**40}


def test_socket_repeats_under_the_same_key(serve_socket):
    good = b'{"status":200,"body":{"id":"1"}}\n'
    server = serve_socket("drop", b'{"status":503,"headers":{"Retry-After":"0"},"body":{}}\n', b"garbage\n", b"[]\n", b'{"status":"x"}\n', good)
    assert Events.publish("e") == "1"
    assert len({line["body"]["key"] for line in server.lines}) == 1
    assert len(server.lines) == 6


def test_socket_refusal(serve_socket):
    serve_socket(b'{"status":409,"body":{"title":"used"}}\n')
    with pytest.raises(KeyConflict, match="used"):
        Events.publish("e", key="k")


def test_tls(serve, certificate):
    key, cert = certificate
    server = serve(OK)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    secure = server.url.replace("http:", "https:")
    with override_settings(SSE_ADMIN_URL=secure), pytest.raises(NotThere, match="not trusted.*SSE_ADMIN_CA_FILE"):
        Events.publish("e")
    with override_settings(SSE_ADMIN_URL=secure, SSE_ADMIN_CA_FILE=str(cert)):
        assert Events.publish("e") == "1-1"
        assert Events.publish("e") == "1-1"
    with override_settings(SSE_ADMIN_URL=secure, SSE_ADMIN_CA_FILE="/nowhere.pem"), pytest.raises(ImproperlyConfigured, match="/nowhere.pem"):
        Events.publish("e")
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    "url, says",
    [
        ("", "must be a string"),
        (None, "must be a string"),
        ("ftp://x/", "begins with none of"),
        ("unix://run/admin.sock", "three slashes"),
        ("unix:admin.sock", "three slashes"),
        ("http:///sse-admin/", "names no host"),
        ("http://host:99999/", "[Pp]ort"),
    ],
)
def test_wrong_urls(url, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        make_transport(url)


def test_the_key_file(tmp_path, serve):
    keys = tmp_path / "keys"
    keys.write_text("# made by httpd\n\nfrom-file\nsecond\n")
    server = serve(OK, SSE_ADMIN_KEY=None, SSE_ADMIN_KEY_FILE=str(keys))
    Events.publish("e")
    assert server.requests[0][2]["authorization"] == "Bearer from-file"
    keys.write_text("\n")
    with pytest.raises(ImproperlyConfigured, match="holds no key"):
        Events.publish("e")
    keys.unlink()
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        call("GET", "/status")
