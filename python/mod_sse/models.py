# SPDX-License-Identifier: Apache-2.0
"""``Subscription``: what ``SSE_SUBSCRIPTIONS = "db"`` keeps. The table exists in either mode, so that a site can change over.

Importing this module, which Django does while it loads models, also gives users and groups their methods.
"""

from typing import Any, Dict, Iterable, List, Optional

from django.conf import settings
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from .members import install_all
from .names import EVENT_BYTES_MAX, check_event, group_name, user_id
from .tables import needs_table

install_all()


def validate_event(value: str) -> None:
    from django.core.exceptions import ValidationError

    from .exceptions import InvalidEvent

    try:
        check_event(value)
    except InvalidEvent as err:
        raise ValidationError(str(err)) from err


class SubscriptionManager(models.Manager):
    """Changes rows and tells the hub when the transaction commits."""

    def of(self, user: Any = None, group: Optional[str] = None) -> "models.QuerySet[Subscription]":
        if group is not None:
            return self.filter(group=group_name(group))
        return self.filter(user=user)

    def events(self, user: Any = None, group: Optional[str] = None) -> List[str]:
        with needs_table(self.model):
            return list(self.of(user, group).order_by("event").values_list("event", flat=True))

    def add(self, events: Iterable[str], user: Any = None, group: Optional[str] = None) -> List[str]:
        owner: Dict[str, Any] = {"group": group} if group is not None else {"user": user}
        with needs_table(self.model), transaction.atomic(using=self.db):
            for event in events:
                self.get_or_create(event=event, **owner)
        return self.events(user, group)

    def remove(self, events: Iterable[str], user: Any = None, group: Optional[str] = None) -> List[str]:
        with needs_table(self.model), transaction.atomic(using=self.db):
            for row in self.of(user, group).filter(event__in=list(events)):
                row.delete()
        return self.events(user, group)


class Subscription(models.Model):
    """One event that a user, or a group by its name, is subscribed to."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    group = models.CharField(_("group"), max_length=150, null=True, blank=True, help_text=_("The group's name."))
    event = models.CharField(_("event"), max_length=EVENT_BYTES_MAX, validators=[validate_event])
    created = models.DateTimeField(_("created"), auto_now_add=True)

    objects = SubscriptionManager()

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "event"], name="mod_sse_user_event"),
            models.UniqueConstraint(fields=["group", "event"], name="mod_sse_group_event"),
        ]

    def __str__(self) -> str:
        owner = self.group if self.group is not None else self.user_id
        return f"{owner}: {self.event}"

    def clean(self) -> None:
        from django.core.exceptions import ValidationError

        self.group = self.group or None
        if (self.user_id is None) == (self.group is None):
            raise ValidationError(_("Name a user or a group, one of the two."))

    def owner(self) -> Dict[str, str]:
        """How the admin handler names whom this is for."""
        if self.group is not None:
            return {"group": self.group}
        return {"user": user_id(self.user_id)}


class Online(models.Model):
    """Who is online, for the admin's index, permissions and log. It has no table: the hub is asked."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [("disconnect_online", _("Can end the streams of users"))]
        verbose_name = _("user online")
        verbose_name_plural = _("users online")
