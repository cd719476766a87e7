# SPDX-License-Identifier: Apache-2.0
"""Names of events, users, groups and sessions: what is taken and what is named as wrong."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.utils.translation import gettext_lazy

from mod_sse import InvalidEvent, UnknownGroup, UnknownUser
from mod_sse.names import as_list, check_event, group_name, session_id, split_events, user_id
from mod_sse.transport.base import target

BAD_EVENTS = ["", "a b", "a\nb", "a\0", "a\x7f", "a\x85", "a*", "open", "error", "stream-end", "x" * 256, "é" * 128, "\ud800", 7, None, b"a"]


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_bad_event_names_are_refused_by_name(name):
    with pytest.raises(InvalidEvent):
        check_event(name)


@pytest.mark.parametrize("name", ["a", "event:name", "message", "news/2026?", "é" * 127, "日本", "a\u00a0b", "opened", "x" * 255])
def test_good_event_names(name):
    assert check_event(name) == name


def test_lazy_strings_are_strings():
    assert check_event(gettext_lazy("event:lazy")) == "event:lazy"


def test_several_names_in_one_string():
    assert split_events("event:name another:event") == ["event:name", "another:event"]
    assert split_events("  a   b a ") == ["a", "b"]
    assert split_events(["a", "b"], "c d") == ["a", "b", "c", "d"]
    for nothing in ("", "  ", []):
        with pytest.raises(InvalidEvent, match="no event name"):
            split_events(nothing)
    with pytest.raises(InvalidEvent):
        split_events("a\tb")
    with pytest.raises(InvalidEvent, match="a string .* or a list"):
        split_events(5)
    with pytest.raises(InvalidEvent, match="bytes"):
        split_events(b"a b")


def test_user_ids():
    assert user_id(User(pk=7)) == "7"
    assert user_id(7) == user_id("7") == user_id(" 7 ") == "7"
    for bad in (User(), AnonymousUser(), None, True, "seven", b"7", object(), Group(pk=1)):
        with pytest.raises(UnknownUser):
            user_id(bad)


def test_group_names():
    assert group_name(Group(name="admin")) == group_name("admin") == "admin"
    assert group_name("a/b ..") == "a/b .."
    for bad in (Group(), "", None, 5, "a\nb", "x" * 641):
        with pytest.raises(UnknownGroup):
            group_name(bad)


def test_as_list():
    assert as_list(None) == []
    assert as_list("ab") == ["ab"]
    assert as_list(7) == [7]
    assert as_list(x for x in "ab") == ["a", "b"]


def test_session_keys_are_hashed_once():
    assert session_id("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert session_id(session_id("abc")) == session_id("abc")


def test_names_in_paths():
    assert target("/groups", {"name": "admin"}) == "/groups/admin"
    assert target("/groups", {"name": "a/b c"}) == "/groups?name=a%2Fb%20c"
    assert target("/groups", {"name": ".."}) == "/groups?name=.."
    assert target("/presence/users", {"after": None, "limit": 5}) == "/presence/users?limit=5"
