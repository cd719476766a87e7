# SPDX-License-Identifier: Apache-2.0
"""The demo's tables in Django's admin."""

from django.contrib import admin

from .models import Line, Notification

admin.site.register([Line, Notification])
