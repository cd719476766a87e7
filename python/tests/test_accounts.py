# SPDX-License-Identifier: Apache-2.0
"""Changes of users, groups and sessions reach the hub when their transaction commits, and only then."""

import datetime
import json

from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import transaction
from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from mod_sse.models import Subscription
from mod_sse.names import session_id
from recorder import RecorderMixin


class Base(RecorderMixin, TransactionTestCase):
    def bodies(self):
        found = [(method, target, json.loads(body) if body else None) for method, target, body in self.recorder.requests]
        self.recorder.requests.clear()
        return found


class Users(Base):
    def setUp(self):
        super().setUp()
        self.user = User.objects.create_user("u", password="pw")
        self.pk = str(self.user.pk)
        self.recorder.take()

    def disconnects(self):
        return [body for method, target, body in self.bodies() if target == "/disconnect"]

    def test_a_changed_password_ends_streams(self):
        self.user.set_password("other")
        self.user.save()
        self.assertEqual(self.disconnects(), [{"user": self.pk, "reason": "expired"}])

    def test_a_password_that_a_new_hasher_rewrites(self):
        with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher", "django.contrib.auth.hashers.MD5PasswordHasher"]):
            self.assertTrue(self.user.check_password("pw"))
        self.assertEqual(self.disconnects(), [{"user": self.pk, "reason": "expired"}])

    def test_an_ordinary_save_does_not(self):
        self.user.email = "u@example.org"
        self.user.save()
        User.objects.create_user("new", password="pw")
        self.assertEqual(self.bodies(), [])

    def test_deactivation(self):
        self.user.is_active = False
        self.user.save(update_fields=["is_active"])
        self.assertEqual(self.disconnects(), [{"user": self.pk, "reason": "deactivated"}])

    def test_deletion(self):
        self.user.delete()
        self.assertEqual(
            self.bodies(),
            [("POST", "/disconnect", {"user": self.pk, "reason": "deactivated"}), ("DELETE", f"/users/{self.pk}", None)],
        )

    def test_a_rollback_tells_nothing(self):
        with self.assertRaises(ValueError), transaction.atomic():
            self.user.delete()
            raise ValueError
        self.assertEqual(self.bodies(), [])


class Groups(Base):
    def setUp(self):
        super().setUp()
        self.users = [User.objects.create(username=name) for name in "ab"]
        self.pks = [str(user.pk) for user in self.users]
        self.group = Group.objects.create(name="a group/1")
        self.recorder.take()

    def members(self):
        return [(target, body) for method, target, body in self.bodies() if method == "PATCH"]

    def test_from_the_users_side(self):
        user = self.users[0]
        user.groups.add(self.group)
        user.groups.remove(self.group)
        user.groups.set([self.group])
        user.groups.clear()
        add, remove = {"add": self.pks[:1]}, {"remove": self.pks[:1]}
        where = "/groups?name=a group/1"
        self.assertEqual(self.members(), [(where, add), (where, remove), (where, add), (where, remove)])

    def test_from_the_groups_side(self):
        self.group.user_set.add(*self.users)
        self.group.user_set.clear()
        self.group.user_set.clear()
        (first, added), (second, removed) = self.members()
        self.assertEqual(sorted(added["add"]), self.pks)
        self.assertEqual(sorted(removed["remove"]), self.pks)

    def test_open_pages_learn_at_once(self):
        from mod_sse.devserver.hub import Stream

        stream = self.recorder.hub.open(Stream(self.pks[0], [], "", ()))
        self.users[0].groups.add(self.group)
        self.assertEqual(self.group.online_users(), [self.users[0]])
        self.users[0].groups.remove(self.group)
        self.assertEqual(self.group.online_users(), [])
        self.recorder.hub.close(stream)

    def test_a_renamed_group_keeps_its_subscriptions(self):
        self.group.user_set.add(*self.users)
        self.group.subscribe("e")
        self.group.name = "new"
        self.group.save()
        self.assertEqual(Group(name="new").subscriptions(), ["e"])
        self.recorder.requests.clear()
        self.assertEqual(self.recorder.hub.subscriptions[("group", "a group/1")], {})
        self.assertEqual(sorted(self.recorder.hub.members["new"]), self.pks)
        self.assertEqual(self.recorder.hub.members["a group/1"], set())

    def test_a_deleted_group(self):
        self.group.subscribe("e")
        self.recorder.take()
        self.group.delete()
        self.assertEqual(self.recorder.take()[-2:], ["POST /unsubscribe", "DELETE /groups?name=a group/1"])


class Sessions(Base):
    def make(self, key="k" * 32, days=1):
        return Session.objects.create(session_key=key, session_data="", expire_date=timezone.now() + datetime.timedelta(days=days))

    def test_a_deleted_row(self):
        self.make().delete()
        self.assertEqual(self.recorder.take(), [f"DELETE /sessions?name={session_id('k' * 32)}"])

    def test_expired_rows_had_no_streams(self):
        self.make("old" * 8, -1)
        self.make()
        call_command("clearsessions")
        self.assertEqual(self.recorder.take(), [])
        Session.objects.all().delete()
        self.assertEqual(len(self.recorder.take()), 1)


@override_settings(SSE_SUBSCRIPTIONS="db")
class Stored(Base):
    def setUp(self):
        super().setUp()
        self.user = User.objects.create(username="u")
        self.owner = ("user", str(self.user.pk))
        self.recorder.take()

    def test_rows_are_the_truth_and_the_hub_is_told(self):
        self.assertEqual(self.user.subscribe("b a"), ["a", "b"])
        self.assertEqual(self.user.subscribe("a"), ["a", "b"])
        self.assertEqual(sorted(self.recorder.hub.subscriptions[self.owner]), ["a", "b"])
        self.assertEqual(self.user.unsubscribe("a"), ["b"])
        self.assertEqual(sorted(self.recorder.hub.subscriptions[self.owner]), ["b"])
        self.assertEqual(self.user.subscriptions(), ["b"])
        self.assertEqual(Subscription.objects.get().owner(), {"user": str(self.user.pk)})

    def test_a_rollback(self):
        with self.assertRaises(ValueError), transaction.atomic():
            self.user.subscribe("a")
            raise ValueError
        self.assertEqual(self.user.subscriptions(), [])
        self.assertEqual(self.recorder.take(), [])

    def test_groups_by_name(self):
        Group.objects.create(name="admin")
        admins = Group(name="admin")
        self.assertEqual(admins.subscribe("event:name group:event"), ["event:name", "group:event"])
        self.assertEqual(admins.unsubscribe("event:name"), ["group:event"])
        group = Group.objects.get()
        group.name = "root"
        group.save()
        self.assertEqual(Group(name="root").subscriptions(), ["group:event"])
        self.assertEqual(sorted(self.recorder.hub.subscriptions[("group", "root")]), ["group:event"])
        group.delete()
        self.assertEqual(Subscription.objects.count(), 0)

    def test_a_deleted_user_takes_its_rows_along(self):
        self.user.subscribe("a")
        self.user.delete()
        self.assertEqual(Subscription.objects.count(), 0)
        self.assertEqual(self.recorder.hub.subscriptions.get(self.owner, {}), {})

    def test_sync(self):
        self.user.subscribe("a b")
        Group.objects.create(name="g").subscribe("c")
        other = User.objects.create(username="other")
        # What the hub has forgotten, and what it has too much.
        self.recorder.hub.subscriptions.clear()
        self.recorder.hub.subscriptions[self.owner] = {"x": {""}}
        self.recorder.hub.subscriptions[("user", str(other.pk))] = {"y": {""}}
        call_command("sse_sync", verbosity=0)
        self.assertEqual(sorted(self.recorder.hub.subscriptions[self.owner]), ["a", "b"])
        self.assertEqual(sorted(self.recorder.hub.subscriptions[("group", "g")]), ["c"])
        self.assertEqual(sorted(self.recorder.hub.subscriptions[("user", str(other.pk))]), ["y"])
        call_command("sse_sync", "--all", verbosity=0)
        self.assertEqual(sorted(self.recorder.hub.subscriptions[("user", str(other.pk))]), [])

    def test_validation_in_the_admin(self):
        from django.core.exceptions import ValidationError

        for wrong in ({"event": "a b", "user": self.user}, {"event": "a"}, {"event": "a", "user": self.user, "group": "g"}):
            with self.assertRaises(ValidationError):
                Subscription(**wrong).full_clean()
        Subscription(event="a", user=self.user, group="").full_clean()
