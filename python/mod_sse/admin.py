# SPDX-License-Identifier: Apache-2.0
"""Django admin: stored subscriptions, and a page of who is online with a button that ends their streams."""

from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from . import presence
from .conf import sse_settings
from .exceptions import SSEError
from .models import Online, Subscription
from .transport import call

PAGE = 50
REFUSE_SECONDS = 60


@admin.register(Subscription)
class SubscriptionAdmin(admin.ModelAdmin):
    list_display = ["owner_name", "event", "created"]
    search_fields = ["event", "group"]
    raw_id_fields = ["user"]
    list_select_related = ["user"]

    @admin.display(description=gettext_lazy("user or group"))
    def owner_name(self, row: Subscription) -> str:
        return row.group if row.group is not None else str(row.user)

    def changelist_view(self, request: HttpRequest, extra_context: Optional[Dict[str, Any]] = None) -> HttpResponse:
        if sse_settings.SUBSCRIPTIONS != "db":
            messages.info(request, _("SSE_SUBSCRIPTIONS is 'session': the event server keeps the subscriptions, not this table."))
        return super().changelist_view(request, extra_context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return sse_settings.SUBSCRIPTIONS == "db" and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a changed row would be two changes for the hub: delete and add

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset:
            row.delete()


@admin.register(Online)
class OnlineAdmin(admin.ModelAdmin):
    """A page without a table of its own: the hub is asked each time."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_disconnect(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("mod_sse.disconnect_online"))

    def get_urls(self) -> List[Any]:
        mine = [path("disconnect/", self.admin_site.admin_view(self.disconnect_view), name="mod_sse_online_disconnect")]
        return mine + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: Optional[Dict[str, Any]] = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = dict(self.admin_site.each_context(request), title=_("Users online"), opts=self.model._meta, **(extra_context or {}))
        after, query = request.GET.get("after", ""), request.GET.get("q", "").strip()
        context.update(may_disconnect=self.may_disconnect(request), refuse_seconds=REFUSE_SECONDS, after=after, query=query)
        try:
            context.update(self.found(query) if query else self.page(after), totals=presence.totals())
        except (SSEError, ImproperlyConfigured) as err:
            messages.error(request, str(err))
        request.current_app = self.admin_site.name  # type: ignore[attr-defined]
        return TemplateResponse(request, "admin/mod_sse/online/change_list.html", context)

    def page(self, after: str) -> Dict[str, Any]:
        answer = call("GET", "/presence/users", query={"after": after or None, "limit": PAGE}).body
        rows = [self.row(user, presence.presence(user)) for user in presence.users(answer.get("users") or [])]
        return {"rows": rows, "following": answer.get("next")}

    def found(self, query: str) -> Dict[str, Any]:
        """Users whose name has these characters, those that are online."""
        manager, field = get_user_model()._default_manager, get_user_model().USERNAME_FIELD
        users = manager.filter(**{f"{field}__icontains": query}).order_by(field)[:PAGE]
        rows = [self.row(user, there) for user, there in ((user, presence.presence(user)) for user in users) if there.get("online")]
        return {"rows": rows}

    @staticmethod
    def row(user: Any, there: Dict[str, Any]) -> Dict[str, Any]:
        since = there.get("since")
        return {
            "user": user,
            "pk": user.pk,
            "url": admin_url(type(user), user.pk),
            "streams": there.get("streams"),
            "since": datetime.fromtimestamp(since, timezone.utc) if isinstance(since, (int, float)) else since,
        }

    def disconnect_view(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.may_disconnect(request):
            raise PermissionDenied
        try:
            closed = presence.disconnect(user=request.POST.get("user", ""), seconds=REFUSE_SECONDS)
        except (SSEError, ImproperlyConfigured) as err:
            messages.error(request, str(err))
        else:
            messages.success(request, ngettext("%d stream was ended.", "%d streams were ended.", closed) % closed)
        return HttpResponseRedirect(reverse("admin:mod_sse_online_changelist", current_app=self.admin_site.name))


def admin_url(model: Any, pk: Any) -> Optional[str]:
    from django.urls import NoReverseMatch

    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    except NoReverseMatch:
        return None
