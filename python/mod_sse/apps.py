# SPDX-License-Identifier: Apache-2.0
"""The app: connects signals and checks, takes ``django.dispatch.Events`` away if the site does not want it."""

import django.dispatch
from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from .conf import sse_settings


class ModSSEConfig(AppConfig):
    name = "mod_sse"
    verbose_name = _("Server-sent events")
    default_auto_field = "django.db.models.BigAutoField"
    default = True

    def __init__(self, app_name: str, app_module: object) -> None:
        super().__init__(app_name, app_module)
        # Made before any app's models are imported: they see the setting's effect.
        if not sse_settings.DISPATCH_EVENTS and hasattr(django.dispatch, "Events"):
            del django.dispatch.Events

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401 (registers the checks)

        receivers.connect()
