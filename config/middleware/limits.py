"""Bounds of one person: requests at the same time, and the answer of a page that meets a bound."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from config.limits import reads
from config.views import limit_reached
from users.limits import LimitReached


class Limits:
    """API views are counted by REST framework, see `reads.ReadsOfPerson`; released are both here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        reads.release(request, response)
        return response

    def process_view(self, request: HttpRequest, view: Callable, *_: Any) -> HttpResponse | None:
        if hasattr(view, "cls"):
            return None
        try:
            reads.hold(request, request.user)
        except LimitReached as error:
            return limit_reached(request, error)
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return limit_reached(request, error) if isinstance(error, LimitReached) else None
