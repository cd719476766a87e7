# SPDX-License-Identifier: Apache-2.0
"""What the admin handler does: publish to an event, users, groups, everyone; presence; groups; disconnect; status."""

import json

import pytest
from event_stream import EventStream
from httpd_server import ADMIN, BASIC, basic
from waiting import wait_until

LOCATIONS = (
    """
<Location /events>
    SetHandler sse-stream
    SSEAllowEvents **
"""
    + BASIC
    + "</Location>\n<Location /open>\n    SetHandler sse-stream\n    SSEAnonymous On\n    SSEAllowEvents **\n</Location>\n"
    + ADMIN
)
USERS = ["1", "2", "3", "p1", "p2", "p3", "d1", "d2", "d3", "w", "\u00e9"]


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    server = make_shared_httpd()
    server.add_users(*USERS)
    return server.configure(server="SSEPresenceGrace 0", locations=LOCATIONS).start()


@pytest.fixture(scope="module")
def admin(server):
    return server.admin()


def stream_of(server, user, query="", **more):
    s = server.stream("/events" + query, headers=basic(user), **more)
    s.opened()
    return s


def test_publish_to_subscribers_only(server, admin):
    admin.subscribe(["route:a"], user="1")
    with stream_of(server, "1") as one, stream_of(server, "2") as two:
        position = admin.publish("route:a", {"n": 1})
        event = one.expect("route:a", '{"n":1}')
        assert event.id == position
        admin.broadcast("route:end", None)
        one.expect("route:end", "null")
        two.expect("route:end", "null")
    admin.unsubscribe(["route:a"], user="1")


def test_publish_to_users_whatever_they_subscribed_to(server, admin):
    with stream_of(server, "1") as one, stream_of(server, "1") as again, stream_of(server, "2") as two:
        admin.publish("route:direct", "x", users=["1", 3, "nobody"])
        admin.broadcast("route:end", 0)
        for s in (one, again):
            s.expect("route:direct", '"x"')
            s.expect("route:end")
        two.expect("route:end")


def test_numbers_are_users(server, admin):
    with stream_of(server, "1") as one:
        admin.publish("route:number", 1, users=[1])
        one.expect("route:number")
        assert admin.subscribe("route:sub", user=1) == ["route:sub"]
        admin.publish("route:sub", 2)
        one.expect("route:sub")
        assert admin.unsubscribe("route:sub", user=1) == []


def test_publish_to_groups(server, admin):
    admin.call("PUT", "/groups/route-staff", {"users": ["1", 2]})
    with stream_of(server, "1") as one, stream_of(server, "2") as two, stream_of(server, "3") as three:
        admin.publish("route:group", 1, groups=["route-staff"])
        admin.broadcast("route:end", 0)
        one.expect("route:group")
        two.expect("route:group")
        three.expect("route:end")
    admin.call("DELETE", "/groups/route-staff")


def test_one_message_reaches_one_stream_once(server, admin):
    """By its own wish, its subscription, its group's, as a member and as an addressee: still once."""
    admin.call("PUT", "/groups/route-once", {"users": ["1"]})
    admin.call("PUT", "/groups/route-once-too", {"users": ["1"]})
    admin.subscribe(["route:once"], user="1")
    admin.subscribe(["route:once"], group="route-once")
    with stream_of(server, "1", "?event=route:once") as s:
        admin.publish("route:once", 1)
        admin.publish("route:once", 2, users=["1", "1"], groups=["route-once", "route-once-too"])
        admin.broadcast("route:once", 3)
        admin.publish("route:once", 4)
        assert [s.expect("route:once").data for _ in range(4)] == ["1", "2", "3", "4"]
        admin.broadcast("route:end", 0)
        s.expect("route:end")
    admin.unsubscribe(["route:once"], user="1")


def test_broadcast_reaches_anonymous_streams_too(server, admin):
    with server.stream("/open") as s:
        s.opened()
        admin.broadcast("to:everyone", {"data": "set"})
        s.expect("to:everyone", '{"data":"set"}')


def test_ids_grow_along_a_stream(server, admin):
    with stream_of(server, "1", "?event=route:ids") as s:
        ids = [admin.publish("route:ids", n) for n in range(20)]
        assert [s.expect("route:ids", str(n)).id for n in range(20)] == ids
        assert len(set(ids)) == 20


def test_batch(server, admin):
    with stream_of(server, "1", "?event=route:b") as s:
        answer = admin.post("/publish", [{"event": "route:b", "data": n} for n in range(50)])
        assert len(answer["ids"]) == 50
        assert [s.expect("route:b", str(n)).id for n in range(50)] == answer["ids"]


def test_ndjson(server, admin):
    with stream_of(server, "1", "?event=route:nd") as s:
        lines = b"".join(b'{"event":"route:nd","data":%d}\n' % n for n in range(3)).rstrip(b"\n") + b"\r\n\n"
        answer = admin.request("POST", "/publish", lines, headers={"Content-Type": "application/x-ndjson"})
        assert answer.status == 200, answer.body
        assert len(answer.json["ids"]) == 3
        for n in range(3):
            s.expect("route:nd", str(n))


def test_key_repeats_do_nothing(server, admin):
    with stream_of(server, "1", "?event=route:key&event=route:other") as s:
        first = admin.publish("route:key", {"n": 1}, key="order-1")
        assert admin.publish("route:key", {"n": 1}, key="order-1") == first
        other = admin.publish("route:other", {"n": 1}, key="order-1")
        assert other != first, "keys are per channel"
        answer = admin.request("POST", "/publish", {"event": "route:key", "data": {"n": 2}, "key": "order-1"})
        assert answer.status == 409
        assert answer.head.get("content-type") == "application/problem+json"
        admin.publish("route:key", "last")
        assert s.expect("route:key").id == first
        s.expect("route:other")
        s.expect("route:key", '"last"')


def test_replace_in_history(server, admin):
    start = admin.publish("route:state", "start")
    for n in range(5):
        admin.publish("route:state", n, replace="door")
    admin.publish("route:state", "window", replace="window")
    headers = {**basic("1"), "Last-Event-ID": start}
    with server.stream("/events?event=route:state", headers=headers) as s:
        assert json.loads(s.opened().data) == {"resumed": True}
        s.expect("route:state", "4")
        s.expect("route:state", '"window"')
        admin.publish("route:state", "end")
        s.expect("route:state", '"end"')


def test_ttl_expires_from_history(server, admin):
    start = admin.publish("route:ttl", "start")
    admin.publish("route:ttl", "short", ttl=1)
    admin.publish("route:ttl", "long")

    def only_long():
        with server.stream("/open?event=route:ttl", headers={"Last-Event-ID": start}) as s:
            s.opened()
            event = s.next()
            while event.type == "stream-reset":
                event = s.next()
            return event.data == '"long"'

    assert not only_long()
    wait_until(only_long, 10, "the short message has expired", step=0.2)


# ---- presence ----


def test_presence_of_a_user(server, admin):
    assert admin.get("/presence/users/p1")["online"] is False
    with stream_of(server, "p1"), stream_of(server, "p1"):
        entry = wait_until(lambda: (lambda e: e if e["streams"] == 2 else None)(admin.get("/presence/users/p1")), 5)
        assert entry["online"] is True and entry["since"]
    wait_until(lambda: admin.get("/presence/users/p1")["online"] is False, 5, "offline after the last stream has ended")


def test_presence_counts(server, admin):
    before = admin.get("/presence")
    with stream_of(server, "p1"), stream_of(server, "p1"), stream_of(server, "p2"), server.stream("/open") as s:
        s.opened()
        now = admin.get("/presence")
        assert now["streams"] - before["streams"] == 4
        assert now["users"] - before["users"] == 2
        assert now["hubs"] == 1


def test_presence_pages(server, admin):
    names = ["p1", "p2", "p3"]
    streams = [stream_of(server, name) for name in names]
    wait_until(lambda: set(names) <= set(admin.get("/presence/users")["users"]), 5)
    seen, after = [], ""
    for _ in range(20):
        page = admin.get("/presence/users?limit=2" + ("&after=" + after if after else ""))
        assert len(page["users"]) <= 2
        seen += page["users"]
        after = page.get("next")
        if not after:
            break
    assert len(seen) == len(set(seen)) and set(names) <= set(seen)
    for s in streams:
        s.close()


def test_presence_of_a_group(server, admin):
    admin.call("PUT", "/groups/presence-g", {"users": ["p1", "p2", "p3"]})
    with stream_of(server, "p1"), stream_of(server, "p3"):
        wait_until(lambda: sorted(admin.get("/presence/groups/presence-g")["online"]) == ["p1", "p3"], 5, "both are online")
    wait_until(lambda: admin.get("/presence/groups/presence-g")["online"] == [], 5, "nobody is online")
    assert admin.get("/presence/groups/unknown-group")["online"] == []


def test_names_with_slashes_go_by_query(server, admin):
    admin.call("PUT", "/groups?name=a%2Fb%2F..", {"users": ["p1"]})
    assert admin.get("/groups?name=a%2Fb%2F..")["users"] == ["p1"]
    with stream_of(server, "p1"):
        wait_until(lambda: admin.get("/presence/groups?name=a%2Fb%2F..")["online"] == ["p1"], 5)
        assert admin.get("/presence/users?name=p1")["online"] is True
    admin.call("DELETE", "/groups?name=a%2Fb%2F..")
    # Spaces as forms and HTTP libraries write them; a plus sign in a path is one.
    admin.call("PUT", "/groups?name=the+team%2B1", {"users": ["p2"]})
    assert admin.get("/groups/the%20team+1")["users"] == ["p2"]


def test_unicode_user(server, admin):
    with stream_of(server, "\u00e9") as s:
        wait_until(lambda: admin.get("/presence/users/%C3%A9")["online"], 5)
        admin.publish("route:unicode", 1, users=["\u00e9"])
        s.expect("route:unicode")


def test_presence_feed(server, admin):
    headers = {"Authorization": "Bearer " + admin.key}
    with server.stream("/sse-admin/presence/feed", headers=headers) as feed:
        assert feed.head.get("content-type") == "text/event-stream"
        feed.opened()
        with stream_of(server, "w"):
            event = feed.next()
            while json.loads(event.data).get("user") != "w":
                event = feed.next()
            assert json.loads(event.data)["online"] is True
        event = feed.next()
        while json.loads(event.data).get("user") != "w":
            event = feed.next()
        assert json.loads(event.data)["online"] is False
    with EventStream(server.address, "/sse-admin/presence/feed") as feed:
        assert feed.status == 401


def test_presence_grace(httpd):
    """A client that comes back within the grace time never was away."""
    httpd.add_users("u")
    httpd.configure(server="SSEPresenceGrace 3", locations=LOCATIONS).start()
    admin = httpd.admin()
    headers = {"Authorization": "Bearer " + admin.key}
    with httpd.stream("/sse-admin/presence/feed", headers=headers) as feed:
        feed.opened()
        stream_of(httpd, "u").close()
        stream_of(httpd, "u").close()
        assert admin.get("/presence/users/u")["online"] is True
        assert [json.loads(feed.next().data)["online"], json.loads(feed.next().data)["online"]] == [True, False]
        assert admin.get("/presence/users/u")["online"] is False


# ---- groups ----


def test_group_members(admin):
    assert sorted(admin.call("PUT", "/groups/g1", {"users": ["1", "2"]}) and admin.get("/groups/g1")["users"]) == ["1", "2"]
    admin.call("PATCH", "/groups/g1", {"add": ["3", 4], "remove": ["1", "never-in"]})
    assert sorted(admin.get("/groups/g1")["users"]) == ["2", "3", "4"]
    admin.call("PUT", "/groups/g1", {"users": []})
    assert admin.get("/groups/g1")["users"] == []
    admin.call("DELETE", "/groups/g1")
    admin.call("DELETE", "/groups/g1")


def test_subscriptions_are_listed(admin):
    assert admin.get("/subscriptions?user=nobody")["events"] == []
    assert sorted(admin.subscribe("b a", user="s1")) == ["a", "b"]
    assert sorted(admin.subscribe(["c", "a"], user="s1")) == ["a", "b", "c"]
    assert sorted(admin.get("/subscriptions?user=s1")["events"]) == ["a", "b", "c"]
    assert sorted(admin.unsubscribe("a zzz", user="s1")) == ["b", "c"]
    assert sorted(admin.subscribe("g:e", group="s1")) == ["g:e"]
    assert admin.get("/subscriptions?group=s1")["events"] == ["g:e"]
    assert sorted(admin.get("/subscriptions?user=s1")["events"]) == ["b", "c"]


# ---- disconnect ----


def test_disconnect_user(server, admin):
    with stream_of(server, "d1") as a, stream_of(server, "d1") as b, stream_of(server, "d2") as other:
        assert admin.post("/disconnect", {"user": "d1"})["closed"] == 2
        for s in (a, b):
            end = s.rest()[-1]
            assert end.type == "stream-end" and json.loads(end.data) == {"reason": "disconnected"}
        admin.broadcast("still", 1)
        other.expect("still")
    assert admin.post("/disconnect", {"user": "nobody"})["closed"] == 0
    stream_of(server, "d1").close()


def test_disconnect_group(server, admin):
    admin.call("PUT", "/groups/cut", {"users": ["d1", "d2"]})
    with stream_of(server, "d1") as a, stream_of(server, "d2") as b, stream_of(server, "d3") as other:
        assert admin.post("/disconnect", {"group": "cut"})["closed"] == 2
        assert [s.rest()[-1].type for s in (a, b)] == ["stream-end"] * 2
        admin.broadcast("still", 1)
        other.expect("still")


def test_disconnect_refuses_for_a_time(server, admin):
    with stream_of(server, "d3") as s:
        assert admin.post("/disconnect", {"user": "d3", "for": 2})["closed"] == 1
        s.rest()

    def status():
        with EventStream(server.address, headers=basic("d3")) as s:
            return s.status

    assert status() == 403
    stream_of(server, "d1").close()
    wait_until(lambda: status() == 200, 10, "new streams are taken again", step=0.2)


def test_end_mark_stops_event_source(server, admin):
    with stream_of(server, "d1") as s:
        admin.publish("before", 1, users=["d1"])
        s.expect("before")
        admin.post("/disconnect", {"user": "d1"})
        end = s.rest()[-1]
    for headers in ({"Last-Event-ID": end.id}, {**basic("d1"), "Last-Event-ID": end.id}):
        answer = server.fetch("/open", headers=headers)
        assert answer.status == 204, answer.head.raw
        assert answer.body == b""
    # In the query the mark says nothing: the page was opened anew.
    with server.stream("/events?lastEventId=" + end.id, headers=basic("d1")) as s:
        assert json.loads(s.opened().data) == {"resumed": True}


def test_end_mark_comes_before_the_session(make_httpd):
    """204, not 403: the location knows no anonymous streams. And it is valid on another host."""
    first, second = make_httpd(), make_httpd()
    private = "<Location /private>\n    SetHandler sse-stream\n    SSEAllowOrigin https://a.example\n</Location>\n"
    for server in (first, second):
        server.add_users("u")
        server.configure(locations=LOCATIONS + private).start()
    with stream_of(first, "u") as s:
        first.admin().post("/disconnect", {"user": "u"})
        end = s.rest()[-1]
    for server in (first, second):
        assert server.fetch("/private", headers={"Last-Event-ID": end.id}).status == 204
        assert server.fetch("/private").status == 403
        forged = end.id.replace(".end", "") + ".END"
        assert server.fetch("/private", headers={"Last-Event-ID": forged}).status == 403


# ---- status ----


def test_status(server, admin):
    with stream_of(server, "1"):
        status = admin.get("/status")
    assert status["version"]
    assert status["uptime"] >= 0
    assert "broker" in status


def test_answers_are_json(admin):
    for path in ("/presence", "/status", "/health"):
        answer = admin.request("GET", path)
        assert answer.head.get("content-type") == "application/json"
        assert answer.head.get("cache-control", "no-store").find("no-store") >= 0


def test_metrics(server, admin):
    """Prometheus' text format: each sample belongs to a metric that was introduced, counters move."""

    def read():
        answer = admin.request("GET", "/metrics")
        assert answer.status == 200 and answer.head.get("content-type").startswith("text/plain; version=0.0.4")
        types, samples = {}, {}
        for line in answer.body.decode().splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split()[2:]
                types[name] = kind
            elif not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                assert series.split("{")[0] in types
                samples[series] = float(value)
        return types, samples

    types, before = read()
    assert types["sse_streams"] == "gauge" and types["sse_deliveries_total"] == "counter"
    s = stream_of(server, "w", "?event=metrics:test")
    admin.publish("metrics:test", 1)
    s.expect("metrics:test", "1")

    def total(samples, name):
        return sum(v for k, v in samples.items() if k.split("{")[0] == name)

    wait_until(lambda: total(read()[1], "sse_deliveries_total") > total(before, "sse_deliveries_total"), 10, "deliveries are counted")
    assert total(read()[1], "sse_published_total") == total(before, "sse_published_total") + 1
    s.close()
