from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from config.limits.uploads import UPLOAD_PATH


class PageLoginRequired(LoginRequiredMiddleware):
    """Require a log-in for pages. API views check credentials themselves and need no session.

    An upload holds a thread while it comes, and the check of its form reads it whole. So one of somebody who
    may not upload is answered before.
    """

    def __call__(self, request: HttpRequest) -> Any:
        if request.method == "POST" and request.path.rstrip("/") == UPLOAD_PATH:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not request.user.is_staff:
                raise Http404
        return super().__call__(request)

    def process_view(self, request: HttpRequest, view: Callable, *arguments: Any) -> HttpResponseBase | None:
        return None if hasattr(view, "cls") else super().process_view(request, view, *arguments)
