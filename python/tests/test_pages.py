# SPDX-License-Identifier: Apache-2.0
"""What Django renders: the template tag, the admin's pages, the layer for django-eventstream."""

import json

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.template import Context, Template
from django.test import RequestFactory, TestCase, override_settings

from mod_sse import InvalidData, InvalidEvent
from mod_sse.eventstream import send_event
from mod_sse.models import Subscription
from mod_sse.test import EventsTestMixin
from recorder import RecorderMixin


def render(tag, user=None, **attributes):
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    for name, value in attributes.items():
        setattr(request, name, value)
    return Template("{% load mod_sse %}" + tag).render(Context({"request": request}))


def test_tag():
    assert render("{% sse_stream %}") == '<script src="/static/mod_sse/mod_sse.js" data-url="/events/"></script>'
    assert 'data-user="7"' in render("{% sse_stream %}", User(pk=7))
    text = render("{% sse_stream listen='a b' events='c' share=False resume=True %}", csp_nonce="n\">")
    assert ' data-listen="a b" data-events="c" data-share="off" data-resume="user" nonce="n&quot;&gt;"' in text
    with override_settings(SSE_STREAM_URL="https://events.example.org/x?a=1&b"):
        assert 'data-url="https://events.example.org/x?a=1&amp;b"' in render("{% sse_stream %}")
        assert render("{% sse_url as url %}{{ url }}").startswith("https://events.example.org")
    with pytest.raises(InvalidEvent):
        render("{% sse_stream listen='stream-end' %}")


class Admin(RecorderMixin, TestCase):
    def setUp(self):
        super().setUp()
        self.boss = User.objects.create_superuser("boss", password="pw")
        self.user = User.objects.create_user("visitor", password="pw")
        self.client.force_login(self.boss)

    def open(self, user):
        from mod_sse.devserver.hub import Stream

        return self.recorder.hub.open(Stream(str(user.pk), [], "", ()))

    def test_who_is_online(self):
        self.assertContains(self.client.get("/admin/"), "Users online")
        self.assertContains(self.client.get("/admin/mod_sse/online/"), "Nobody is online.")
        stream = self.open(self.user)
        page = self.client.get("/admin/mod_sse/online/")
        self.assertContains(page, f"/admin/auth/user/{self.user.pk}/change/")
        self.assertContains(page, "visitor")
        page = self.client.post("/admin/mod_sse/online/disconnect/", {"user": self.user.pk}, follow=True)
        self.assertContains(page, "1 stream was ended.")
        self.assertContains(page, "Nobody is online.")
        self.assertNotIn(stream, self.recorder.hub.streams)
        self.assertEqual(self.client.get("/admin/mod_sse/online/disconnect/").status_code, 405)

    def test_rights(self):
        staff = User.objects.create_user("staff", password="pw", is_staff=True)
        self.client.force_login(staff)
        self.assertEqual(self.client.get("/admin/mod_sse/online/").status_code, 403)
        staff.user_permissions.add(Permission.objects.get(codename="view_online"))
        self.open(self.user)
        page = self.client.get("/admin/mod_sse/online/")
        self.assertContains(page, "visitor")
        self.assertNotContains(page, "Disconnect")
        self.assertEqual(self.client.post("/admin/mod_sse/online/disconnect/", {"user": self.user.pk}).status_code, 403)
        staff.user_permissions.add(Permission.objects.get(codename="disconnect_online"))
        self.assertContains(self.client.get("/admin/mod_sse/online/"), "Disconnect")

    @override_settings(SSE_TIMEOUT=0.1)
    def test_without_a_server(self):
        from mod_sse.transport import override_transport

        override_transport(None)
        page = self.client.get("/admin/mod_sse/online/")
        self.assertContains(page, "no answer within")
        self.assertNotContains(page, "Nobody is online.")

    def test_many(self):
        users = [User.objects.create_user(f"reader{n:03}") for n in range(60)]
        streams = [self.open(user) for user in users]
        page = self.client.get("/admin/mod_sse/online/")
        self.assertContains(page, "Users online: 60. Streams: 60. Servers: 1.")
        self.assertEqual(page.content.count(b"Disconnect</button>"), 50)
        self.assertNotContains(page, "First page")
        following = page.context["following"]
        page = self.client.get("/admin/mod_sse/online/", {"after": following})
        self.assertEqual(page.content.count(b"Disconnect</button>"), 10)
        self.assertContains(page, "First page")
        self.recorder.hub.close(streams[7])
        page = self.client.get("/admin/mod_sse/online/", {"q": "ER00"})
        self.assertEqual(page.content.count(b"Disconnect</button>"), 9)
        self.assertNotContains(page, "reader007")
        self.assertContains(self.client.get("/admin/mod_sse/online/", {"q": "nobody"}), "No such user is online.")

    def test_subscriptions(self):
        self.assertEqual(self.client.get("/admin/mod_sse/subscription/add/").status_code, 403)
        self.assertContains(self.client.get("/admin/mod_sse/subscription/"), "the event server keeps the subscriptions")
        with override_settings(SSE_SUBSCRIPTIONS="db"):
            self.client.post("/admin/mod_sse/subscription/add/", {"user": self.user.pk, "group": "", "event": "e"})
            self.assertEqual(Subscription.objects.get().user, self.user)
            page = self.client.post("/admin/mod_sse/subscription/add/", {"user": "", "group": "", "event": "e"})
            self.assertContains(page, "Name a user or a group")
            page = self.client.get("/admin/mod_sse/subscription/?q=e")
            self.assertContains(page, "visitor")
            self.assertNotContains(page, "the event server keeps")
            with self.captureOnCommitCallbacks(execute=True):
                self.client.post(
                    "/admin/mod_sse/subscription/",
                    {"action": "delete_selected", "_selected_action": [Subscription.objects.get().pk], "post": "yes"},
                )
            self.assertEqual(Subscription.objects.count(), 0)
            self.assertIn("POST /unsubscribe", self.recorder.take())

    @override_settings(LANGUAGE_CODE="de", USE_I18N=True)
    def test_in_german(self):
        self.open(self.user)
        page = self.client.get("/admin/mod_sse/online/")
        self.assertContains(page, "Angemeldete mit offener Seite")
        self.assertContains(page, "Trennen")


class Eventstream(EventsTestMixin, TestCase):
    def test_send_event(self):
        send_event("room 1", "message", {"text": "hi"})
        send_event("room", "ping", "raw text", json_encode=False)
        self.assertPublished("room_1", {"type": "message", "data": {"text": "hi"}}, users=None)
        self.assertPublished("room", {"type": "ping", "text": "raw text"})
        for wrong in (dict(skip_user_ids=[1]), dict(json_encode=False)):
            with self.assertRaises(InvalidData):
                send_event("room", "message", {}, **wrong)
        with self.assertRaises(InvalidEvent):
            send_event(7, "message", {})
        self.assertEqual(json.loads(self.published[0].body())["event"], "room_1")
