# SPDX-License-Identifier: Apache-2.0
"""From mod_sse's signals to what every open page shows."""

from django.dispatch import Events, receiver

from mod_sse.signals import user_offline, user_online


@receiver(user_online)
def came(sender, user_id, **kwargs):
    Events.broadcast("people:online", {"id": user_id, "online": True})


@receiver(user_offline)
def went(sender, user_id, **kwargs):
    Events.broadcast("people:online", {"id": user_id, "online": False})
