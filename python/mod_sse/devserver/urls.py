# SPDX-License-Identifier: Apache-2.0
"""``path("", include("mod_sse.devserver.urls"))``: the stand-in's stream at ``SSE_STREAM_URL``. In production httpd answers
that address itself and this view is never asked."""

from urllib.parse import urlsplit

from django.urls import path

from ..conf import sse_settings
from .views import stream

urlpatterns = [path(urlsplit(str(sse_settings.STREAM_URL)).path.lstrip("/"), stream, name="mod_sse_stream")]
