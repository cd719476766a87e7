# SPDX-License-Identifier: Apache-2.0
"""SSE_MIRROR_SESSIONS with `SSESession hub`: httpd opens no database, the hub knows sessions and groups from Django alone."""

import json

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command

from httpd_server import ADMIN
from live import LiveSite
from mod_sse import Events

STREAM = """
<Location /events>
    SetHandler sse-stream
    SSESession hub
    SSEDjangoConfig "{state}/django.json"
</Location>
"""


@pytest.fixture
def site(make_httpd, site_state, settings_override):
    site = LiveSite(make_httpd(), site_state, server="SSEPresenceGrace 1\n", locations=STREAM + ADMIN)
    settings_override(SSE_MIRROR_SESSIONS=True, **site.settings("socket"))
    yield site
    site.empty()


@pytest.mark.parametrize("engine", ["cache", "db", "signed_cookies"])
def test_sessions_and_groups(site, settings_override, engine):
    """Also sessions that no other process can read: those of a cache in this process's memory."""
    settings_override(SESSION_ENGINE="django.contrib.sessions.backends." + engine)
    alice = site.make_user("alice")
    alice.groups.add(Group.objects.create(name="editors"))
    client = site.log_in("alice")
    with site.stream(client) as stream:
        client.get("/subscribe/", {"events": "tied"})
        Events.publish("u", 1, users=[alice])
        Events.publish("g", 2, groups=["editors"])
        Events.publish("tied", 3)
        stream.expect("u", "1")
        stream.expect("g", "2")
        stream.expect("tied", "3")
        cookie = client.cookies["sessionid"].value
        if engine == "signed_cookies":
            # Another value of the cookie is another session to the hub; the stream is that of the first.
            return
        client.get("/out/")
        assert json.loads(stream.expect("stream-end").data) == {"reason": "logout"}
    assert site.httpd.fetch("/events", headers=[("Cookie", "sessionid=" + cookie)]).status == 403


def test_groups_are_told_by_sync(site):
    alice = site.make_user("alice")
    group = Group.objects.create(name="g")
    # Rows without signals, as another program writes them.
    type(alice).groups.through.objects.bulk_create([type(alice).groups.through(user=alice, group=group)])
    with site.stream(site.log_in("alice")) as stream:
        Events.publish("g", 1, groups=[group])
        call_command("sse_sync", verbosity=0)
        Events.publish("g", 2, groups=[group])
        stream.expect("g", "2")
