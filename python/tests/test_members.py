# SPDX-License-Identifier: Apache-2.0
"""The methods of users and groups, and subscriptions that live as long as a session."""

import asyncio

from django.contrib.auth.models import Group, User
from django.test import TestCase, TransactionTestCase, override_settings

from mod_sse import InvalidData, InvalidEvent, UnknownGroup, UnknownUser
from mod_sse.members import EventsGroupMixin, EventsUserMixin, foreign_names, install
from mod_sse.names import session_id
from recorder import RecorderMixin


class Methods(RecorderMixin, TransactionTestCase):
    def test_a_user(self):
        user = User.objects.create(username="u")
        self.assertEqual(user.subscribe("event:name another:event"), ["another:event", "event:name"])
        self.assertEqual(user.unsubscribe("event:name"), ["another:event"])
        self.assertEqual(user.subscriptions(), ["another:event"])
        self.assertFalse(user.is_online())

    def test_a_group_by_its_name(self):
        Group.objects.create(name="admin")
        self.assertEqual(Group(name="admin").subscribe("a b"), ["a", "b"])
        self.assertEqual(Group.objects.get().subscriptions(), ["a", "b"])
        self.assertEqual(Group(name="admin").unsubscribe("a"), ["b"])
        self.assertEqual(Group(name="admin").online_users(), [])

    def test_a_group_that_is_not_in_the_database(self):
        with self.assertLogs("mod_sse", "WARNING") as logs:
            Group(name="admim").subscribe("a")
        self.assertIn("'admim'", logs.output[0])

    def test_async(self):
        user = User.objects.create(username="u")
        group = Group.objects.create(name="g")

        async def main():
            await user.asubscribe("a")
            await group.asubscribe("b")
            return [
                await user.asubscriptions(),
                await user.ais_online(),
                await user.aunsubscribe("a"),
                await group.asubscriptions(),
                await group.aonline_users(),
                await group.aunsubscribe("b"),
            ]

        self.assertEqual(asyncio.run(main()), [["a"], False, [], ["b"], [], []])

    def test_mistakes(self):
        with self.assertRaises(UnknownUser):
            User(username="unsaved").subscribe("a")
        with self.assertRaises(UnknownUser):
            User(username="unsaved").is_online()
        with self.assertRaises(UnknownGroup):
            Group().subscribe("a")
        with self.assertRaises(InvalidEvent):
            User.objects.create(username="u").subscribe("a stream-end")

    def test_names_that_a_class_has_stay(self):
        class Model:
            subscriptions = "mine"

        self.assertEqual(foreign_names(Model, EventsUserMixin), ["subscriptions"])
        install(Model, EventsUserMixin)
        self.assertEqual(Model.subscriptions, "mine")
        self.assertTrue(callable(Model.subscribe))
        self.assertEqual(foreign_names(User, EventsUserMixin), [])
        self.assertEqual(foreign_names(Group, EventsGroupMixin), [])


class Sessions(RecorderMixin, TestCase):
    def setUp(self):
        super().setUp()
        self.user = User.objects.create_user("alice", password="pw")
        self.hub = self.recorder.hub

    def tied_to(self, event="e", owner=None):
        return self.hub.subscriptions.get(owner or ("user", str(self.user.pk)), {}).get(event, set())

    def key(self):
        return session_id(self.client.session.session_key)

    def get(self, path, **query):
        response = self.client.get(path, query)
        self.assertEqual(response.status_code, 200)
        return response

    def test_a_users_own_request_ties_to_its_session(self):
        self.get("/in/", name="alice")
        self.get("/subscribe/", events="e")
        self.assertEqual(self.tied_to(), {self.key()})

    def test_in_the_request_that_logs_in(self):
        self.get("/in/", name="alice", events="e f")
        self.assertEqual(self.tied_to(), {self.key()})

    def test_in_the_request_that_logs_in_over_another_user(self):
        User.objects.create_user("bob", password="pw")
        self.get("/in/", name="bob", events="e")
        before = self.key()
        self.recorder.take()
        self.get("/in/", name="alice", events="e")
        self.assertNotEqual(self.key(), before)
        self.assertEqual(self.tied_to(), {self.key()})
        self.assertIn(f"DELETE /sessions?name={before}", self.recorder.take())

    def test_other_users_groups_and_the_shell_are_permanent(self):
        bob = User.objects.create_user("bob", password="pw")
        Group.objects.create(name="g")
        self.get("/in/", name="alice")
        self.get("/subscribe/", events="e", name="bob")
        self.get("/subscribe-group/", events="e", group="g")
        self.user.subscribe("e")
        self.assertEqual(self.tied_to(owner=("user", str(bob.pk))), {""})
        self.assertEqual(self.tied_to(owner=("group", "g")), {""})
        self.assertEqual(self.tied_to(), {""})

    def test_cycle_key(self):
        self.get("/in/", name="alice", events="e f")
        before = self.key()
        self.get("/password/")
        self.assertNotEqual(self.key(), before)
        self.assertEqual(self.tied_to("e"), {self.key()})
        self.assertEqual(self.tied_to("f"), {self.key()})

    def test_logout_ends_them(self):
        self.get("/in/", name="alice", events="e")
        key = self.key()
        self.recorder.take()
        self.get("/out/")
        self.assertEqual(self.recorder.take(), [f"DELETE /sessions?name={key}"])
        self.assertEqual(self.tied_to(), set())

    def test_unsubscribe_is_not_undone_by_a_new_key(self):
        self.get("/in/", name="alice", events="e f")
        self.get("/unsubscribe/", events="e")
        self.get("/password/")
        self.assertEqual(self.tied_to("e"), set())
        self.assertEqual(self.tied_to("f"), {self.key()})

    def test_explicit_session(self):
        self.user.subscribe("e", session="a-key")
        self.assertEqual(self.tied_to(), {session_id("a-key")})
        self.user.subscribe("e", session=self.client.session)
        self.user.unsubscribe("e", session="a-key")
        self.assertEqual(len(self.tied_to()), 1)
        self.assertEqual(self.user.unsubscribe("e"), [])
        self.user.subscribe("e", session=False)
        self.assertEqual(self.tied_to(), {""})

    def test_pages_that_use_no_session_do_not_load_it(self):
        self.get("/in/", name="alice", events="e")
        with self.assertNumQueries(0):
            response = self.get("/plain/")
        self.assertNotIn("Vary", response)

    def test_signed_cookies(self):
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            self.get("/in/", name="alice")
            self.get("/subscribe/", events="e")
            cookie = self.client.cookies["sessionid"].value
            self.assertEqual(self.tied_to(), {session_id(cookie)})
            self.get("/subscribe/", events="f")
            cookie = self.client.cookies["sessionid"].value
            self.assertEqual(self.tied_to("f"), {session_id(cookie)})
            self.recorder.take()
            self.get("/out/")
            self.assertEqual(self.recorder.take(), [f"DELETE /sessions?name={session_id(cookie)}"])

    @override_settings(SSE_MIRROR_SESSIONS=True)
    def test_mirrored_sessions(self):
        self.get("/in/", name="alice")
        method, target, body = self.recorder.requests[-1]
        self.assertEqual((method, target), ("PUT", f"/sessions?name={self.key()}"))
        self.assertIn(f'"user":"{self.user.pk}"', body)
        self.recorder.take()
        self.get("/plain/")
        self.assertEqual(self.recorder.take(), [])

    @override_settings(SSE_ADMIN_URL="unix:///nowhere/admin.sock", SSE_TIMEOUT=0.1)
    def test_a_hub_that_is_away_does_not_stop_a_logout(self):
        from mod_sse.transport import override_transport

        self.get("/in/", name="alice")
        override_transport(None)
        with self.assertLogs("mod_sse", "ERROR"):
            self.get("/out/")

    def test_session_with_db_subscriptions(self):
        with override_settings(SSE_SUBSCRIPTIONS="db"), self.assertRaises(InvalidData):
            self.user.subscribe("e", session="key")


class Views(RecorderMixin, TransactionTestCase):
    def test_a_view_that_fails_publishes_nothing(self):
        with self.assertRaises(ValueError):
            self.client.get("/publish-and-fail/")
        self.client.get("/publish/")
        self.assertEqual(self.recorder.take(), ["POST /publish"])

    def test_an_asynchronous_site(self):
        User.objects.create_user("alice", password="pw")

        async def main():
            await self.async_client.get("/in/?name=alice&events=e")
            await self.async_client.get("/asubscribe/?name=alice&events=f")
            await self.async_client.get("/asubscribe/?name=bob&events=g")
            return await self.async_client.get("/apublish/")

        bob = User.objects.create_user("bob", password="pw")
        self.assertEqual(asyncio.run(main()).status_code, 200)
        self.assertIn("POST /publish", self.recorder.take())
        self.assertEqual(self.recorder.hub.subscriptions.pop(("user", str(bob.pk))), {"g": {""}})
        tied = [sessions for there in self.recorder.hub.subscriptions.values() for sessions in there.values()]
        self.assertEqual(len(tied), 2)
        self.assertEqual(tied[0], tied[1])
        self.assertTrue(all(name.startswith("sha256:") for name in tied[0]))
