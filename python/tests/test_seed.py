# SPDX-License-Identifier: Apache-2.0
"""The sketch that the project grew from (seed_sketch.txt: every character of it, but for one typo) against a real httpd."""

import ast
import pathlib

import pytest
from django.contrib.auth.models import Group

from mod_sse import Events

SKETCH = pathlib.Path(__file__).with_name("seed_sketch.txt")


def run(source, names):
    """Executes it statement by statement; returns the value of each that is an expression, by its text."""
    values = {}
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node)
        if isinstance(node, ast.Expr):
            values[text] = eval(compile(text, str(SKETCH), "eval"), names)
        else:
            exec(compile(text, str(SKETCH), "exec"), names)
    return values


@pytest.mark.parametrize("mode", ["session", "db"])
def test_the_sketch(live, settings_override, mode):
    settings_override(SSE_SUBSCRIPTIONS=mode)
    user = live.make_user("first", id=1)
    other = live.make_user("other")
    user.groups.add(Group.objects.create(name="admin"))
    other.subscribe("event:name")

    with live.stream(live.log_in("first")) as mine, live.stream(live.log_in("other")) as others:
        names = {}
        values = run(SKETCH.read_text(), names)

        assert values["user.subscribe('event:name another:event')"] == ["another:event", "event:name"]
        assert values["user.unsubscribe('event:name')"] == ["another:event"]
        assert values["user.is_online()"] is True
        assert values["admins.subscribe('event:name group:event')"] == ["event:name", "group:event"]
        assert values["admins.unsubscribe('event:name')"] == ["group:event"]
        assert values["admins.online_users()"] == [user]
        assert values["Events.publish('event:name', {})"]
        assert values["Events.broadcast('to:everyone', {'data': 'set'})"]

        # Only who is subscribed gets event:name; everybody gets the broadcast.
        others.expect("event:name", "{}")
        others.expect("to:everyone", '{"data":"set"}')
        mine.expect("to:everyone", '{"data":"set"}')
        Events.publish("another:event", 1)
        Events.publish("group:event", 2)
        mine.expect("another:event", "1")
        mine.expect("group:event", "2")
