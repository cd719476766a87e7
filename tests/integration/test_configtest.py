# SPDX-License-Identifier: Apache-2.0
"""Wrong configuration: configtest fails and says which directive, which value and what is allowed."""

import os
import sqlite3

import pytest
from httpd_server import ADMIN, STREAM

# directive, arguments, words that the message must have besides directive and value
SERVER_WIDE = [
    ("SSEBroker", "carrier-pigeon://loft", ["carrier-pigeon", "local"]),
    ("SSEBroker", "file:{dir}/missing-url", ["missing-url"]),
    ("SSEHubProgram", "{dir}/missing-hub", ["missing-hub"]),
    ("SSEAdminSocket", "{dir}/" + "s" * 120, ["s" * 20, "107"]),
    ("SSEAdminSocket", "{dir}/run/admin.sock 0999", ["0999"]),
    ("SSEAdminSocket", "{dir}/run/admin.sock 0660 no-such-group", ["no-such-group"]),
    ("SSEDurability", "eternal", ["eternal", "normal", "full"]),
    ("SSEHubThreads", "many", ["many"]),
    ("SSEHubThreads", "0", ["0"]),
    ("SSEHistory", "lots", ["lots"]),
    ("SSEHistory", "-1", ["-1"]),
    ("SSEHistory", "10 soon", ["soon"]),
    ("SSEHeartbeat", "often", ["often"]),
    ("SSEHeartbeat", "-1", ["-1"]),
    ("SSERetry", "later", ["later"]),
    ("SSERetry", "-5", ["-5"]),
    ("SSEMaxAge", "old", ["old"]),
    ("SSEMaxStreams", "-3", ["-3"]),
    ("SSEMaxStreamsPerUser", "few", ["few"]),
    ("SSEMaxStreamsPerHost", "few", ["few"]),
    ("SSEStreamBuffer", "big", ["big"]),
    ("SSEMaxMessageSize", "0x10", ["0x10"]),
    ("SSEMaxMessageSize", "99999999999999999999", ["99999999999999999999"]),
    ("SSEPresenceGrace", "-1", ["-1"]),
    ("SSEParkedStreams", "-1", ["-1"]),
    ("SSETLSHandoff", "Maybe", ["On"]),
    ("SSEBroker", "redis://host:port", ["1 to 65535"]),
    ("SSEBroker", "redis://host/0?lease=0", ["lease"]),
    ("SSEBroker", "redis+sentinel://a,b,c", ["master"]),
    ("SSEBroker", "redis+cluster://a,b/1", ["Cluster"]),
]
PER_LOCATION = [
    ("SSERealm", '"a realm"', ["a realm"]),
    ("SSERealm", "r" * 65, ["64"]),
    ("SSESession", "telepathy", ["telepathy", "signed_cookies", "none"]),
    ("SSESession", "cache", ["redis"]),
    ("SSESession", "cache pigeon://127.0.0.1", ["pigeon", "redis"]),
    ("SSESession", "file relative/dir", ["relative/dir"]),
    ("SSESession", "signed_cookies", ["SSESecretKeyFile"]),
    ("SSEDjangoConfig", "{dir}/missing.json", ["missing.json"]),
    ("SSEDjangoConfig", "{dir}/broken.json", ["broken.json"]),
    ("SSEDjangoConfig", "{dir}/evil.json", ["evil.json", "session_table"]),
    ("SSESessionCookie", '"a;b"', ["a;b"]),
    ("SSESecretKeyFile", "{dir}/missing-key", ["missing-key"]),
    ("SSESecretKeyFile", "{dir}/empty-key", ["empty-key"]),
    ("SSESecretKeyFile", "{dir}/pipe", ["pipe", "regular file"]),
    ("SSESessionCache", "forever", ["forever"]),
    ("SSEAnonymous", "Perhaps", ["On"]),
    ("SSEAllowEvents", '"a b"', ["a b"]),
    ("SSEAllowEvents", "stream-open", ["stream-open"]),
    ("SSEAllowOrigin", "example.org", ["example.org", "http"]),
    ("SSEAllowOrigin", "https://example.org/path", ["https://example.org/path"]),
]


@pytest.fixture
def files(httpd):
    (httpd.dir / "broken.json").write_text('{"session_table": ')
    (httpd.dir / "evil.json").write_text('{"session_table": "x; DROP TABLE y"}')
    (httpd.dir / "empty-key").write_text("\n\n")
    os.mkfifo(httpd.dir / "pipe")
    return httpd


def make_database(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE auth_user (id INTEGER PRIMARY KEY)")
    database.commit()
    database.close()


def _check(httpd, directive, words):
    status, said = httpd.configtest()
    httpd.log.allow(".*")
    assert status != 0, "accepted: " + said
    assert directive in said, said
    for word in words:
        assert word.replace("{dir}", str(httpd.dir)) in said, (word, said)


@pytest.mark.parametrize("directive, arguments, words", SERVER_WIDE, ids=lambda v: v[:40] if isinstance(v, str) else "")
def test_wrong_server_value(files, directive, arguments, words):
    files.configure(server="%s %s" % (directive, arguments))
    _check(files, directive, words)


@pytest.mark.parametrize("directive, arguments, words", PER_LOCATION, ids=lambda v: v[:40] if isinstance(v, str) else "")
def test_wrong_location_value(files, directive, arguments, words):
    location = "<Location /events>\nSetHandler sse-stream\n%s %s\n</Location>\n" % (directive, arguments)
    files.configure(locations=location + ADMIN)
    _check(files, directive, words)


@pytest.mark.parametrize("directive, arguments", [(d, a) for d, a, _ in SERVER_WIDE if d not in ("SSEHubThreads",)][:6] + [("SSEHubThreads", "2"), ("SSEHistory", "10"), ("SSEMaxAge", "60")])
@pytest.mark.parametrize("place", ["VirtualHost", "Location"])
def test_server_wide_directive_in_the_wrong_place(httpd, place, directive, arguments):
    opened = "<VirtualHost 127.0.0.1:{port}>" if place == "VirtualHost" else "<Location /x>"
    httpd.configure(locations=STREAM + ADMIN + "%s\n%s %s\n</%s>\n" % (opened, directive, arguments, place))
    _check(httpd, directive, ["VirtualHost" if place == "VirtualHost" else "not allowed"])


def test_location_directive_without_argument(httpd):
    httpd.configure(locations="<Location /events>\nSetHandler sse-stream\nSSEAllowEvents\n</Location>\n")
    _check(httpd, "SSEAllowEvents", [])


def test_unreadable_key_file(httpd):
    """A directory is unreadable as a file for root, too."""
    (httpd.dir / "keydir").mkdir()
    httpd.configure(locations=STREAM + '<Location /sse-admin>\nSetHandler sse-admin\nSSEAdminKeyFile "{dir}/keydir"\n</Location>\n')
    _check(httpd, "SSEAdminKeyFile", ["keydir"])


def test_key_file_without_a_key(httpd):
    httpd.key_file.write_text("\n \n")
    httpd.configure()
    _check(httpd, "SSEAdminKeyFile", ["keys"])


def test_state_directory_that_is_a_file(httpd):
    (httpd.dir / "occupied").write_text("")
    httpd.configure(server='SSEStateDir "{dir}/occupied"')
    _check(httpd, "SSEStateDir", ["occupied"])


def test_one_realm_with_two_session_sources(httpd):
    (httpd.dir / "secret").write_text("a-secret-key\n")
    two = """
<Location /a>
    SetHandler sse-stream
    SSESession signed_cookies
    SSESecretKeyFile "{dir}/secret"
</Location>
<Location /b>
    SetHandler sse-stream
    SSESession none
    %s
</Location>
"""
    make_database(httpd.dir / "x.sqlite3")
    database = 'DBDriver sqlite3\nDBDParams "{dir}/x.sqlite3"\n'
    httpd.configure(server=database, locations=two % "" + ADMIN)
    _check(httpd, "SSERealm", ["default"])
    httpd.configure(server=database, locations=two % "SSERealm other" + ADMIN)
    status, said = httpd.configtest()
    assert status == 0, said


def test_every_good_value_is_taken(httpd):
    """The counterpart: what the reference allows passes configtest."""
    (httpd.dir / "secret").write_text("new\nold\n")
    (httpd.dir / "url").write_text("local\n")
    make_database(httpd.dir / "x.sqlite3")
    httpd.configure(
        server="""
SSEBroker file:{dir}/url
SSEAdminSocket "{dir}/run/other.sock" 0600
SSEDurability full
SSEHubThreads 3
SSEHistory 10 60
SSEHeartbeat 0
SSERetry 1000
SSEMaxAge 60
SSEMaxStreams 100
SSEMaxStreamsPerUser 2
SSEMaxStreamsPerHost 3
SSEStreamBuffer 65536
SSEMaxMessageSize 1024
SSEPresenceGrace 0
SSEParkedStreams 2
SSETLSHandoff Off
DBDriver sqlite3
DBDParams "{dir}/x.sqlite3"
""",
        locations="""
<Location /events>
    SetHandler sse-stream
    SSERealm site.one
    SSESession signed_cookies
    SSESessionCookie sid
    SSESecretKeyFile "{dir}/secret"
    SSESessionCache 0
    SSEAnonymous On
    SSEAllowEvents news:* user:%{user}:** \u2603
    SSEAllowOrigin https://example.org http://localhost:8000
</Location>
"""
        + ADMIN,
    )
    status, said = httpd.configtest()
    assert status == 0, said


@pytest.mark.parametrize("handler", ["sse-stream", "sse-admin"])
def test_handlers_are_inert_in_htaccess(httpd, handler):
    folder = httpd.dir / "htdocs" / "sub"
    folder.mkdir()
    (folder / "index.html").write_text("still a file\n")
    (folder / ".htaccess").write_text("SetHandler %s\n" % handler)
    httpd.configure(locations=STREAM + ADMIN + '<Directory "{dir}/htdocs/sub">\nAllowOverride All\n</Directory>\n')
    httpd.log.allow("htaccess|SSE01")
    httpd.start()
    answer = httpd.fetch("/sub/index.html")
    assert (answer.status, answer.body) == (200, b"still a file\n")


def test_admin_key_is_made_at_first_start(httpd):
    httpd.configure(locations=STREAM + "<Location /sse-admin>\nSetHandler sse-admin\n</Location>\n")
    key_file = httpd.state / "admin.key"
    assert not key_file.exists()
    httpd.start()
    key = key_file.read_text().strip()
    assert len(key) >= 32
    assert os.stat(key_file).st_mode & 0o777 == 0o640
    admin = httpd.admin()
    admin.key = key
    assert admin.get("/status")["version"]
    httpd.stop()
    httpd.start()
    assert key_file.read_text().strip() == key, "an existing key must stay"
