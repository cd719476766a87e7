# SPDX-License-Identifier: Apache-2.0
"""The stand-in's stream, one thread of runserver for each open page."""

import queue
from typing import Iterator

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from ..conf import sse_settings
from ..exceptions import InvalidEvent
from ..names import check_event, session_id, user_id
from ..subscriptions import remembered
from ..sync import sync_subscriptions
from ..transport import get_transport
from ..transport.base import logger
from .hub import DevHub, Stream
from .transport import DevTransport

HEARTBEAT_SECONDS = 5.0
NOTICE = "events are served by the stand-in for development, in this process only; production needs Apache httpd with mod_sse"


def frames(hub: DevHub, stream: Stream) -> Iterator[str]:
    try:
        while True:
            try:
                text = stream.frames.get(timeout=HEARTBEAT_SECONDS)
            except queue.Empty:
                text = ":\n"
            if text is None:
                return
            yield text
    finally:
        hub.close(stream)


def restore(hub: DevHub, request: HttpRequest, opened: Stream) -> None:
    """runserver has begun anew, as after each change of the code: what the database and the session know of subscriptions."""
    if hub.first_stream():
        logger.warning(NOTICE)
        if sse_settings.SUBSCRIPTIONS == "db":
            sync_subscriptions()
    events = remembered(request.session)
    if events and opened.session:
        hub.subscribe({"user": opened.user, "events": events, "session": opened.session}, add=True)


@require_safe
def stream(request: HttpRequest) -> HttpResponse:
    transport = get_transport()
    if not isinstance(transport, DevTransport):
        raise Http404("SSE_ADMIN_URL is not 'runserver:'")
    user = getattr(request, "user", AnonymousUser())
    if not user.is_authenticated:
        return HttpResponse("log in first\n", status=403, content_type="text/plain")
    try:
        names = [check_event(name) for name in request.GET.getlist("event")]
    except InvalidEvent as err:
        return HttpResponse(f"{err}\n", status=400, content_type="text/plain")
    groups = list(user.groups.values_list("name", flat=True)) if hasattr(user, "groups") else []
    key = request.session.session_key
    opened = Stream(user_id(user), groups, session_id(key) if key else "", names)
    last_id = request.headers.get("Last-Event-ID") or request.GET.get("lastEventId") or request.GET.get("last_event_id") or ""
    restore(transport.hub, request, opened)
    transport.hub.open(opened, last_id)
    response = StreamingHttpResponse(frames(transport.hub, opened), content_type="text/event-stream")
    response["Cache-Control"] = "private, no-cache, no-store, no-transform"
    return response
