# SPDX-License-Identifier: Apache-2.0
"""User models other than Django's own."""

import json

from processes import python

APPS = ["mod_sse", "custom_app", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
COMMON = {"INSTALLED_APPS": APPS, "MIGRATION_MODULES": {"custom_app": None}, "MIDDLEWARE": [], "ROOT_URLCONF": "late_app.urls", "TEMPLATES": []}
DATABASE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}

START = """
import json
from django.core.management import call_command
call_command("migrate", verbosity=0, run_syncdb=True)
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from mod_sse.transport import override_transport
from mod_sse import presence
from mod_sse.httpdconf import describe, problems
from recorder import Recorder
recorder = Recorder()
override_transport(recorder)
User = get_user_model()
"""


def test_uuid_keys_and_another_table():
    out = python(
        START
        + """
user = User.objects.create_user("u", password="pw")
group = Group.objects.create(name="g")
user.groups.add(group)
print(json.dumps([str(user.pk), user.subscribe("e"), presence.users([str(user.pk), "no-uuid"]) == [user], recorder.take(), describe(), problems()]))
""",
        AUTH_USER_MODEL="custom_app.Member",
        DATABASES=DATABASE,
        **COMMON,
    )
    pk, events, found, requests, config, problems = json.loads(out)
    assert len(pk) == 36 and events == ["e"] and found is True and problems == []
    assert requests == ["PATCH /groups/g", "POST /subscribe"]
    assert (config["user_table"], config["user_pk"], config["user_pk_type"]) == ("people", "id", "uuid")
    assert (config["membership_table"], config["membership_user"]) == ("people_groups", "member_id")


def test_no_groups_and_no_is_active():
    out = python(
        START
        + """
user = User(email="a b@example.org")
user.set_password("pw")
user.save()
print(json.dumps([user.subscribe("e"), user.is_online(), recorder.take(), describe()]))
""",
        AUTH_USER_MODEL="custom_app.Plain",
        DATABASES=DATABASE,
        **COMMON,
    )
    events, online, requests, config = json.loads(out)
    assert events == ["e"] and online is False
    assert requests == ["POST /subscribe", "GET /presence/users?name=a b@example.org"]
    assert (config["user_pk_type"], config["user_is_active"], config["membership_table"]) == ("str", None, None)
