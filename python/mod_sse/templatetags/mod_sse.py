# SPDX-License-Identifier: Apache-2.0
"""``{% load mod_sse %}{% sse_stream %}``: the client script, and the stream it opens, in one line of a template."""

from typing import Dict

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ..conf import sse_settings
from ..names import split_events, user_id

register = template.Library()


def attributes(pairs: Dict[str, str]) -> SafeString:
    return format_html_join("", ' {}="{}"', pairs.items())


@register.simple_tag
def sse_url() -> str:
    """The address of the stream, ``SSE_STREAM_URL``."""
    return str(sse_settings.STREAM_URL)


@register.simple_tag(takes_context=True)
def sse_stream(
    context: template.Context, listen: str = "", events: str = "", share: bool = True, resume: bool = False, nonce: str = ""
) -> SafeString:
    """Loads the client script and opens the stream as ``window.sse``.

    listen: names whose events go to the document as ``sse:NAME`` without a call of ``sse.on``; separated by spaces.
    events: names to ask for with ``?event=`` (httpd's SSEAllowEvents must allow them).
    share: one connection for all tabs of the browser.
    resume: begin with what the user has not been sent yet on any device, not with what comes from now on.
    nonce: of the site's Content-Security-Policy; ``request.csp_nonce`` is taken where there is one.
    """
    request = context.get("request")
    user = getattr(request, "user", None) or context.get("user")
    given: Dict[str, str] = {"src": static("mod_sse/mod_sse.js"), "data-url": sse_url()}
    if listen:
        given["data-listen"] = " ".join(split_events(listen))
    if events:
        given["data-events"] = " ".join(split_events(events))
    if not share:
        given["data-share"] = "off"
    if resume:
        given["data-resume"] = "user"
    if user is not None and user.is_authenticated:
        given["data-user"] = user_id(user)
    nonce = nonce or str(getattr(request, "csp_nonce", "") or "")
    if nonce:
        given["nonce"] = nonce
    return format_html("<script{}></script>", attributes(given))

