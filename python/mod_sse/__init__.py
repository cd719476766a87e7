# SPDX-License-Identifier: Apache-2.0
"""Server-sent events for Django's users and groups, streamed by Apache httpd's mod_sse.

``INSTALLED_APPS = ["mod_sse", ...]`` adds ``subscribe``, ``unsubscribe``, ``subscriptions`` and ``is_online`` to users,
``subscribe``, ``unsubscribe``, ``subscriptions`` and ``online_users`` to groups, and ``Events`` to ``django.dispatch``.

Importing this package sets ``django.dispatch.Events``; ``SSE_DISPATCH_EVENTS = False`` takes it away again before any
app's models are imported.
"""

import django.dispatch

from ._version import __version__
from .events import Events
from .exceptions import (
    AccessDenied,
    InvalidData,
    InvalidEvent,
    KeyConflict,
    MessageTooLarge,
    NotMigrated,
    NotThere,
    RequestRefused,
    SSEError,
    Unavailable,
    UnknownGroup,
    UnknownUser,
)

__all__ = [
    "AccessDenied",
    "Events",
    "InvalidData",
    "InvalidEvent",
    "KeyConflict",
    "MessageTooLarge",
    "NotMigrated",
    "NotThere",
    "RequestRefused",
    "SSEError",
    "Unavailable",
    "UnknownGroup",
    "UnknownUser",
    "__version__",
]

django.dispatch.Events = Events  # type: ignore[attr-defined]
