# SPDX-License-Identifier: Apache-2.0
"""Two realms in one httpd with equal users, events and groups; two httpds on one machine: they never meet."""

import json

import pytest
from event_stream import EventStream
from httpd_server import ADMIN, BASIC, KEY, STREAM, basic
from waiting import wait_until

TWO = "".join(
    """
<Location /{realm}/events>
    SetHandler sse-stream
    SSERealm {realm}
    SSEAllowEvents **
    {basic}
</Location>
<Location /{realm}/admin>
    SetHandler sse-admin
    SSERealm {realm}
    SSEAdminKeyFile "{{dir}}/keys"
</Location>
""".replace("{realm}", realm).replace("{basic}", BASIC.strip()).replace("{{dir}}", "{dir}")
    for realm in ("red", "blue")
)


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    server = make_shared_httpd()
    server.add_users("1", "2")
    return server.configure(server="SSEPresenceGrace 0\nSSEHistory 20", locations=TWO).start()


@pytest.fixture(scope="module")
def admins(server):
    return {realm: server.admin("/%s/admin" % realm) for realm in ("red", "blue")}


def stream_of(server, realm, user="1", query="", **headers):
    s = server.stream("/%s/events%s" % (realm, query), headers={**basic(user), **headers})
    s.opened()
    return s


def both_end(admins, streams):
    for realm, s in streams.items():
        admins[realm].broadcast("end", realm)
        s.expect("end", json.dumps(realm))


def test_events_users_groups_and_broadcasts(server, admins):
    streams = {realm: stream_of(server, realm, query="?event=e") for realm in admins}
    for realm, admin in admins.items():
        admin.call("PUT", "/groups/g", {"users": ["1"]})
    red = admins["red"]
    red.publish("e", 1)
    red.publish("direct", 2, users=["1"])
    red.publish("group", 3, groups=["g"])
    red.broadcast("all", 4)
    for event, data in (("e", "1"), ("direct", "2"), ("group", "3"), ("all", "4")):
        streams["red"].expect(event, data)
    both_end(admins, streams)
    for s in streams.values():
        s.close()


def test_subscriptions(server, admins):
    assert admins["red"].subscribe("only:red", user="1") == ["only:red"]
    assert admins["blue"].get("/subscriptions?user=1")["events"] == []
    streams = {realm: stream_of(server, realm) for realm in admins}
    for admin in admins.values():
        admin.publish("only:red", 1)
    streams["red"].expect("only:red")
    both_end(admins, streams)
    for s in streams.values():
        s.close()


def test_groups_and_presence(server, admins):
    admins["red"].call("PUT", "/groups/own", {"users": ["1", "2"]})
    admins["blue"].call("PUT", "/groups/own", {"users": ["2"]})
    wait_until(lambda: not admins["blue"].get("/presence/users/1")["online"], 5, "earlier streams are gone")
    with stream_of(server, "red"):
        assert admins["red"].get("/presence/users/1")["online"] is True
        assert admins["blue"].get("/presence/users/1")["online"] is False
        assert admins["red"].get("/presence/groups/own")["online"] == ["1"]
        assert admins["blue"].get("/presence/groups/own")["online"] == []
        assert admins["blue"].get("/presence")["streams"] == 0


def test_keys_of_publishers(admins):
    first = admins["red"].publish("keyed", 1, key="k")
    assert admins["blue"].publish("keyed", 2, key="k") != first
    assert admins["red"].publish("keyed", 1, key="k") == first


def test_history(server, admins):
    start = {realm: admin.publish("h", "start") for realm, admin in admins.items()}
    admins["red"].publish("h", "red")
    for n in range(50):
        admins["blue"].publish("h", n)
    with stream_of(server, "red", query="?event=h", **{"Last-Event-ID": start["red"]}) as s:
        s.expect("h", '"red"')
        admins["red"].broadcast("end", 0)
        s.expect("end")


def test_position_of_another_realm_brings_nothing_of_it(server, admins):
    """Whatever the hub makes of it: no message of blue on a stream of red."""
    for n in range(5):
        admins["red"].publish("x", "red")
        position = admins["blue"].publish("x", "blue")
    with stream_of(server, "red", query="?event=x", **{"Last-Event-ID": position}) as s:
        admins["red"].publish("x", "now")
        event = s.next()
        while event.data != '"now"':
            assert "blue" not in event.data
            event = s.next()


def test_disconnect_and_refusal(server, admins):
    with stream_of(server, "red") as red, stream_of(server, "blue") as blue:
        assert admins["red"].post("/disconnect", {"user": "1", "for": 2})["closed"] == 1
        red.rest()
        admins["blue"].broadcast("end", 0)
        blue.expect("end")
        stream_of(server, "blue").close()
        with EventStream(server.address, "/red/events", headers=basic("1")) as s:
            assert s.status == 403


def test_a_key_of_one_realm_opens_no_other(httpd):
    (httpd.dir / "blue-keys").write_text("the-key-of-blue-alone\n")
    httpd.add_users("1")
    locations = TWO.replace('SSERealm blue\n    SSEAdminKeyFile "{dir}/keys"', 'SSERealm blue\n    SSEAdminKeyFile "{dir}/blue-keys"')
    assert "blue-keys" in locations
    httpd.configure(locations=locations).start()
    assert httpd.admin("/blue/admin").request("GET", "/presence").status == 401
    assert httpd.admin("/blue/admin").request("GET", "/presence", key="the-key-of-blue-alone").status == 200
    assert httpd.admin("/red/admin").request("GET", "/presence", key="the-key-of-blue-alone").status == 401
    assert httpd.admin("/red/admin").request("GET", "/presence", key=KEY).status == 200


# ---- two httpds ----


def test_two_httpds_on_one_machine(make_httpd):
    servers = [make_httpd(), make_httpd("worker")]
    for server in servers:
        server.configure(locations=STREAM + ADMIN).start()
    streams = [server.stream("/events?event=e") for server in servers]
    for s in streams:
        s.opened()
    for n, server in enumerate(servers):
        server.admin().publish("e", n)
        with server.admin_socket() as a:
            assert a.call("POST", "/publish", {"event": "e", "data": 10 + n})["status"] == 200
    for n, s in enumerate(streams):
        s.expect("e", str(n))
        s.expect("e", str(10 + n))
    assert servers[0].hub_pid() != servers[1].hub_pid()
    servers[0].stop()
    assert streams[0].rest()[-1].type == "stream-end"
    servers[1].admin().publish("e", "still")
    streams[1].expect("e", '"still"')
    for s in streams:
        s.close()


def test_two_httpds_on_one_state_directory(make_httpd):
    """The second one's hub finds the directory locked and says so; the first one is not disturbed."""
    first, second = make_httpd(), make_httpd()
    first.configure().start()
    second.log.expect("SSE0300")
    second.log.expect("SSE0202")
    second.configure(server='SSEStateDir "%s"' % first.state, locations=STREAM + '<Location /sse-admin>\nSetHandler sse-admin\nSSEAdminKeyFile "{dir}/keys"\n</Location>\n')
    with first.stream("/events?event=e") as s:
        s.opened()
        second.start(hub=False)
        assert second.fetch("/index.html").status == 200
        with second.stream() as other:
            assert other.next(20).type == "stream-end"
        first.admin().publish("e", 1)
        s.expect("e")
        wait_until(lambda: second.log.matching("SSE0300"), 40, "the log tells it")
