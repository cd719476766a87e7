# SPDX-License-Identifier: Apache-2.0
"""User models of the kinds that sites have: UUID keys, another table, no groups."""

import uuid

from django.contrib.auth.models import AbstractBaseUser, AbstractUser, BaseUserManager
from django.db import models

from mod_sse.members import EventsUserMixin


class Member(EventsUserMixin, AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        db_table = "people"


class Plain(AbstractBaseUser):
    email = models.CharField(max_length=100, primary_key=True)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()
