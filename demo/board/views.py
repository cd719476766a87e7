# SPDX-License-Identifier: Apache-2.0
"""Pages and the small JSON API behind their buttons."""

import functools

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.db import transaction
from django.dispatch import Events
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from mod_sse import SSEError, Unavailable, presence

from .models import Line, Notification

User = get_user_model()
# What a new session listens to until its user chooses otherwise.
FIRST_EVENTS = "news:today weather:now"


def api(view):
    """POST, logged in, mistakes and outages as JSON with a sentence."""

    @functools.wraps(view)
    def wrapped(request):
        if not request.user.is_authenticated:
            return JsonResponse({"error": "You are logged out."}, status=403)
        try:
            return JsonResponse(view(request))
        except SSEError as err:
            return JsonResponse({"error": str(err)}, status=503 if isinstance(err, Unavailable) else 400)

    return require_POST(wrapped)


def page(request, template, **context):
    """What every page shows: people with who is online, unread notifications, the user's subscriptions."""
    try:
        mine = request.user.subscriptions()
        online = set(presence.online_ids())
        trouble = ""
    except SSEError as err:
        mine, online, trouble = [], set(), str(err)
    people = [
        {"id": str(user.pk), "name": user.username, "groups": [g.name for g in user.groups.all()], "online": str(user.pk) in online}
        for user in User.objects.order_by("username").prefetch_related("groups")
    ]
    notes = [note.as_data() for note in request.user.notifications.filter(read=False).select_related("sender")[:20]]
    context.update(people=people, groups=list(Group.objects.order_by("name")), mine=mine, notes=notes, trouble=trouble)
    return render(request, template, context)


@login_required
def board(request):
    if "welcomed" not in request.session:
        try:
            request.user.subscribe(FIRST_EVENTS)
            request.session["welcomed"] = True
        except SSEError:
            pass  # page() says what is wrong
    return page(request, "board/board.html", here="board")


@login_required
def chat(request):
    try:
        request.user.subscribe("chat:lobby")
    except SSEError:
        pass  # page() says what is wrong
    lines = [line.as_data() for line in Line.objects.select_related("author").order_by("-id")[:50]][::-1]
    return page(request, "board/chat.html", here="chat", lines=lines)


@api
def publish(request):
    to, event = request.POST.get("to"), request.POST.get("event", "")
    # EventSource calls a page only for names it was told of: every open page learns this one before its event comes.
    Events.broadcast("board:name", {"name": event})
    data = {"text": request.POST.get("text", "")[:2000], "from": request.user.username, "to": to}
    if to == "user":
        user = get_object_or_404(User, pk=request.POST.get("user"))
        return {"id": Events.publish(event, data, users=[user])}
    if to == "group":
        group = get_object_or_404(Group, name=request.POST.get("group"))
        return {"id": Events.publish(event, data, groups=[group])}
    if to == "everyone":
        return {"id": Events.broadcast(event, data)}
    return {"id": Events.publish(event, data)}


@api
def subscriptions(request):
    change = request.user.unsubscribe if request.POST.get("action") == "remove" else request.user.subscribe
    return {"events": change(request.POST.get("events", ""))}


@api
@transaction.atomic
def say(request):
    text = request.POST.get("text", "").strip()[:500]
    return {"id": Line.objects.create(author=request.user, text=text).pk if text else None}


@api
@transaction.atomic
def notify(request):
    user = get_object_or_404(User, pk=request.POST.get("user"))
    text = request.POST.get("text", "").strip()[:200] or "waves at you"
    return {"id": Notification.objects.create(user=user, sender=request.user, text=text).pk}


@api
def read_notifications(request):
    request.user.notifications.filter(read=False).update(read=True)
    # The user's other tabs and devices take the number away, too.
    return {"id": Events.publish("notification:read", {}, users=[request.user])}
