# SPDX-License-Identifier: Apache-2.0
"""What the demo keeps: chat lines and notifications. Saving one publishes it, once its transaction has committed."""

from django.conf import settings
from django.db import models
from django.dispatch import Events


class Line(models.Model):
    """One line of the chat."""

    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    text = models.CharField(max_length=500)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def as_data(self):
        return {"id": self.pk, "author": self.author.username, "text": self.text, "at": self.created}

    def save(self, *args, **kwargs):
        super().save(*args, **kwargs)
        Events.publish("chat:lobby", self.as_data(), key=f"chat-{self.pk}")


class Notification(models.Model):
    """A note to one user, shown on whatever page that user has open."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notifications")
    sender = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    text = models.CharField(max_length=200)
    created = models.DateTimeField(auto_now_add=True)
    read = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]

    def as_data(self):
        return {"id": self.pk, "from": self.sender.username, "text": self.text, "at": self.created}

    def save(self, *args, **kwargs):
        new = self.pk is None
        super().save(*args, **kwargs)
        if new:
            Events.publish("notification:new", self.as_data(), users=[self.user], key=f"notification-{self.pk}")
