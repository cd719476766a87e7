# SPDX-License-Identifier: Apache-2.0
"""How a site with `mypy --strict` uses the package: test_code.py checks this file, nothing runs it."""

from typing import Any, List, Optional

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse

from mod_sse import AccessDenied, Events, InvalidData, KeyConflict, MessageTooLarge, NotMigrated, SSEError, Unavailable, presence
from mod_sse.eventstream import send_event
from mod_sse.members import EventsGroupMixin, EventsUserMixin
from mod_sse.signals import event_published, user_online
from mod_sse.test import EventsTestMixin


class Person(EventsUserMixin, AbstractUser):  # type: ignore[misc]
    """Django itself has no types here."""


class Team(EventsGroupMixin):
    name = "team"


def use(person: Person, team: Team) -> None:
    events: List[str] = person.subscribe("event:name another:event", session=False)
    events += person.unsubscribe(["a", "b"]) + person.subscriptions() + team.subscribe("a", "b") + team.subscriptions()
    there: bool = person.is_online()
    people: List[Any] = team.online_users()
    identity: Optional[str] = Events.publish("invoice:paid", {"id": 7}, users=[person], key="k", ttl=60, raw=False, replace="r", on_commit=False)
    identities: List[Optional[str]] = Events.publish_many([{"event": "a"}, {"event": "b", "data": 1}])
    identity = Events.broadcast("to:everyone", {"data": "set"})
    ended: int = presence.disconnect(user=person, seconds=60)
    send_event("room", "message", {"text": "hi"})
    print(events, there, people, identity, identities, ended)


async def view(request: HttpRequest) -> HttpResponse:
    person = request.user
    try:
        identity: Optional[str] = await Events.apublish("e", {}, users=[person])
        many: List[Optional[str]] = await Events.apublish_many([{"event": "e"}])
        identity = await Events.abroadcast("e", 1, ttl=5)
        if isinstance(person, Person):
            there: bool = await person.ais_online()
            events: List[str] = await person.asubscribe("e")
            print(there, events, await person.asubscriptions(), await person.aunsubscribe("e"))
    except (InvalidData, MessageTooLarge, NotMigrated, KeyConflict, AccessDenied) as err:
        return HttpResponse(str(err), status=500)
    except Unavailable as err:
        return HttpResponse(str(err), status=503)
    except SSEError:
        raise
    return HttpResponse(f"{identity} {many}")


def receive(sender: Any, user_id: str, **kwargs: Any) -> None:
    print(presence.get_user(user_id))


user_online.connect(receive)
event_published.connect(lambda sender, message, **kwargs: None, weak=False)


class InvoiceTest(EventsTestMixin):
    def test_paid(self) -> None:
        with self.online(Person()) as page:
            self.assertPublished("invoice:paid", {"id": 7}, users=[1]).ttl
            print(page.events())
