# SPDX-License-Identifier: Apache-2.0
"""Events.publish and broadcast: what is sent, when, and which mistakes are named where they are made."""

import asyncio
import datetime
import decimal
import json
import uuid
from unittest import mock

import django.dispatch
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

from mod_sse import Events, InvalidData, InvalidEvent, UnknownUser
from mod_sse.signals import event_published
from mod_sse.test import EventsTestMixin
from recorder import RecorderMixin


class Publish(RecorderMixin, TransactionTestCase):
    def sent(self):
        return [(target, json.loads(body)) for _, target, body in self.recorder.requests]

    def test_it_is_in_django_dispatch(self):
        self.assertIs(django.dispatch.Events, Events)

    def test_publish_to_subscribers(self):
        self.assertTrue(Events.publish("event:name", {}))
        [(target, body)] = self.sent()
        self.assertEqual(target, "/publish")
        self.assertEqual({k: body[k] for k in body if k != "key"}, {"event": "event:name", "data": {}})
        self.assertEqual(len(body["key"]), 32)

    def test_publish_to_users_and_groups(self):
        user = User.objects.create(username="u")
        Events.publish("e", 1, users=[user, user.pk, str(user.pk)], groups=Group(name="admin"), key="k", ttl=60, replace="r")
        Events.publish("e", 1, users=User.objects.all())
        self.assertEqual(
            self.sent()[0][1],
            {"event": "e", "data": 1, "users": [str(user.pk)], "groups": ["admin"], "key": "k", "ttl": 60, "replace": "r"},
        )
        self.assertEqual(self.sent()[1][1]["users"], [str(user.pk)])

    def test_strangers_are_named_in_development(self):
        user = User.objects.create(username="u")
        Group.objects.create(name="known")
        with override_settings(DEBUG=True), self.assertLogs("mod_sse", "WARNING") as logs:
            Events.publish("e", users=[user, user.pk, 9999], groups=["known", Group(name="amdin")])
        self.assertEqual(
            [record.getMessage() for record in logs.records],
            ["'e' goes to user '9999', but the database has none of that key", "'e' goes to group 'amdin', but the database has none of that name"],
        )
        with self.assertNumQueries(0):
            Events.publish("e", users=[9999], groups=["amdin"])

    def test_to_nobody(self):
        self.assertIsNone(Events.publish("e", users=[]))
        self.assertIsNone(Events.publish("e", users=User.objects.none(), groups=[]))
        self.assertEqual(self.sent(), [])
        self.assertTrue(Events.publish("e", users=[], groups=["admin"]))

    def test_broadcast(self):
        Events.broadcast("to:everyone", {"data": "set"})
        self.assertEqual(self.sent()[0][0], "/broadcast")
        self.assertEqual(self.sent()[0][1]["data"], {"data": "set"})

    def test_djangos_own_types(self):
        value = {"at": datetime.datetime(2026, 1, 2, 3, 4, 5), "d": decimal.Decimal("1.10"), "u": uuid.UUID(int=1), "ü": "\u2028"}
        Events.publish("e", value)
        self.assertEqual(
            self.sent()[0][1]["data"], {"at": "2026-01-02T03:04:05", "d": "1.10", "u": str(uuid.UUID(int=1)), "ü": "\u2028"}
        )

    def test_many_in_one_request(self):
        ids = Events.publish_many([{"event": "a", "data": 1}, {"event": "b", "users": [1]}])
        self.assertEqual(len(set(ids)), 2)
        [(target, body)] = self.sent()
        self.assertEqual([item["event"] for item in body], ["a", "b"])
        with self.assertRaises(InvalidEvent):
            Events.publish_many([{"event": "a"}, {"event": "b b"}])
        with self.assertRaises(InvalidData):
            Events.publish_many([{"event": "a", "everyone": True}])
        self.assertEqual(len(self.sent()), 1)
        self.assertEqual(Events.publish_many([]), [])

    def test_mistakes(self):
        circle = []
        circle.append(circle)
        for data in (object(), float("nan"), {1, 2}, "\ud800", circle, b"bytes"):
            with self.assertRaises(InvalidData):
                Events.publish("e", data)
        for wrong in ({"ttl": 0}, {"ttl": True}, {"ttl": "9"}, {"key": ""}, {"key": "x" * 256}, {"replace": 5}, {"raw": True}):
            with self.assertRaises(InvalidData):
                Events.publish("e", {}, **wrong)
        with self.assertRaises(UnknownUser):
            Events.publish("e", users=[User()])
        self.assertEqual(self.sent(), [])

    def test_waits_for_the_commit(self):
        with transaction.atomic():
            self.assertIsNone(Events.publish("e", 1))
            with transaction.atomic():
                Events.publish("e", 2)
            self.assertEqual(self.sent(), [])
            self.assertTrue(Events.publish("now", on_commit=False))
        self.assertEqual([body["data"] for _, body in self.sent()], [None, 1, 2])

    def test_a_rollback_publishes_nothing(self):
        with self.assertRaises(ValueError), transaction.atomic():
            Events.publish("e")
            raise ValueError
        with transaction.atomic():
            with self.assertRaises(ValueError), transaction.atomic():
                Events.publish("inner")
                raise ValueError
            Events.publish("outer")
        self.assertEqual([body["event"] for _, body in self.sent()], ["outer"])

    def test_a_mistake_in_a_transaction_shows_at_once(self):
        with transaction.atomic():
            with self.assertRaises(InvalidData):
                Events.publish("e", object())

    @override_settings(SSE_ON_COMMIT=False)
    def test_on_commit_off(self):
        with transaction.atomic():
            self.assertTrue(Events.publish("e"))

    def test_async_twins(self):
        async def main():
            return await Events.apublish("a", 1), await Events.abroadcast("b", 2), await Events.apublish_many([{"event": "c"}])

        one, two, three = asyncio.run(main())
        self.assertEqual(len({one, two, *three}), 3)
        self.assertEqual([target for target, _ in self.sent()], ["/publish", "/broadcast", "/publish"])

    @override_settings(SSE_JSON_ENCODER="json.JSONEncoder")
    def test_another_encoder(self):
        with self.assertRaises(InvalidData):
            Events.publish("e", decimal.Decimal(1))


class Signal(EventsTestMixin, TestCase):
    def test_the_transport_is_one_receiver_and_yours_another(self):
        seen = []

        def receiver(sender, message, **kwargs):
            seen.append((sender, message.event, message.data, message.everyone))

        event_published.connect(receiver)
        self.addCleanup(event_published.disconnect, receiver)
        self.assertTrue(Events.publish("e", 1))
        Events.broadcast("b", 2)
        self.assertEqual(seen, [(Events, "e", 1, False), (Events, "b", 2, True)])

    def test_without_the_transport_nothing_is_sent(self):
        from mod_sse import receivers

        receivers.disconnect_transport()
        self.addCleanup(receivers.connect_transport)
        self.assertIsNone(Events.publish("e"))
        self.assertEqual(Events.publish_many([{"event": "a"}, {"event": "b"}]), [None, None])
        self.assertEqual(self.events_hub.number, 0)
        self.assertPublished("e")


class Mixin(EventsTestMixin, TestCase):
    def test_what_it_records(self):
        user = User.objects.create(username="u")
        Events.publish("e", {"n": 1}, users=[user])
        Events.broadcast("b")
        self.assertPublished("e", {"n": 1}, users=[user], groups=None, everyone=False, count=1)
        self.assertPublished("b", everyone=True)
        self.assertNotPublished("e", {"n": 2})
        with self.assertRaises(AssertionError):
            self.assertPublished("e", users=None)
        with self.assertRaises(AssertionError):
            self.assertNotPublished("b")
        data = {"at": datetime.date(2026, 1, 2), "who": ("a", "b")}
        Events.publish("later:changed", data)
        data["who"] = None
        self.assertPublished("later:changed", {"at": "2026-01-02", "who": ["a", "b"]})
        self.assertPublished("e", {"n": mock.ANY})
        self.assertNotPublished("e", {"m": mock.ANY})
        self.clear_published()
        self.assertNotPublished("b")

    def test_inside_a_transaction(self):
        with transaction.atomic():
            Events.publish("e")
            self.assertPublished("e", count=1)
        self.assertPublished("e", count=1)
        with self.assertRaises(ValueError), transaction.atomic():
            Events.publish("gone")
            raise ValueError
        self.assertNotPublished("gone")

    def test_open_pages(self):
        user = User.objects.create(username="u")
        group = Group.objects.create(name="g")
        user.groups.add(group)
        user.subscribe("mine")
        group.subscribe("ours")
        with self.online(user) as page:
            self.assertTrue(user.is_online())
            self.assertEqual(group.online_users(), [user])
            Events.publish("mine", [1])
            Events.publish("ours", "two\nlines")
            Events.publish("other")
            self.assertEqual(page.events(), [("mine", [1]), ("ours", "two\nlines")])
        self.assertFalse(user.is_online())
