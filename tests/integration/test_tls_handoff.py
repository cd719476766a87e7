# SPDX-License-Identifier: Apache-2.0
"""TLS connections that are handed to the hub with their write key: every suite and MPM, what came before on the connection,
what the client does afterwards, and that each end is one the client can tell from a cut."""

import json
import os
import shutil
import signal
import ssl
import subprocess

import pytest
from event_stream import Connection, EventStream, fetch, request_bytes
from httpd_server import ADMIN, MPMS, STREAM
from s_client import SClient
from stage import RUN_AS
from tls_site import CBC, SUITES, TlsSite, certificates, client_context
from waiting import wait_until

GET = "/events?event=e"


@pytest.fixture
def make_site(make_httpd):
    """make_site(mpm="event", **TlsSite's) -> TlsSite, started."""

    def make(mpm="event", **more):
        return TlsSite(make_httpd(mpm), **more).start()

    return make


def flows(site, stream, sizes=(1, 60, 1400, 16384, 40000)):
    """Messages of several sizes reach an opened stream, in order and whole."""
    admin = site.admin()
    texts = ["%d:" % i + "x" * n for i, n in enumerate(sizes)]
    for text in texts:
        admin.publish("e", text)
    for text in texts:
        stream.expect("e", json.dumps(text))


def ends_cleanly(stream, reason="shutdown"):
    last = stream.rest()[-1]
    assert (last.type, json.loads(last.data)["reason"]) == ("stream-end", reason)
    assert not stream.connection.cut, "no close_notify"


@pytest.mark.parametrize("suite", SUITES, ids=[s[1] for s in SUITES])
def test_every_suite(make_site, suite):
    site = make_site(suite=suite)
    with site.stream(tls=client_context(*suite)) as s:
        assert s.connection.sock.cipher()[0] == suite[1]
        assert s.head.get("content-type") == "text/event-stream" and "transfer-encoding" not in s.head
        s.opened()
        assert site.carried() == {"tls": 1}
        flows(site, s)
        site.httpd.stop()
        ends_cleanly(s)


@pytest.mark.parametrize("mpm", MPMS)
def test_every_mpm_keeps_its_workers(make_site, mpm):
    """Three times as many streams as workers, and pages still answer."""
    workers = {"event": 40, "worker": 40, "prefork": 16}[mpm]
    site = make_site(mpm)
    context = client_context()
    streams = [site.stream(tls=context) for _ in range(workers * 3)]
    for s in streams:
        s.opened()
    assert site.fetch("/").text == "a plain page\n"
    assert site.carried() == {"tls": len(streams)}
    site.admin().publish("e", "to all")
    for s in streams:
        s.expect("e", '"to all"')
    for s in streams:
        s.close()
    wait_until(lambda: site.admin().get("/presence")["streams"] == 0, 10, "the hub has seen them go")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_after_other_requests_on_the_connection(make_site, version):
    site = make_site()
    connection = Connection(site.address, tls=client_context(version))
    for _ in range(4):
        connection.send(request_bytes("GET", "/", []))
        assert connection.read_body(connection.read_head()) == b"a plain page\n"
    with EventStream(site.address, GET, connection=connection) as s:
        s.opened()
        flows(site, s)
        assert site.carried() == {"tls": 1}


def test_after_more_records_than_are_searched(make_site):
    """TLS 1.2 counts from the handshake: after a large download the number is not found, and the stream goes another way."""
    site = make_site()
    (site.httpd.dir / "htdocs" / "large").write_bytes(b"x" * (1 << 20))
    for version, way in (("1.2", "relayed"), ("1.3", "tls")):
        connection = Connection(site.address, tls=client_context(version))
        for _ in range(24):
            connection.send(request_bytes("GET", "/large", []))
            assert len(connection.read_body(connection.read_head())) == 1 << 20
        with EventStream(site.address, GET, connection=connection) as s:
            s.opened()
            flows(site, s)
            assert way in site.carried()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions_can_be_resumed_afterwards(make_site, version):
    site = make_site()
    context = client_context(version)
    if version == "1.2":
        context.options |= ssl.OP_NO_TICKET  # a session that the server remembers, which a broken end would make it forget
    with site.stream(tls=context) as s:
        s.opened()
        flows(site, s, (10,))
        session = s.connection.sock.session
        assert not s.connection.sock.session_reused
    for _ in range(2):
        sock = context.wrap_socket(Connection(site.address).sock, server_hostname="localhost", session=session)
        assert sock.session_reused
        connection = Connection.around(sock)
        with EventStream(site.address, GET, connection=connection) as s:
            s.opened()
            flows(site, s, (10,))
    assert site.carried() == {"tls": 3}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_client_certificate_asked_for_by_the_location(make_site, version):
    """Renegotiation (1.2) and authentication after the handshake (1.3) before the hand-off."""
    stream = STREAM.replace("SSEAnonymous", "SSLVerifyClient require\n    SSLOptions +StdEnvVars\n    SSEAnonymous")
    log = 'CustomLog "{dir}/tls.log" "%{SSL_PROTOCOL}x %{SSL_CLIENT_S_DN_CN}x %U"'
    site = make_site(server='SSLCACertificateFile "%s/ca.pem"\n%s' % (certificates(), log), hosts=[("localhost", log)], locations=stream + ADMIN)
    with site.stream(tls=client_context(version, client_cert=True)) as s:
        s.opened()
        flows(site, s)
        assert site.carried() == {"tls": 1}
    logged = (site.httpd.dir / "tls.log").read_text()
    assert "TLSv%s client /events" % version in logged
    site.httpd.log.allow("AH02")


def test_server_names(make_site):
    """Hosts on one port, each with a certificate and a realm of its own."""
    inside = "<Location /events>\nSSERealm %s\n</Location>\n"
    hosts = [("one.test", inside % "one"), ("two.test", inside % "two")]
    site = make_site(hosts=hosts, locations=STREAM + ADMIN + ADMIN.replace("/sse-admin", "/two-admin").replace("SSEAdmin", "SSERealm two\n    SSEAdmin"))
    with site.stream(server_name="one.test", headers={"Host": "one.test"}) as one, site.stream(server_name="two.test", headers={"Host": "two.test"}) as two:
        one.opened()
        two.opened()
        site.httpd.admin("/two-admin").publish("e", "second")
        two.expect("e", '"second"')
        assert site.carried() == {"tls": 2}
        site.httpd.stop()
        ends_cleanly(one)
        ends_cleanly(two)


# ---- what the client sends besides its request ----


@pytest.mark.parametrize("mpm,way", [("event", "relayed"), ("worker", "parked")])
def test_a_request_behind_the_request(make_site, mpm, way):
    """What httpd has read already could not be given away: such a connection stays."""
    site = make_site(mpm)
    connection = Connection(site.address, tls=client_context())
    connection.send(request_bytes("GET", GET, []) + b"GET /garbage")
    with EventStream.on(connection) as s:
        s.opened()
        flows(site, s)
        assert site.carried() == {way: 1}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_comes_later_ends_the_stream(make_site, version):
    site = make_site()
    with site.stream(tls=client_context(version)) as s:
        s.opened()
        s.connection.send(b"GET /more HTTP/1.1\r\n\r\n")
        s.rest()
        assert not s.connection.cut
    with site.stream(tls=client_context(version)) as s:
        s.opened()
        flows(site, s)


def test_client_says_goodbye_first(make_site):
    site = make_site()
    s = site.stream()
    s.opened()
    s.connection.sock.settimeout(5)
    raw = s.connection.sock.unwrap()  # sends close_notify and waits for the hub's
    assert raw.recv(10) == b""
    raw.close()
    wait_until(lambda: site.admin().get("/presence")["streams"] == 0, 5, "the stream is gone")


@pytest.mark.parametrize("command", ["k", "K"])
def test_key_update_of_the_client_before(make_site, command):
    """K asks for an update of the server's keys, too; whichever way is taken, the events arrive."""
    site = make_site()
    with SClient(site.address, "-tls1_3") as c:
        c.say(command + "\n")
        c.wait("KEYUPDATE")
        c.say("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % GET)
        c.wait("stream-open")
        for i in range(50):
            site.admin().publish("e", i)
            c.wait("data: %d\n\n" % i)
        ways = site.carried()
        assert sum(ways.values()) == 1 and not set(ways) - {"tls", "relayed"}


@pytest.mark.parametrize("command", ["k", "K"])
def test_key_update_of_the_client_afterwards(make_site, command):
    """It could not be answered: the stream ends, cleanly, and the client may come back."""
    site = make_site()
    with SClient(site.address, "-tls1_3") as c:
        c.say("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % GET)
        c.wait("stream-open")
        assert site.carried() == {"tls": 1}
        c.say(command + "\n")
        c.wait_end()
        assert "error" not in c.text.lower().replace("verify error", ""), c.text[-500:]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("length", [512, 2048])
def test_records_are_as_short_as_the_client_asked(make_site, version, length):
    site = make_site()
    with SClient(site.address, version, "-maxfraglen", str(length)) as c:
        c.say("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % GET)
        c.wait("stream-open")
        for n in (1200, 20000):
            site.admin().publish("e", "m" * n)
            c.wait('data: "%s"\n\n' % ("m" * n))
        assert site.carried() == {"tls": 1}


# ---- slow readers and ends ----


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_slow_reader_gets_all(make_site, version):
    site = make_site(server="SSEStreamBuffer 50000000\nSSEHeartbeat 0")
    n = 3000
    with site.stream(tls=client_context(version), rcvbuf=8192, timeout=60) as s:
        s.opened()
        with site.httpd.admin_socket() as admin:
            for i in range(0, n, 500):
                admin.call("POST", "/publish", [{"event": "e", "data": "%d %s" % (k, "s" * 1400)} for k in range(i, i + 500)])
        status = site.admin().get("/status")
        assert sum(t["queued_bytes"] for t in status["threads"]) >= 0
        for i in range(n):
            assert s.next().data.startswith('"%d ' % i)
        assert site.carried() == {"tls": 1}
        site.httpd.stop()
        ends_cleanly(s)


def test_reader_that_does_not_read_is_ended(make_site):
    """The record under way goes out whole, then stream-end: what the client finds when it reads at last is not broken."""
    site = make_site(server="SSEStreamBuffer 65536\nSSEHeartbeat 0")
    with site.stream(rcvbuf=8192, timeout=30) as s:
        s.opened()
        with site.httpd.admin_socket() as admin:
            admin.call("POST", "/publish", [{"event": "e", "data": "%d %s" % (k, "s" * 1000)} for k in range(8000)])
        wait_until(lambda: sum(t["ended_slow"] for t in site.admin().get("/status")["threads"]) == 1, 20, "the hub gives it up")
        events = s.rest()
        for i, event in enumerate(e for e in events if e.type == "e"):
            assert event.data.startswith('"%d ' % i)
        if events[-1].type == "stream-end":
            last = [e for e in events if e.type == "e"][-1]
            assert json.loads(events[-1].data)["reason"] == "slow" and events[-1].id == last.id


def test_graceful_restart(make_site):
    site = make_site()
    for _ in range(3):
        streams = [site.stream() for _ in range(10)]
        for s in streams:
            s.opened()
        site.httpd.graceful()
        for s in streams:
            ends_cleanly(s)
        with site.stream(headers={"Last-Event-ID": streams[0].last_id}) as s:
            s.opened()
            flows(site, s)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_certificate_and_ticket_keys_change(make_site, tmp_path, version):
    """A renewed certificate and a graceful restart: open streams end, the next ones have the new keys, old sessions are no harm."""
    keys = tmp_path / "keys"
    keys.mkdir()
    for end in ("pem", "key"):
        shutil.copy(certificates() / ("localhost." + end), keys)
    (keys / "tickets").write_bytes(os.urandom(48))
    site = make_site(keys=keys, server='SSLSessionTicketKeyFile "%s/tickets"' % keys)
    context = client_context(version)
    with site.stream(tls=context) as s:
        s.opened()
        flows(site, s, (10,))
        first, session = s.connection.sock.getpeercert(), s.connection.sock.session
        for end in ("pem", "key"):
            shutil.copy(certificates() / ("renewed." + end), keys / ("localhost." + end))
        (keys / "tickets").write_bytes(os.urandom(48))
        site.httpd.graceful()
        ends_cleanly(s)
    for _ in range(2):
        sock = context.wrap_socket(Connection(site.address).sock, server_hostname="localhost", session=session)
        assert not sock.session_reused
        assert sock.getpeercert() != first
        with EventStream(site.address, GET, connection=Connection.around(sock), headers={"Last-Event-ID": s.last_id}) as again:
            again.opened()
            flows(site, again, (10,))
    assert site.carried() == {"tls": 2}, "of the new hub"


def test_hub_that_dies_takes_its_keys_along(make_site):
    """No other process could go on with these streams: they are cut, and clients come back to the next hub."""
    site = make_site()
    site.httpd.log.expect(r"SSE0118")
    s = site.stream()
    s.opened()
    os.kill(site.httpd.hub_pid(), signal.SIGKILL)
    s.rest()
    assert s.connection.cut
    with site.stream(headers={"Last-Event-ID": s.last_id}) as again:
        while again.next().type != "stream-open":
            again.close()
            again = site.stream(headers={"Last-Event-ID": s.last_id})
        flows(site, again)


def test_hub_may_not_be_looked_into(make_site):
    site = make_site()
    memory = "/proc/%d/mem" % site.httpd.hub_pid()
    look = ["setpriv", "--reuid", RUN_AS, "--regid", RUN_AS, "--clear-groups", "head", "-c1", memory]
    done = subprocess.run(look, capture_output=True, text=True)
    assert "Permission denied" in done.stderr, done


def test_no_secret_is_logged(make_site, tmp_path):
    site = make_site(server="LogLevel trace8")
    for version in ("1.2", "1.3"):
        context = client_context(version)
        context.keylog_filename = str(tmp_path / "keys")
        with site.stream(tls=context) as s:
            s.opened()
            flows(site, s, (10,))
    site.httpd.log.allow(".")
    secrets = [line.split()[2] for line in (tmp_path / "keys").read_text().splitlines() if not line.startswith("#")]
    assert len(secrets) >= 5
    logs = (site.httpd.dir / "error.log").read_text() + site.httpd.access_log.read_text()
    for secret in secrets:
        assert secret.lower() not in logs.lower()


def test_handoff_can_be_turned_off(make_site):
    site = make_site(server="SSETLSHandoff Off")
    with site.stream() as s:
        s.opened()
        flows(site, s)
        assert site.carried() == {"relayed": 1}


def test_other_cipher(make_site):
    site = make_site()
    with site.stream(tls=client_context("1.2", CBC)) as s:
        s.opened()
        flows(site, s)
        assert site.carried() == {"relayed": 1}


def test_presence_feed(make_site):
    site = make_site()
    with EventStream(site.address, "/sse-admin/presence/feed", tls=client_context(), headers={"Authorization": "Bearer " + site.admin().key}) as feed:
        assert feed.status == 200
        feed.opened()
        assert site.carried() == {"tls": 1}


def test_older_protocol(make_site):
    site = make_site(server="SSLProtocol all\nSSLCipherSuite ALL:@SECLEVEL=0")
    with SClient(site.address, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0") as c:
        c.say("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % GET)
        c.wait("stream-open")
        site.admin().publish("e", 1)
        c.wait("data: 1\n\n")
        assert site.carried() == {"relayed": 1}
    assert any("older than TLS 1.2" in line for line in site.httpd.log.lines())


def test_filter_of_another_module_on_the_connection(make_site):
    """It would see nothing of what the hub sends, so it keeps the connection, clear ones too."""
    site = make_site(modules=["dumpio"], server="DumpIOOutput On\nLogLevel warn sse:info dumpio:trace7")
    with site.stream() as s, site.httpd.stream(GET) as clear:
        s.opened()
        clear.opened()
        flows(site, s, (10, 40000))
        assert site.carried() == {"relayed": 2}
    assert any('no hand-off past the filter "dumpio_out"' in line.lower() for line in site.httpd.log.lines())
