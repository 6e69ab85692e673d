import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import update_wrapper
from typing import Any, TypeVar, cast

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from analytics.activity.sessions import LogIn, note_logout
from analytics.models import Analysis, Status
from devices import storage
from devices.models import Device
from users.models import User

logger = logging.getLogger(__name__)
# What Django's forms and lists raise for values that they do not expect.
UNREADABLE = (AttributeError, DataError, LookupError, TypeError, ValidationError, ValueError)
View = TypeVar("View", bound=Callable[..., HttpResponseBase])


class PlumblineAdminSite(admin.AdminSite):
    site_header = "Plumbline"
    site_title = "Plumbline admin"
    index_title = "Administration"
    site_url = "/portal/"

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Answer 400 to values that no page of Django admin would send; Django itself answers 500.

        Such are filters that the database rejects, ids that are none, and counts of forms that lie. The log
        has the traceback, in case the fault is ours.
        """
        inner = super().admin_view(view, cacheable)

        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                response = inner(request, *args, **kwargs)
                # Choices of a field are read when the page is made.
                if isinstance(response, TemplateResponse):
                    response.render()
                return response
            except UNREADABLE as error:
                if request.method != "POST" and not request.GET:
                    raise
                logger.warning("Django admin could not read a request: %r", error, exc_info=True)
                raise BadRequest("Invalid values.") from error

        return cast(View, update_wrapper(checked, inner))

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_staff

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead through the portal's own door, with its second factor; this address stays as a name for it."""
        if request.method == "GET" and self.has_permission(request):
            return redirect("admin:index")
        return cast(HttpResponse, LogIn.as_view(next_page="admin:index")(request))

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Lead to the account's page, which also keeps the list of sessions."""
        return cast(TemplateResponse, redirect("account_change_password"))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        if request.method == "POST":
            note_logout(request)
        return super().logout(request, extra_context)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**(extra_context or {}), "overview": overview(timezone.now())})


def overview(now: datetime) -> dict[str, int]:
    """The start page's numbers. The five queries stay cheap with any number of readings and analyses."""
    devices = list(Device.objects.values_list("pk", flat=True))
    analyses = Analysis.objects.order_by()
    since = now - timedelta(seconds=settings.DEVICE_ONLINE_SECONDS)
    return {
        "devices": len(devices),
        "online": len(storage.current().sent_since(devices, since)),
        "users": User.objects.filter(is_active=True).count(),
        "open": analyses.filter(status__in=(Status.QUEUED, Status.RUNNING)).count(),
        "failed": analyses.filter(status=Status.FAILED, asked_at__gte=now - timedelta(days=1)).count(),
    }
