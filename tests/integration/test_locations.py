# SPDX-License-Identifier: Apache-2.0
"""Which section a request belongs to: admin routes below any kind of section, names in paths, keys by section, streams inside
virtual hosts."""

import sqlite3

import pytest
from httpd_server import KEY, STREAM

OTHER_KEY = "other-key-0123456789abcdef"

PLACES = """
<Location "/plain">
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
</Location>
<Location "/slash/">
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
</Location>
<LocationMatch "^/sites/[^/]+/admin">
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
</LocationMatch>
SetEnvIf Request_URI "^/computed" which=sse-admin
<Location "/computed">
    SetHandler "%{reqenv:which}"
    SSEAdminKeyFile "{dir}/keys"
</Location>
<Location "/other">
    SetHandler sse-admin
    SSERealm other
    SSEAdminKeyFile "{dir}/otherkeys"
</Location>
"""


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    httpd = make_shared_httpd()
    (httpd.dir / "otherkeys").write_text("# comment\n\n%s\n%s\n" % (OTHER_KEY, KEY))
    return httpd.configure(locations=STREAM + PLACES).start()


def make_database(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (x)")
    database.close()


def ask(server, path, key=KEY, method="GET", header="Authorization"):
    if key is None:
        return server.fetch(path, method=method)
    return server.fetch(path, method=method, headers={header: "Bearer " + key if header == "Authorization" else key})


@pytest.mark.parametrize("base", ["/plain", "/slash", "/sites/a/admin", "/sites/b.c/admin", "/computed"])
def test_routes_are_below_the_section(server, base):
    assert ask(server, base + "/status").status == 200
    assert ask(server, base + "/no-such-route").status == 404
    assert ask(server, base + "/status", method="PUT").status == 405
    assert ask(server, base + "/status", key=None).status == 401


@pytest.mark.parametrize("path", ["/plain//status", "/plain/x/../status", "/plain/%73tatus", "/plain/./status"])
def test_paths_are_what_httpd_makes_of_them(server, path):
    assert ask(server, path).status == 200


def test_names_in_paths(server):
    admin = server.admin()
    admin.base = "/plain"
    for name, path in (("caf\u00e9", "caf%C3%A9"), ("a b", "a%20b"), ("100%", "100%25"), ("a+b", "a+b"), ("a&b=c", "a%26b%3Dc")):
        put = admin.request("PUT", "/groups/" + path, {"users": ["1"]})
        assert put.status == 200, put.text
        assert admin.get("/groups?name=" + path.replace("+", "%2B"))["users"] == ["1"]
    put = admin.request("PUT", "/groups?name=a%2Fb%2F..", {"users": ["2"]})
    assert put.status == 200, put.text
    assert admin.get("/groups?name=a%2Fb%2F..")["users"] == ["2"]


def test_keys_belong_to_their_section(server):
    assert ask(server, "/other/status", key=OTHER_KEY).status == 200
    assert ask(server, "/other/status", key=KEY).status == 200
    assert ask(server, "/plain/status", key=OTHER_KEY).status == 401
    for wrong in ("# comment", KEY[:-1], KEY + "x", "", KEY.upper()):
        assert ask(server, "/other/status", key=wrong).status == 401


def test_key_header_beside_httpd_s_own_authentication(server):
    assert ask(server, "/plain/status", header="X-SSE-Key").status == 200
    refused = ask(server, "/plain/status", key="wrong", header="X-SSE-Key")
    assert refused.status == 401
    assert refused.head.get("WWW-Authenticate").startswith("Bearer")
    assert refused.head.get("Content-Type") == "application/problem+json"


def test_what_needs_no_key(server):
    assert ask(server, "/plain/health", key=None).status == 200
    assert ask(server, "/plain/health", key=None, method="POST").status == 401
    assert ask(server, "/plain/", key=None).status == 401


def test_virtual_hosts_have_their_own_streams(httpd):
    httpd.configure(
        locations="""
<VirtualHost 127.0.0.1:{port}>
    ServerName one.test
    <Location "/events">
        SetHandler sse-stream
        SSERealm one
        SSEAnonymous On
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
    ServerName two.test
    SSEAnonymous On
    SSERealm two
    <Location "/events">
        SetHandler sse-stream
    </Location>
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
    ServerName three.test
</VirtualHost>
<Location "/sse-admin">
    SetHandler sse-admin
    SSERealm two
    SSEAdminKeyFile "{dir}/keys"
</Location>
"""
    ).start()
    with httpd.stream(headers={"Host": "one.test"}) as one, httpd.stream(headers={"Host": "two.test"}) as two:
        one.opened(), two.opened()
        reply = httpd.fetch(
            "/sse-admin/broadcast",
            method="POST",
            headers={"Host": "one.test", "Authorization": "Bearer " + KEY, "Content-Type": "application/json"},
            body=b'{"event": "a", "data": 1}',
        )
        assert reply.status == 200, reply.text
        two.expect("a")
        assert httpd.fetch("/events", headers={"Host": "three.test"}).status == 404
        httpd.stop()
        one.silent_until("stream-end")


@pytest.mark.parametrize("realm,good", [("", False), ("SSERealm site", True)])
def test_one_realm_over_two_databases(httpd, realm, good):
    """mod_dbd has a database for each server: two virtual hosts may read user "1" from two of them."""
    make_database(httpd.dir / "one.sqlite3")
    make_database(httpd.dir / "two.sqlite3")
    (httpd.dir / "session.keys").write_text("secret\n")
    host = """
<VirtualHost 127.0.0.1:{port}>
    DBDParams "{dir}/%s.sqlite3"
    <Location "/events">
        SetHandler sse-stream
        SSESession db
        SSESecretKeyFile "{dir}/session.keys"
        %s
    </Location>
</VirtualHost>
"""
    httpd.configure(server="DBDriver sqlite3", locations=host % ("one", realm) + host % ("two", realm))
    status, said = httpd.configtest()
    assert (status == 0) == good, said
    if not good:
        assert "SSE0105" in said and "virtual host at" in said


def test_only_databases_of_streams_are_checked(httpd):
    make_database(httpd.dir / "one.sqlite3")
    (httpd.dir / "session.keys").write_text("secret\n")
    stream = '<Location "/events">\nSetHandler sse-stream\nSSESession db\nSSESecretKeyFile "{dir}/session.keys"\n</Location>\n'
    host = '<VirtualHost 127.0.0.1:{port}>\nDBDriver sqlite3\nDBDParams "{dir}/%s"\n%s</VirtualHost>\n'
    httpd.configure(locations=host % ("one.sqlite3", stream) + host % ("none.sqlite3", ""))
    assert httpd.configtest()[0] == 0
    httpd.configure(locations=host % ("one.sqlite3", "") + host % ("none.sqlite3", stream))
    status, said = httpd.configtest()
    assert status != 0 and "SSE0103" in said and "none.sqlite3" in said
