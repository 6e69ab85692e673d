"""Filters and pages of a list of calculations."""

import re
from typing import Any

from django.core.paginator import Page
from django_filters import rest_framework as filters
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.kernels import KERNELS
from analytics.models import Calculation, CalculationQuerySet, Status

PAGE_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
LAST_PAGE = 10**9 - 1


class CalculationFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=Status.choices, empty_label="Any")
    kernel = filters.ChoiceFilter(
        choices=[(name, kernel.label) for name, kernel in KERNELS.items()], empty_label="Any"
    )
    ordering = filters.ChoiceFilter(
        choices=[("started_at", "oldest first"), ("-started_at", "newest first")],
        method="ordered",
        help_text="Default: newest first. One that has not started is placed by the time of its request.",
    )

    class Meta:
        model = Calculation
        fields = ()

    def ordered(self, calculations: CalculationQuerySet, _: str, ordering: str) -> CalculationQuerySet:
        return calculations.oldest() if ordering == "started_at" else calculations.newest()


class NumberedPages(PageNumberPagination):
    """A page is a plain array; `Link` names the pages around it. A page that does not exist is 400."""

    page_size = 10
    query_parameters = ("page",)
    page: Page  # paginate_queryset sets both
    request: Request

    def get_page_number(self, request: Request, paginator: Any) -> int:
        text = request.query_params.get("page", "1")
        if not PAGE_NUMBER.fullmatch(text) or int(text) > paginator.num_pages:
            raise ValidationError({"page": f"Must be a whole number from 1 to {paginator.num_pages}."})
        return int(text)

    def get_paginated_response(self, data: list) -> Response:
        pages = {"first": 1, "last": self.page.paginator.num_pages}
        if self.page.has_previous():
            pages["prev"] = self.page.previous_page_number()
        if self.page.has_next():
            pages["next"] = self.page.next_page_number()
        header = ", ".join(f'<{self.link(number)}>; rel="{name}"' for name, number in pages.items())
        return Response(data, headers={"Link": header, "X-Total-Count": str(self.page.paginator.count)})

    def link(self, number: int) -> str:
        query = self.request.query_params.copy()
        query["page"] = str(number)
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")

    def get_paginated_response_schema(self, schema: dict) -> dict:
        return schema

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": "page",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": LAST_PAGE},
                "description": "From 1 to the last page, which `Link` names; 400 beyond it.",
            }
        ]
