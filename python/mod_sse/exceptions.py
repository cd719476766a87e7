# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, one class for each thing a caller may want to treat differently.

The invalid ones are the caller's mistake and are always raised. ``Unavailable`` and its kin are the world's fault: with
``SSE_FAIL_SILENTLY`` they are logged and swallowed.
"""

from typing import Any, Dict, Optional


class SSEError(Exception):
    """Everything this package raises by itself."""


class InvalidEvent(SSEError, ValueError):
    """An event name that the server would refuse."""


class InvalidData(SSEError, ValueError):
    """Data that cannot be written as JSON, or options that do not fit together."""


class UnknownUser(SSEError, LookupError):
    """A user without a primary key, or something that is no user."""


class UnknownGroup(SSEError, LookupError):
    """A group without a name, or something that is no group."""


class NotMigrated(SSEError):
    """A table that this needs is not there yet: ``manage.py migrate`` has not run."""


class Unavailable(SSEError):
    """httpd, the hub or the broker did not answer in time. Whether the request took effect is open: repeat it with the same ``key``."""


class RequestRefused(SSEError):
    """The server answered with a refusal.

    ``status`` is the HTTP status, ``problem`` the RFC 9457 document (empty if the answer was none).
    """

    def __init__(self, message: str, status: int = 0, problem: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class AccessDenied(RequestRefused):
    """401 or 403: ``SSE_ADMIN_KEY`` is missing or wrong, or httpd's own rules say no."""


class KeyConflict(RequestRefused):
    """409: the same ``key`` was used before with other content."""


class MessageTooLarge(RequestRefused):
    """413: larger than the server's ``SSEMaxMessageSize``."""


class NotThere(RequestRefused):
    """404, or an answer that is not mod_sse's: ``SSE_ADMIN_URL`` points to something else."""
