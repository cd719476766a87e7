# SPDX-License-Identifier: Apache-2.0
"""Views that do what a site's views do with events."""

import threading

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.dispatch import Events
from django.http import HttpResponse, JsonResponse
from django.urls import include, path


def log_in(request):
    login(request, authenticate(request, username=request.GET["name"], password="pw"))
    if "events" in request.GET:
        request.user.subscribe(request.GET["events"])
    return HttpResponse("in")


def log_out(request):
    logout(request)
    return HttpResponse("out")


def subscribe(request):
    who = User.objects.get(username=request.GET["name"]) if "name" in request.GET else request.user
    return JsonResponse({"events": who.subscribe(request.GET["events"])})


def unsubscribe(request):
    return JsonResponse({"events": request.user.unsubscribe(request.GET["events"])})


def subscribe_group(request):
    return JsonResponse({"events": Group(name=request.GET["group"]).subscribe(request.GET["events"])})


def change_password(request):
    request.user.set_password("pw")
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("changed")


gates = {}


def publish(request):
    """?together=N: once N requests are here, each of them in a thread of this process."""
    number = int(request.GET.get("together", 1))
    gates.setdefault(number, threading.Barrier(number)).wait(30)
    return JsonResponse({"id": Events.publish("from:view", {"n": 1})})


def publish_and_fail(request):
    with transaction.atomic():
        Events.publish("from:view", {"n": 2})
        raise ValueError("rolled back")


async def apublish(request):
    return JsonResponse({"id": await Events.apublish("from:async", {"n": 3})})


async def asubscribe(request):
    user = await sync_to_async(User.objects.get)(username=request.GET["name"])
    return JsonResponse({"events": await user.asubscribe(request.GET["events"])})


def plain(request):
    return HttpResponse("plain")


urlpatterns = [
    path("in/", log_in),
    path("out/", log_out),
    path("subscribe/", subscribe),
    path("unsubscribe/", unsubscribe),
    path("subscribe-group/", subscribe_group),
    path("password/", change_password),
    path("publish/", publish),
    path("publish-and-fail/", publish_and_fail),
    path("apublish/", apublish),
    path("asubscribe/", asubscribe),
    path("plain/", plain),
    path("admin/", admin.site.urls),
    path("", include("mod_sse.devserver.urls")),
]
