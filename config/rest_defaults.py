"""Parser, content negotiation and pagination of the API; errors are in `config.problems`."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate, islice
from math import isfinite
from typing import Any, cast

import msgspec
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param

from devices.ingestion.decoding import MANY_PARTS, has_many_parts
from users.filters import TextFilter
from users.redis_cache import cached_count

MAX_NOT_FINITE = 100
# Channels, of which each takes a hundred bytes.
MOST_WEIGHT = 20_000
INVALID_CURSOR = "Not a cursor of this list."
ID = re.compile(r"[0-9]{1,18}")


class StrictJSONParser(BaseParser):
    """Parse JSON by RFC 8259: UTF-8, bounded depth and parts, no NaN, Infinity or number beyond a double."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        body = parser_context["request"]._request.body
        if has_many_parts(body):
            raise exceptions.ValidationError({"body": MANY_PARTS})
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            places = not_finite(body) or {"body": f"Not valid JSON: {error}."}
            raise exceptions.ValidationError(places) from error


def not_finite(body: bytes) -> dict[str, str]:
    """Map the path of each NaN, Infinity or number beyond a double to a message; empty for other faults."""
    try:
        return dict(islice(paths_not_finite(json.loads(body)), MAX_NOT_FINITE))
    except (ValueError, RecursionError):
        return {}


def paths_not_finite(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, float) and not isfinite(value):
        yield path or "body", "Must be a finite number."
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths_not_finite(part, f"{path}.{key}" if path else str(key))


class JSONInAnyCase(DefaultContentNegotiation):
    """Answer in JSON even if the client does not accept it: a reading must not be lost over a header."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except exceptions.NotAcceptable:
            return renderers[0], renderers[0].media_type


class StrictFilters(DjangoFilterBackend):
    """Refuses an empty filter, which the library ignores, unless any text is allowed."""

    def get_filterset(self, request: Any, queryset: Any, view: Any) -> Any:
        filterset = super().get_filterset(request, queryset, view)
        for name, given in request.query_params.items():
            known = filterset.filters.get(name) if filterset is not None and not given else None
            if known is not None and not isinstance(known, TextFilter):
                raise exceptions.ValidationError({name: "Must not be empty."})
        return filterset


class KeysetPagination(CursorPagination):
    """Pages as plain arrays with `Link` and `X-Total-Count`.

    They are in the order of the view's `keyset`: by id, unless it names a time and then the id. If the view
    can `weigh` a row, a page ends before the rows together weigh more than MOST_WEIGHT.
    """

    page_size = 100
    max_page_size = 1000
    page_size_query_param = "limit"
    query_parameters = ("cursor", "limit")

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list | None:
        self.total = cached_count(queryset)
        page: list | None = super().paginate_queryset(queryset, request, view)
        weigh = getattr(view, "weigh", None)
        if page and weigh is not None:
            self.end_early(page, weigh)
        return self.page

    def end_early(self, page: list, weigh: Callable[[Any], int]) -> None:
        """Leave the rows that are too much to the next page; to the previous one, if it was asked for."""
        is_reverse = self.cursor is not None and self.cursor.reverse
        rows = page[::-1] if is_reverse else page
        weights = accumulate(map(weigh, rows))
        kept = max(1, sum(weight <= MOST_WEIGHT for weight in weights))
        if kept == len(rows):
            return
        beyond = self._get_position_from_instance(rows[kept], self.ordering)
        if is_reverse:
            self.page, self.has_previous, self.previous_position = rows[:kept][::-1], True, beyond
        else:
            self.page, self.has_next, self.next_position = rows[:kept], True, beyond

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        return getattr(view, "keyset", ("id",))

    def is_position(self, text: str) -> bool:
        """Tell whether the first field of the order can have this value, which a cursor brings."""
        if self.ordering[0].lstrip("-") == "id":
            return bool(ID.fullmatch(text))
        try:
            # As this list writes it: in UTC. PostgreSQL refuses some offsets that Python takes.
            return datetime.fromisoformat(text).utcoffset() == timedelta(0)
        except ValueError:
            return False

    def decode_cursor(self, request: Any) -> Any:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound as error:
            raise exceptions.ValidationError({"cursor": INVALID_CURSOR}) from error
        # The library reads most nonsense as an empty cursor.
        position = None if cursor is None else cursor.position
        is_strange = position is not None and not self.is_position(str(position))
        if cursor and (is_strange or not any(cursor)):
            raise exceptions.ValidationError({"cursor": INVALID_CURSOR})
        return cursor

    def get_page_size(self, request: Any) -> int:
        text = request.query_params.get("limit", str(self.page_size))
        if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= self.max_page_size):
            message = f"Must be a whole number from 1 to {self.max_page_size}."
            raise exceptions.ValidationError({"limit": message})
        return int(text)

    def get_paginated_response(self, data: list) -> Response:
        links = {
            "first": remove_query_param(cast(str, self.base_url), "cursor"),
            "prev": self.get_previous_link(),
            "next": self.get_next_link(),
        }
        header = ", ".join(f'<{url}>; rel="{name}"' for name, url in links.items() if url)
        return Response(data, headers={"Link": header, "X-Total-Count": str(self.total)})

    def get_paginated_response_schema(self, schema: dict) -> dict:
        return schema

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "schema": {"type": "string"},
                "description": "From the `Link` header of another page of this list; any other text is 400.",
            },
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": self.max_page_size},
                "description": f"Rows per page (default {self.page_size}).",
            },
        ]
