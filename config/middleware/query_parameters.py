from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import SAFE_METHODS

from config.problems import problem


class RefuseUnknownQuery:
    """Answer 400 to a misspelt parameter of an API view, which would otherwise be ignored."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable, *_: object) -> HttpResponse | None:
        view_class = getattr(view, "cls", None)
        if view_class is None or not request.GET or not hasattr(view_class, "query_parameters"):
            return None
        unknown = sorted(set(request.GET) - allowed_parameters(view_class, request.method))
        if not unknown:
            return None
        return problem(
            400, errors=[{"field": name, "message": "Unknown query parameter."} for name in unknown]
        )


def allowed_parameters(view: Any, method: str | None) -> set[str]:
    """The parameters of a view: its own or those for DELETE, and for a list its filters and paging."""
    if method == "DELETE":
        return set(getattr(view, "delete_parameters", view.query_parameters))
    allowed = set(view.query_parameters)
    is_list = issubclass(view, ListModelMixin)
    if method in SAFE_METHODS and is_list:
        allowed |= set(view.pagination_class.query_parameters)
        allowed |= set(view.filterset_class.base_filters) if hasattr(view, "filterset_class") else set()
    return allowed
