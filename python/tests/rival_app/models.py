# SPDX-License-Identifier: Apache-2.0
"""A model whose related_name is a name that users would get from mod_sse."""

from django.conf import settings
from django.db import models


class Plan(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="subscriptions")
