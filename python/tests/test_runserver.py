# SPDX-License-Identifier: Apache-2.0
"""Events in manage.py runserver: the stand-in keeps the streams' contract as far as it goes, and says what it is."""

import json
from contextlib import contextmanager

import pytest
from django.test import Client

from event_stream import EventStream, fetch
from ports import free_port
from processes import Process, python
from waiting import wait_until

SETTINGS = {"SSE_ADMIN_URL": "runserver:", "DEBUG": True}


@contextmanager
def running(port, **settings):
    with Process("runserver", "--noreload", f"127.0.0.1:{port}", **dict(SETTINGS, **settings)) as process:
        process.address = ("127.0.0.1", port)

        def answers():
            try:
                return fetch(process.address, target="/plain/").status == 200
            except OSError:
                return False

        wait_until(answers, 20, "runserver answers")
        yield process
        process.stop()


@pytest.fixture(scope="module")
def people():
    python("from django.contrib.auth.models import User\nfor n in ('alice', 'bob'): User.objects.create_user(n, password='pw')")
    yield
    python("from django.contrib.auth.models import User\nUser.objects.all().delete()", **SETTINGS)


@pytest.fixture(scope="module")
def server(people):
    with running(free_port()) as process:
        yield process


def cookie(server, name="alice"):
    answer = fetch(server.address, target=f"/in/?name={name}")
    assert answer.status == 200
    return {"Cookie": answer.head.get("set-cookie").split(";")[0]}


def get(server, path, headers):
    answer = fetch(server.address, target=path, headers=headers)
    assert answer.status == 200, answer.text
    return json.loads(answer.text) if answer.text.startswith("{") else answer.text


def test_streams(server):
    headers = cookie(server)
    with EventStream(server.address, "/events/?event=extra", headers=headers) as stream:
        assert stream.head.get("content-type") == "text/event-stream"
        assert json.loads(stream.opened().data) == {"resumed": False}
        get(server, "/subscribe/?events=from:view", headers)
        last = get(server, "/publish/", headers)["id"]
        assert stream.expect("from:view", '{"n":1}').id == last
        assert "stand-in" in server.wait_for("stand-in")
    get(server, "/publish/", headers)
    with EventStream(server.address, "/events/", headers=[*headers.items(), ("Last-Event-ID", last)]) as stream:
        assert json.loads(stream.opened().data) == {"resumed": True}
        stream.expect("from:view", '{"n":1}')
    with EventStream(server.address, "/events/?lastEventId=other-1", headers=headers) as stream:
        stream.opened()
        assert json.loads(stream.expect("stream-reset").data)["reason"] == "unknown-id"


def test_logout(server):
    headers = cookie(server)
    with EventStream(server.address, "/events/", headers=headers) as stream:
        stream.opened()
        get(server, "/out/", headers)
        assert json.loads(stream.expect("stream-end").data) == {"reason": "logout"}
        assert stream.rest() == []


def test_refusals(server):
    assert fetch(server.address, target="/events/").status == 403
    assert fetch(server.address, target="/events/?event=a%20b", headers=cookie(server)).status == 400
    assert fetch(server.address, "POST", "/events/").status == 405


@pytest.mark.parametrize("mode", ["session", "db"])
def test_subscriptions_are_there_again_after_a_restart(people, mode):
    """As after each change of the code."""
    port = free_port()
    with running(port, SSE_SUBSCRIPTIONS=mode) as first:
        headers = cookie(first, "bob")
        get(first, "/subscribe/?events=from:view", headers)
    with running(port, SSE_SUBSCRIPTIONS=mode) as second, EventStream(second.address, "/events/", headers=headers) as stream:
        stream.opened()
        get(second, "/publish/", headers)
        stream.expect("from:view", '{"n":1}')


def test_with_a_real_hub_the_view_is_not_there():
    assert Client().get("/events/").status_code == 404
