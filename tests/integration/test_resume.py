# SPDX-License-Identifier: Apache-2.0
"""Resume: everything that the stream would have carried arrives in order, once; what is gone is told by stream-reset."""

import json
import threading

import pytest
from httpd_server import ADMIN, BASIC, STREAM, basic
from waiting import wait_until

PRIVATE = "<Location /private>\n    SetHandler sse-stream\n    SSEAllowEvents **\n" + BASIC + "</Location>\n"


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    server = make_shared_httpd()
    server.add_users("a", "b", "c", "d")
    return server.configure(server="SSEHistory 50\nSSEHubThreads 3", locations=STREAM + PRIVATE + ADMIN).start()


@pytest.fixture(scope="module")
def admin(server):
    return server.admin()


def reset_of(event):
    assert event.type == "stream-reset", event
    return json.loads(event.data)


@pytest.mark.parametrize("way", ["header", "lastEventId", "last_event_id"])
def test_resume(server, admin, way):
    event = "resume:" + way
    ids = [admin.publish(event, n) for n in range(5)]
    headers = {"Last-Event-ID": ids[1]} if way == "header" else {}
    query = "" if way == "header" else "&%s=%s" % (way, ids[1])
    with server.stream("/events?event=%s%s" % (event, query), headers=headers) as s:
        opened = s.opened()
        assert json.loads(opened.data) == {"resumed": True}
        assert opened.id == ids[1], "the position resumed from"
        assert [s.expect(event, str(n)).id for n in (2, 3, 4)] == ids[2:]
        admin.publish(event, 5)
        s.expect(event, "5")


def test_header_wins_over_query(server, admin):
    ids = [admin.publish("resume:wins", n) for n in range(5)]
    with server.stream("/events?event=resume:wins&lastEventId=" + ids[0], headers={"Last-Event-ID": ids[3]}) as s:
        assert s.opened().id == ids[3]
        s.expect("resume:wins", "4")


def test_fresh_stream_gets_nothing_old(server, admin):
    last = [admin.publish("resume:fresh", n) for n in range(3)][-1]
    with server.stream("/events?event=resume:fresh") as s:
        opened = s.opened()
        assert json.loads(opened.data) == {"resumed": False}
        assert opened.id == last, "the current position"
        admin.publish("resume:fresh", "new")
        s.expect("resume:fresh", '"new"')


def test_resume_from_stream_open(server, admin):
    """A client that saw nothing but the opening can still resume from it."""
    with server.stream("/events?event=resume:open") as s:
        position = s.opened().id
    admin.publish("resume:open", 1)
    with server.stream("/events?event=resume:open", headers={"Last-Event-ID": position}) as s:
        s.opened()
        s.expect("resume:open", "1")


def test_resume_brings_every_kind_in_order(server, admin):
    admin.call("PUT", "/groups/resume-g", {"users": ["a"]})
    admin.subscribe("kind:sub", user="a")
    admin.subscribe("kind:group", group="resume-g")
    with server.stream("/private?event=kind:asked", headers=basic("a")) as s:
        position = s.opened().id
    for n in range(10):
        admin.publish("kind:sub", n)
        admin.publish("kind:other", n)
        admin.publish("kind:group", n)
        admin.publish("kind:user", n, users=["a"])
        admin.publish("kind:member", n, groups=["resume-g"])
        admin.publish("kind:elsewhere", n, users=["b"])
        admin.publish("kind:asked", n)
        admin.broadcast("kind:all", n)
        admin.publish("kind:sub", n, users=["a"], groups=["resume-g"])
    with server.stream("/private?event=kind:asked", headers={**basic("a"), "Last-Event-ID": position}) as s:
        s.opened()
        for n in range(10):
            for event in ("kind:sub", "kind:group", "kind:user", "kind:member", "kind:asked", "kind:all", "kind:sub"):
                s.expect(event, str(n))


def test_resume_beyond_history_is_told(server, admin):
    first = admin.publish("resume:trim", "first")
    for n in range(60):
        admin.publish("resume:trim", n)
    with server.stream("/events?event=resume:trim", headers={"Last-Event-ID": first}) as s:
        s.opened()
        event = s.next()
        reset = reset_of(event)
        assert reset == {"reason": "expired", "events": ["resume:trim"]}
        assert event.id
        got = [json.loads(s.expect("resume:trim").data) for _ in range(50)]
        assert got == list(range(10, 60))
        admin.publish("resume:trim", "live")
        s.expect("resume:trim", '"live"')


def test_resume_exactly_at_the_edge_is_no_gap(server, admin):
    ids = [admin.publish("resume:edge", n) for n in range(60)]
    with server.stream("/events?event=resume:edge", headers={"Last-Event-ID": ids[9]}) as s:
        s.opened()
        assert [json.loads(s.expect("resume:edge").data) for _ in range(50)] == list(range(10, 60))
    with server.stream("/events?event=resume:edge", headers={"Last-Event-ID": ids[8]}) as s:
        s.opened()
        assert reset_of(s.next())["reason"] == "expired"


def test_only_the_events_with_a_gap_are_named(server, admin):
    position = admin.publish("gap:whole", 0)
    admin.publish("gap:whole", 1)
    for n in range(60):
        admin.publish("gap:cut", n)
        admin.publish("gap:not-ours", n)
    with server.stream("/events?event=gap:whole&event=gap:cut", headers={"Last-Event-ID": position}) as s:
        s.opened()
        assert reset_of(s.next()) == {"reason": "expired", "events": ["gap:cut"]}
        s.expect("gap:whole", "1")


def test_gap_of_directed_messages(server, admin):
    with server.stream("/private", headers=basic("b")) as s:
        position = s.opened().id
    for n in range(60):
        admin.publish("gap:directed", n, users=["b"])
    with server.stream("/private", headers={**basic("b"), "Last-Event-ID": position}) as s:
        s.opened()
        assert reset_of(s.next()) == {"reason": "expired", "events": None}
        assert json.loads(s.expect("gap:directed").data) == 10


def test_one_users_messages_never_push_out_anothers(server, admin):
    with server.stream("/private", headers=basic("c")) as s:
        position = s.opened().id
    admin.publish("mine", 1, users=["c"])
    for n in range(200):
        admin.publish("theirs", n, users=["d"])
    with server.stream("/private", headers={**basic("c"), "Last-Event-ID": position}) as s:
        s.opened()
        s.expect("mine", "1")


BAD_IDS = ["x", "0", "-1", "1-", "-", "1-1", "00000000000000001-1", "ffffffffffffffff-18446744073709551615", "zz-1", "1" * 255, "1" * 300, "a b", "\u00e9", "%00"]


@pytest.mark.parametrize("position", BAD_IDS, ids=lambda p: ascii(p)[:24])
def test_id_that_was_never_issued(server, admin, position):
    with server.stream("/events?event=bad:id", headers={"Last-Event-ID": position.encode("utf-8").decode("latin-1")}) as s:
        s.opened()
        event = s.next()
        assert reset_of(event)["reason"] == "unknown-id"
        assert event.id
        admin.publish("bad:id", 1)
        s.expect("bad:id", "1")


def test_id_of_the_future(server, admin):
    """The right epoch, a number that was not reached: never issued here."""
    epoch = admin.publish("bad:future", 0).split("-")[0]
    with server.stream("/events?event=bad:future", headers={"Last-Event-ID": epoch + "-999999999"}) as s:
        s.opened()
        assert reset_of(s.next())["reason"] == "unknown-id"
        admin.publish("bad:future", 1)
        s.expect("bad:future", "1")


def test_empty_id_is_no_id(server):
    with server.stream("/events", headers={"Last-Event-ID": ""}) as s:
        assert json.loads(s.opened().data) == {"resumed": False}


def test_no_hole_and_no_double_while_publishing(httpd):
    """Clients that leave and come back at any moment, while four publishers go on: each sees every number once, in order."""
    httpd.configure(server="SSEHistory 5000\nSSEHubThreads 3").start()
    count, publishers, clients = 150, 4, 6
    failures, received = [], [[] for _ in range(clients)]
    position = httpd.stream("/events")
    start = position.opened().id
    position.close()

    def publish(number):
        try:
            admin = httpd.admin()
            for n in range(count):
                admin.publish("busy", [number, n])
            admin.close()
        except BaseException as e:
            failures.append(e)

    def follow(number):
        try:
            last_id = start
            wanted = publishers * count
            while len(received[number]) < wanted:
                with httpd.stream("/events?event=busy", headers={"Last-Event-ID": last_id}, timeout=30) as s:
                    s.opened()
                    for _ in range(7 + 5 * number):
                        if len(received[number]) == wanted:
                            break
                        event = s.next(30)
                        assert event.type == "busy", event
                        received[number].append(json.loads(event.data))
                        last_id = event.id
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(clients)]
    threads += [threading.Thread(target=publish, args=(n,)) for n in range(publishers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive()
    assert not failures, failures
    for got in received:
        assert got == received[0], "all see one order"
        for number in range(publishers):
            assert [n for p, n in got if p == number] == list(range(count))


def test_no_history(httpd):
    httpd.configure(server="SSEHistory 0").start()
    admin = httpd.admin()
    first = admin.publish("none", 1)
    admin.publish("none", 2)
    with httpd.stream("/events?event=none", headers={"Last-Event-ID": first}) as s:
        s.opened()
        assert reset_of(s.next()) == {"reason": "expired", "events": ["none"]}
        admin.publish("none", 3)
        s.expect("none", "3")


def test_history_ages(httpd):
    httpd.configure(server="SSEHistory 100 1").start()
    admin = httpd.admin()
    first = admin.publish("old", 1)
    admin.publish("old", 2)

    def aged():
        with httpd.stream("/events?event=old", headers={"Last-Event-ID": first}) as s:
            s.opened()
            return s.next().type == "stream-reset"

    wait_until(aged, 10, "history has aged", step=0.3)


def test_large_replay(httpd):
    """A replay of 30 MiB to a client that reads: paced, whole, in order; the hub stays answering."""
    httpd.configure(server="SSEHistory 2000").start()
    admin = httpd.admin()
    start = admin.publish("large", -1)
    text = "x" * 100_000
    for n in range(300):
        admin.publish("large", {"n": n, "text": text})
    with httpd.stream("/events?event=large", headers={"Last-Event-ID": start}, timeout=60) as s:
        s.opened()
        assert [json.loads(s.expect("large", timeout=60).data)["n"] for _ in range(300)] == list(range(300))
        admin.publish("large", "live")
        s.expect("large", '"live"')
