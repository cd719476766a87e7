# SPDX-License-Identifier: Apache-2.0
"""What the admin handler refuses, and how it says so: RFC 9457 problem details with the offending member."""

import json

import pytest
from event_stream import Connection, fetch, request_bytes
from httpd_server import ADMIN, BASIC, KEY, STREAM, basic

LOCATIONS = (
    STREAM
    + ADMIN
    + """
<Location /guarded>
    SetHandler sse-admin
    SSEAdminKeyFile "{dir}/keys"
"""
    + BASIC
    + "</Location>\n<Location /denied>\n    SetHandler sse-admin\n    SSEAdminKeyFile \"{dir}/keys\"\n    Require all denied\n</Location>\n"
)


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    server = make_shared_httpd()
    server.add_users("alice")
    server.log.allow("AH10244")  # httpd itself refuses broken percent encoding
    server.log.allow("AH01630")  # client denied by server configuration: what /denied is for
    return server.configure(server="SSEMaxMessageSize 4096", locations=LOCATIONS).start()


@pytest.fixture(scope="module")
def admin(server):
    return server.admin()


def check_problem(answer, status, member=None):
    assert answer.status == status, (answer.status, answer.body)
    assert answer.head.get("content-type") == "application/problem+json"
    problem = answer.json
    assert set(problem) >= {"type", "title", "status", "detail"}, problem
    assert problem["status"] == status
    assert all(isinstance(problem[m], str) and problem[m] for m in ("type", "title", "detail"))
    if member is not None:
        assert any(member in json.dumps(e) for e in problem["errors"]), (member, problem)
    return problem


# ---- keys ----


def test_body_without_a_key_is_not_kept(server):
    """Whoever has no key cannot have 16 MiB held for it, and what it sends is never taken for its next request."""
    inner = request_bytes("GET", "/smuggled", [])
    for method, target, status in (("GET", "/sse-admin/health", 200), ("POST", "/sse-admin/publish", 401)):
        with Connection(server.address) as c:
            c.send(request_bytes(method, target, [("Content-Length", str(len(inner)))], body=inner))
            head = c.read_head()
            c.read_body(head)
            assert head.status == status
            if head.get("connection", "").lower() != "close":
                c.send(request_bytes("GET", "/index.html", []))
                assert c.read_head().status == 200
    assert "smuggled" not in server.access_log.read_text()
    with Connection(server.address, timeout=30) as c:
        c.send(request_bytes("GET", "/sse-admin/health", [("Content-Length", str(17 * 1024 * 1024))]))
        c.send(b" " * (17 * 1024 * 1024))
        assert c.read_head().status == 200


@pytest.mark.parametrize("key", [None, "", "wrong", KEY[:-1], KEY + "x", KEY.upper(), KEY + " " + KEY])
def test_no_or_wrong_key(admin, key):
    for method, path in (("POST", "/publish"), ("GET", "/presence"), ("GET", "/no/such/path"), ("DELETE", "/groups/x")):
        answer = admin.request(method, path, {"event": "e", "data": 1} if method == "POST" else None, key=key)
        check_problem(answer, 401)
        assert answer.head.get("www-authenticate").startswith("Bearer")


def test_other_schemes_are_no_key(admin):
    for value in ("Basic " + KEY, KEY, "Bearer", "Bearer\t", "bearer" + KEY):
        check_problem(admin.request("GET", "/presence", headers={"Authorization": value}), 401)


def test_scheme_name_is_case_insensitive(admin):
    assert admin.request("GET", "/presence", headers={"Authorization": "bEARER " + KEY}).status == 200


def test_key_in_its_own_header(admin):
    assert admin.request("GET", "/presence", headers={"X-SSE-Key": KEY}, key=None).status == 200
    check_problem(admin.request("GET", "/presence", headers={"X-SSE-Key": "wrong"}, key=None), 401)


def test_nothing_but_health_goes_without_a_key(admin):
    for path in ("/", "/status", "/metrics", "/nothing", "/health/", "/health?name=x/../status"):
        expected = 200 if path.startswith("/health?") else 401
        answer = admin.request("GET", path, headers={"Accept": "text/html"}, key=None)
        assert (path, answer.status) == (path, expected)
        assert "version" not in answer.text
    assert admin.request("POST", "/health", {}, key=None).status == 401


def test_key_in_the_query_is_none(admin):
    check_problem(admin.request("GET", "/presence?key=" + KEY, key=None), 401)


def test_httpd_authentication_besides(server):
    guarded = server.admin("/guarded")
    own = {"X-SSE-Key": KEY}
    assert guarded.request("GET", "/presence", headers=own, key=None).status == 401
    assert guarded.request("GET", "/presence", headers={**own, **basic("alice")}, key=None).status == 200
    assert guarded.request("GET", "/presence", headers=basic("alice"), key=None).status == 401
    assert server.admin("/denied").request("GET", "/presence").status == 403


def test_several_keys(httpd):
    httpd.key_file.write_text("first-key-of-two\n\nsecond-key-of-two\n")
    httpd.configure().start()
    admin = httpd.admin()
    assert admin.request("GET", "/presence", key="first-key-of-two").status == 200
    assert admin.request("GET", "/presence", key="second-key-of-two").status == 200
    assert admin.request("GET", "/presence", key="third").status == 401


def test_health_needs_no_key(admin):
    assert admin.request("GET", "/health", key=None).status == 200
    assert admin.request("GET", "/status", key=None).status == 401


# ---- paths and methods ----


@pytest.mark.parametrize("path", ["/nothing", "/publish/x", "/presence/nobody", "/presence/users/a/b", "/../publish", "/PUBLISH"])
def test_unknown_path(admin, path):
    answer = admin.request("POST", path, {"event": "e", "data": 1})
    if path.startswith("/.."):
        assert answer.status == 404, answer.body  # above the location: not the admin handler's
    else:
        check_problem(answer, 404)


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/publish", {"POST"}),
        ("DELETE", "/publish", {"POST"}),
        ("PUT", "/broadcast", {"POST"}),
        ("GET", "/subscribe", {"POST"}),
        ("GET", "/disconnect", {"POST"}),
        ("POST", "/presence", {"GET"}),
        ("POST", "/presence/users/1", {"GET"}),
        ("POST", "/subscriptions", {"GET"}),
        ("POST", "/groups/a", {"GET", "PUT", "PATCH", "DELETE"}),
        ("POST", "/status", {"GET"}),
    ],
)
def test_wrong_method(admin, method, path, allowed):
    answer = admin.request(method, path, {} if method in ("POST", "PUT") else None)
    check_problem(answer, 405)
    assert allowed <= {m.strip() for m in answer.head.get("allow").split(",")}


# ---- bodies ----

BAD_BODIES = [
    ("/publish", {}, "event"),
    ("/publish", {"event": "e"}, "data"),
    ("/publish", {"data": 1}, "event"),
    ("/publish", {"event": 1, "data": 1}, "event"),
    ("/publish", {"event": None, "data": 1}, "event"),
    ("/publish", {"event": "e", "data": 1, "users": "u"}, "users"),
    ("/publish", {"event": "e", "data": 1, "users": [{}]}, "users"),
    ("/publish", {"event": "e", "data": 1, "users": [""]}, "users"),
    ("/publish", {"event": "e", "data": 1, "users": [None]}, "users"),
    ("/publish", {"event": "e", "data": 1, "users": [True]}, "users"),
    ("/publish", {"event": "e", "data": 1, "users": ["x" * 256]}, "users"),
    ("/publish", {"event": "e", "data": 1, "users": ["a\nb"]}, "users"),
    ("/publish", {"event": "e", "data": 1, "groups": {"a": 1}}, "groups"),
    ("/publish", {"event": "e", "data": 1, "groups": ["g" * 641]}, "groups"),
    ("/publish", {"event": "e", "data": 1, "key": 5.5}, "key"),
    ("/publish", {"event": "e", "data": 1, "key": []}, "key"),
    ("/publish", {"event": "e", "data": 1, "ttl": "soon"}, "ttl"),
    ("/publish", {"event": "e", "data": 1, "ttl": -1}, "ttl"),
    ("/publish", {"event": "e", "data": 1, "ttl": 1.5}, "ttl"),
    ("/publish", {"event": "e", "data": 1, "raw": True}, "data"),
    ("/publish", {"event": "e", "data": "x", "raw": "yes"}, "raw"),
    ("/publish", {"event": "e", "data": 1, "replace": {}}, "replace"),
    ("/publish", {"event": "e", "data": 1, "usres": ["typo"]}, "usres"),
    ("/broadcast", {"event": "e", "data": 1, "users": ["u"]}, "users"),
    ("/broadcast", {"data": 1}, "event"),
    ("/subscribe", {}, None),
    ("/subscribe", {"user": "u"}, "events"),
    ("/subscribe", {"events": ["e"]}, "user"),
    ("/subscribe", {"user": "u", "group": "g", "events": ["e"]}, "group"),
    ("/subscribe", {"user": "", "events": ["e"]}, "user"),
    ("/subscribe", {"user": "u", "events": 5}, "events"),
    ("/subscribe", {"user": "u", "events": [{}]}, "events"),
    ("/subscribe", {"user": "u", "events": ["a b"]}, "events"),
    ("/subscribe", {"user": "u", "events": ["e"], "session": 5}, "session"),
    ("/subscribe", {"group": "g", "events": ["e"], "session": "abc"}, "session"),
    ("/subscribe", {"user": "u", "events": ["e%d" % n for n in range(1100)]}, "events"),
    ("/unsubscribe", {"user": "u"}, "events"),
    ("/disconnect", {}, None),
    ("/disconnect", {"user": "u", "group": "g"}, None),
    ("/disconnect", {"user": []}, "user"),
    ("/disconnect", {"user": "u", "for": "ever"}, "for"),
    ("/disconnect", {"user": "u", "for": -1}, "for"),
    ("/publish", 5, None),
    ("/publish", "text", None),
    ("/publish", None, None),
    ("/subscribe", [], None),
]


@pytest.mark.parametrize("path, body, member", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_wrong_members(admin, path, body, member):
    raw = json.dumps(body).encode()
    problem = check_problem(admin.request("POST", path, raw), 400, member)
    assert problem["detail"]


def test_group_bodies(admin):
    for method, body in (
        ("PUT", {}),
        ("PUT", {"users": "a"}),
        ("PUT", {"users": [{}]}),
        ("PUT", []),
        ("PATCH", {}),
        ("PATCH", {"add": "a"}),
        ("PATCH", {"add": [[]]}),
        ("PATCH", {"adds": ["a"]}),
    ):
        check_problem(admin.request(method, "/groups/g", json.dumps(body).encode()), 400)


def test_content_type(admin):
    body = b'{"event": "e", "data": 1}'
    for value in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data"):
        check_problem(admin.request("POST", "/publish", body, headers={"Content-Type": value}), 415)
    for value in ("application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"):
        assert admin.request("POST", "/publish", body, headers={"Content-Type": value}).status == 200


def test_no_content_type(server):
    head = {"Authorization": "Bearer " + KEY}
    answer = fetch(server.address, "POST", "/sse-admin/publish", head, b'{"event": "e", "data": 1}')
    assert answer.status == 415


def test_too_large(admin):
    check_problem(admin.request("POST", "/publish", {"event": "e", "data": "x" * 5000}), 413)
    assert admin.request("POST", "/publish", {"event": "e", "data": "x" * 3900}).status == 200
    check_problem(admin.request("POST", "/broadcast", {"event": "e", "data": "x" * 5000}), 413)
    check_problem(admin.request("POST", "/publish", [{"event": "e", "data": 1}, {"event": "e", "data": "x" * 5000}]), 413)


def test_batch_is_bounded(admin):
    item = b'{"event":"e","data":1}'
    check_problem(admin.request("POST", "/publish", b"[" + b",".join([item] * 10001) + b"]"), 413)
    check_problem(admin.request("POST", "/publish", b"[" + b" " * (16 * 1024 * 1024) + item + b"]", timeout=30), 413)


def test_body_announced_as_huge(server):
    """Refused by its length alone, or after the bound: never read to the end."""
    with Connection(server.address) as c:
        c.send(
            b"POST /sse-admin/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\n\r\n" % KEY.encode()
        )
        assert c.read_head().status == 413


def test_body_that_ends_early(server):
    with Connection(server.address) as c:
        c.send(
            b"POST /sse-admin/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
            b'Content-Length: 1000\r\n\r\n{"event":"cut:short","data":1}' % KEY.encode()
        )
    with server.stream("/events?event=cut:short&event=after") as s:
        s.opened()
        server.admin().publish("after", 1)
        s.expect("after")


def test_chunked_body(admin):
    body = b'10\r\n{"event":"e","da\r\n6\r\nta":1}\r\n0\r\n\r\n'
    with Connection(admin.address) as c:
        c.send(
            b"POST /sse-admin/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % KEY.encode() + body
        )
        head = c.read_head()
        assert head.status == 200, c.read_body(head)


def test_batch_with_bad_items_publishes_nothing(server, admin):
    with server.stream("/events?event=batch&event=after") as s:
        s.opened()
        items = [{"event": "batch", "data": 1}, {"event": "a b", "data": 2}, {"event": "batch"}, {"event": "batch", "data": 4}]
        problem = check_problem(admin.request("POST", "/publish", items), 400)
        assert {e["index"] for e in problem["errors"]} == {1, 2}
        admin.publish("after", 1)
        s.expect("after")


def test_ndjson_with_a_bad_line(admin):
    body = b'{"event":"e","data":1}\n{"event":"e","data":\n{"event":"e","data":3}\n'
    problem = check_problem(admin.request("POST", "/publish", body, headers={"Content-Type": "application/x-ndjson"}), 400)
    assert [e["index"] for e in problem["errors"]] == [1]


def test_empty_batch(admin):
    answer = admin.request("POST", "/publish", [])
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json == {"ids": []}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-1", "limit=99999999999999999999"])
def test_bad_page(admin, query):
    check_problem(admin.request("GET", "/presence/users?" + query), 400, "limit")


def test_subscriptions_wants_one_owner(admin):
    check_problem(admin.request("GET", "/subscriptions"), 400)
    check_problem(admin.request("GET", "/subscriptions?user=a&group=b"), 400)


def test_broken_percent_encoding(admin):
    for path in ("/presence/users/%", "/presence/users/%zz", "/groups/%FF", "/presence/users/%00", "/groups?name=%0A"):
        answer = admin.request("GET", path)
        assert answer.status in (400, 404), (path, answer.status)
