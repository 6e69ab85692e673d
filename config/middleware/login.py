from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class PageLoginRequired(LoginRequiredMiddleware):
    """Require a log-in for pages. API views check credentials themselves and need no session."""

    def process_view(self, request: HttpRequest, view: Callable, *arguments: Any) -> HttpResponseBase | None:
        return None if hasattr(view, "cls") else super().process_view(request, view, *arguments)
