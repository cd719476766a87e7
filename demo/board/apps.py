# SPDX-License-Identifier: Apache-2.0
"""The demo's app. Its receivers tell everybody when somebody comes or goes (in the process of `manage.py sse_listen`)."""

from django.apps import AppConfig


class BoardConfig(AppConfig):
    name = "board"

    def ready(self) -> None:
        from . import receivers  # noqa: F401
