# SPDX-License-Identifier: Apache-2.0
"""Addresses of the demo site. The stream itself, /events/, is httpd's; the last line is its stand-in under runserver."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path

from board import views

urlpatterns = [
    path("", views.board, name="board"),
    path("chat/", views.chat, name="chat"),
    path("login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("api/publish", views.publish, name="publish"),
    path("api/subscriptions", views.subscriptions, name="subscriptions"),
    path("api/chat", views.say, name="say"),
    path("api/notify", views.notify, name="notify"),
    path("api/notifications/read", views.read_notifications, name="read_notifications"),
    path("admin/", admin.site.urls),
    path("", include("mod_sse.devserver.urls")),
]
