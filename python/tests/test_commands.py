# SPDX-License-Identifier: Apache-2.0
"""manage.py commands: what they print, and what they say when something is wrong."""

import io
import json
import os
import signal

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from mod_sse import Events
from processes import Process, manage, python
from waiting import wait_until


def run(*arguments, **options):
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err, **options)
    return out.getvalue()


def test_publish(live):
    alice = live.make_user("alice")
    alice.groups.add(Group.objects.create(name="g"))
    alice.subscribe("e")
    with live.stream(live.log_in("alice")) as stream:
        assert run("sse_publish", "e", '{"n": 1}').strip()
        run("sse_publish", "u", "--user", "alice", "[2]")
        run("sse_publish", "g", "--raw", "--group", "g", "three")
        run("sse_publish", "all", "--everyone", "--key", f"k-{alice.pk}")
        stream.expect("e", '{"n":1}')
        stream.expect("u", "[2]")
        stream.expect("g", "three")
        stream.expect("all", "null")


def test_publish_from_standard_input(live, monkeypatch):
    alice = live.make_user("alice")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "a pipe"}'))
    with live.stream(live.log_in("alice")) as stream:
        run("sse_publish", "e", "-", "--user", alice.username)
        stream.expect("e", '{"from":"a pipe"}')


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["e", "{"], "not JSON"),
        (["e", "1", "2"], "unrecognized arguments: 2"),
        (["e f"], "has a space"),
        (["e", "--user", "nobody"], "no user named 'nobody'"),
        (["e", "--group", "nothing"], "no group named 'nothing'"),
        (["e", "--everyone", "--user", "x"], "neither"),
        (["e", "--ttl", "0"], "ttl"),
        (["e", "1"], "no answer within"),
    ],
)
def test_publish_mistakes(arguments, says, settings_override):
    settings_override(SSE_TIMEOUT=0.2)
    with pytest.raises(CommandError, match=says):
        run("sse_publish", *arguments)


def test_status(live):
    live.make_user("alice")
    with live.stream(live.log_in("alice")):
        # Users of the test before may still be within their grace.
        text = wait_until(lambda: "users online: 1, streams: 1, hubs: 1" in run("sse_status") and run("sse_status", "--users"), 10)
        assert "broker: local, connected" in text
        assert text.splitlines()[-1] == "  alice"
        assert json.loads(run("sse_status", "--json"))["presence"]["users"] == 1


def test_config_is_what_httpd_reads(live_httpd):
    found = json.loads(run("sse_config"))
    assert found["user_table"] == "auth_user" and found["membership_table"] == "auth_user_groups"
    assert found["backends"] == ["django.contrib.auth.backends.ModelBackend"]
    assert json.loads((live_httpd.state / "django.json").read_text()) == found
    status, words = live_httpd.httpd.configtest()
    assert status == 0, words


def test_config_prints_directives_and_writes_the_files(tmp_path):
    text = run("sse_config", "--httpd", "--output", str(tmp_path / "d.json"), "--secret-key-file", str(tmp_path / "key"))
    assert "DBDriver sqlite3" in text and "busy_timeout" in text and "SSESession db" in text and f'SSEDjangoConfig "{tmp_path}/d.json"' in text
    assert f'SSESecretKeyFile "{tmp_path}/key"' in text and "SSEAdminSocket" in text and "SSERealm" not in text
    assert json.loads((tmp_path / "d.json").read_text()) == json.loads(run("sse_config"))
    assert (tmp_path / "key").read_text() == settings.SECRET_KEY + "\n"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_directives_for_the_admin_handler():
    status, out, err = manage("sse_config", "--httpd", SSE_ADMIN_URL="https://x/adm/", SSE_ADMIN_KEY="k", SSE_REALM="shop")
    assert status == 0 and out.count("SSERealm shop") == 2 and '<Location "/adm/">\n    SetHandler sse-admin' in out
    assert "--output and --secret-key-file would write" in err


def test_config_that_it_prints_starts(make_httpd, tmp_path, site_state):
    """What it prints, in a real httpd, with nothing but its modules around it."""
    here = make_httpd()
    text = manage(
        "sse_config", "--httpd", "--output", str(site_state / "printed.json"), "--secret-key-file", str(site_state / "printed.key"),
        SSE_ADMIN_URL=f"unix://{here.admin_socket_path}",
    )[1]
    server, _, locations = text.partition("<Location")
    here.configure(server=server.replace("SSEAdminSocket", "# "), locations="<Location" + locations)
    assert here.configtest()[0] == 0, here.configtest()[1]


def test_config_warns_of_what_httpd_cannot_read():
    status, out, err = manage("sse_config", "--httpd", SESSION_ENGINE="django.contrib.sessions.backends.cache")
    assert status == 0 and "SSESession cache" in out
    assert "lives inside one process" in err


def test_config_where_nothing_can_be_written(tmp_path):
    with pytest.raises(CommandError, match="cannot be written"):
        run("sse_config", "--output", str(tmp_path / "none" / "x.json"))


def test_before_migrations(tmp_path):
    """A fresh checkout: what needs no database works, the rest names the missing table."""
    here = {"DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "new.sqlite3")}}}
    assert manage("check", **here)[0] == 0
    assert manage("sse_config", **here)[0] == 0
    status, out, err = manage("sse_sync", SSE_SUBSCRIPTIONS="db", **here)
    assert status == 1 and "the database has no table mod_sse_subscription: run manage.py migrate" in err
    calls = "for call in (lambda: User(pk=1).subscribe('e'), lambda: Group(name='g').subscribe('e'), lambda: User(pk=1).subscriptions()):"
    source = (
        "from django.contrib.auth.models import Group, User\nfrom mod_sse import SSEError\n"
        + calls + "\n    try: call()\n    except SSEError as err: print(type(err).__name__, err)\n"
    )
    words = python(source, SSE_SUBSCRIPTIONS="db", **here)
    assert words.count("NotMigrated the database has no table mod_sse_subscription: run manage.py migrate") == 2 and "no table auth_group" in words
    assert "NotMigrated the database has no table auth_group: run manage.py migrate" in python(source, SSE_TIMEOUT=0.1, **here)
    assert manage("migrate", "-v0", **here)[0] == 0


def test_listen(live):
    """user_online and user_offline fire in its process, also after the hub has been killed."""
    alice = live.make_user("alice")
    client = live.log_in("alice")
    with Process("sse_listen", **live.settings(live.way)) as listener:
        with live.stream(client):
            # Users of the tests before may still be within their grace.
            listener.wait_for(f"{alice.pk} online")
        listener.wait_for(f"{alice.pk} offline")
        pid = live.httpd.hub_pid()
        live.httpd.log.expect("SSE")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: live.httpd.hub_pid() not in (None, pid), 20, "the hub is back")
        wait_until(live.healthy, 20, "the hub serves")
        listener.wait_for("following ", timeout=60)
        with live.stream(client):
            listener.wait_for(f"{alice.pk} online")
        assert listener.stop() == 0


def test_listen_tells_a_new_hub_what_the_database_knows(live):
    alice = live.make_user("alice")
    from mod_sse.models import Subscription

    Subscription.objects.create(user=alice, event="e")  # in "session" mode: the hub is not told
    with Process("sse_listen", SSE_SUBSCRIPTIONS="db", **live.settings(live.way)) as listener:
        listener.wait_for("following ", timeout=60)
        assert alice.subscriptions() == ["e"]
        assert listener.stop() == 0


def test_listen_waits_for_a_database_that_is_away(live, tmp_path):
    place, ready = tmp_path / "later", tmp_path / "ready"
    ready.mkdir()

    def database(directory):
        return {"DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "db.sqlite3")}}}

    python(
        "from django.core.management import call_command\ncall_command('migrate', verbosity=0)\n"
        "from mod_sse.models import Subscription\nSubscription.objects.create(group='late', event='from:rows')",
        SSE_SUBSCRIPTIONS="session", **database(ready),
    )
    with Process("sse_listen", SSE_SUBSCRIPTIONS="db", **database(place), **live.settings(live.way)) as listener:
        listener.wait_for("the database is away: unable to open")
        ready.rename(place)
        listener.wait_for("following ", timeout=60)
        assert Group(name="late").subscriptions() == ["from:rows"]
        assert listener.stop() == 0
    Group(name="late").unsubscribe("from:rows")


def test_listen_before_migrations(live, tmp_path):
    here = {"DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "new.sqlite3")}}}
    status, out, err = manage("sse_listen", SSE_SUBSCRIPTIONS="db", **here, **live.settings(live.way))
    assert status == 1 and "run manage.py migrate" in err


def test_listen_says_what_is_wrong(live):
    if live.way == "http":
        status, out, err = manage("sse_listen", **dict(live.settings("http"), SSE_ADMIN_KEY="wrong"))
        assert status == 1 and "SSE_ADMIN_KEY" in err
    else:
        status, out, err = manage("sse_listen", SSE_ADMIN_URL="runserver:", DEBUG=True)
        assert status == 1 and "has no presence feed" in err


def test_receivers_publish_from_the_listener(live):
    """What the demo does: everybody is told who came."""
    alice, bob = live.make_user("alice"), live.make_user("bob")
    with live.stream(live.log_in("bob")) as stream:
        source = (
            "from django.dispatch import Events, receiver\n"
            "from mod_sse.signals import user_online\n"
            "from mod_sse.listener import Listener\n"
            "from mod_sse.presence import get_user\n"
            "@receiver(user_online)\n"
            "def came(sender, user_id, **kwargs):\n"
            "    Events.broadcast('came', get_user(user_id).username)\n"
            "Listener().run()\n"
        )
        with Process("shell", "-c", source, **live.settings(live.way)):
            stream.expect("came", '"bob"', timeout=20)
            with live.stream(live.log_in("alice")):
                stream.expect("came", '"alice"')
    assert {alice, bob} and Events
