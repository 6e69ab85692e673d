"""The API of calculations. What a kernel takes and gives is read from its declaration."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import csv_rows, runs
from analytics.calculations import compute, stored_rows
from analytics.calculations.request import Conflict, calculation_from, queue_calculation, repeated_calculation
from analytics.calculations.serializers import DEFAULT_KERNEL, SERIALIZERS
from analytics.kernels import KERNELS
from analytics.kernels.declaration import Column
from analytics.models import Calculation, CalculationQuerySet, Status
from users.serializers import Stamp

PAGE = re.compile(r"[1-9][0-9]{0,8}")
ID = "3c5a0f9e-7f6e-4f0a-8f43-2a2f0a3c9b11"
LISTED = {"id": ID, "name": "Well 7", "started_at": "2026-11-21T09:30:00Z", "status": "finished"}
ROW = {"date": "2026-01-01", "liquid": 41.25, "oil": 36.5, "water": 4.75, "wct": 0.1151515151515151}


class CreatedSerializer(serializers.Serializer):
    id = serializers.UUIDField()


class ListedSerializer(serializers.ModelSerializer):
    started_at = Stamp(allow_null=True)
    status = serializers.CharField(help_text=f"One of {', '.join(Status.values)}.")

    class Meta:
        model = Calculation
        fields = ("id", "name", "started_at", "status")


def result_schema() -> dict[str, Any]:
    """Rows as each kernel's columns say."""
    types = {
        "number": {"type": "number"},
        "date": {"type": "string", "format": "date"},
        "moment": {"type": "string", "format": "date-time"},
    }

    def described(column: Column) -> dict[str, Any]:
        return types[column.kind] | {"description": column.heading}

    rows = [
        {
            "type": "array",
            "title": f"Rows of {kernel.name}",
            "items": {
                "type": "object",
                "required": [column.name for column in kernel.columns],
                "properties": {column.name: described(column) for column in kernel.columns},
            },
        }
        for kernel in KERNELS.values()
    ]
    return {"oneOf": [*rows, {"type": "null"}], "description": "Null until finished."}


Written = Callable[[Calculation, datetime], Any]
# What `fields` may ask for, beside what is there anyway.
OPTIONAL: dict[str, Written] = {
    "name": lambda run, _: run.name,
    "duration": lambda run, _: compute.duration_seconds(run),
    "kernel": lambda run, _: run.kernel,
    "kernel_version": lambda run, _: run.kernel_version,
    "parameters": lambda run, _: run.parameters,
    "seed": lambda run, _: run.seed,
    "libraries": lambda run, _: run.libraries,
    "asked_at": lambda run, _: stamp(run.asked_at),
    "asked_by": lambda run, _: run.asked_by_id,
    "finished_at": lambda run, _: stamp(run.finished_at),
    "attempts": lambda run, _: run.attempts,
    "position": lambda run, _: runs.positions(Calculation).get(run.pk),
    "progress": lambda run, _: run.progress,
    "elapsed": compute.elapsed_seconds,
    "remaining": compute.remaining_seconds,
    "error": lambda run, _: run.error or None,
    "rows": lambda run, _: run.row_count,
    "broken_invariants": lambda run, _: run.broken,
    "rerun_of": lambda run, _: run.rerun_of_id,
}
ALWAYS = ("id", "started_at", "status", "result")


def stamp(time: datetime | None) -> str | None:
    return time and Stamp().to_representation(time)


def seconds(help_text: str) -> serializers.Field:
    return serializers.FloatField(required=False, allow_null=True, help_text=f"Seconds; {help_text}")


class DetailSerializer(ListedSerializer):
    """For the schema: `result` is written past it, as it may be large."""

    result = extend_schema_field(result_schema())(serializers.JSONField)(read_only=True)
    name = serializers.CharField(required=False)
    duration = seconds("null until it is over.")
    kernel = serializers.CharField(required=False)
    kernel_version = serializers.CharField(required=False)
    parameters = serializers.DictField(required=False)
    seed = serializers.IntegerField(required=False)
    libraries = serializers.DictField(required=False, help_text="What computed it, by name and version.")
    asked_at = Stamp(required=False)
    asked_by = serializers.IntegerField(required=False, allow_null=True, help_text="A user's id.")
    finished_at = Stamp(required=False, allow_null=True)
    attempts = serializers.IntegerField(required=False)
    position = serializers.IntegerField(
        required=False, allow_null=True, help_text="In the queue, from 1; null for one that does not wait."
    )
    progress = serializers.IntegerField(required=False, help_text="Percent.")
    elapsed = seconds("since it began, or all that it took.")
    remaining = seconds("if it keeps its pace; null where nothing tells.")
    error = serializers.CharField(required=False, allow_null=True)
    rows = serializers.IntegerField(required=False)
    broken_invariants = serializers.DictField(
        required=False, help_text="How many rows break an invariant, by its label; empty where none does."
    )
    rerun_of = serializers.UUIDField(required=False, allow_null=True)

    class Meta:
        model = Calculation
        fields = (*ALWAYS, *OPTIONAL)


class CalculationFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=Status.choices, empty_label="Any")
    kernel = filters.ChoiceFilter(
        choices=[(name, kernel.label) for name, kernel in KERNELS.items()], empty_label="Any"
    )
    ordering = filters.ChoiceFilter(
        choices=[("started_at", "oldest first"), ("-started_at", "newest first")],
        method="ordered",
        help_text="Newest first if left out. One that has not begun stands where it was asked for.",
    )

    class Meta:
        model = Calculation
        fields = ()

    def ordered(self, found: CalculationQuerySet, _: str, ordering: str) -> CalculationQuerySet:
        return found.oldest() if ordering == "started_at" else found.newest()


class NumberedPages(PageNumberPagination):
    """A plain array a page; `Link` names the pages around it. A page that is not there is bad input."""

    page_size = 10
    query_parameters = ("page",)

    def get_page_number(self, request: Request, paginator: Any) -> int:
        text = request.query_params.get("page", "1")
        if not PAGE.fullmatch(text) or int(text) > paginator.num_pages:
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
        query["page"] = number
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")

    def get_paginated_response_schema(self, schema: dict) -> dict:
        return schema


class AnyFormat(DefaultContentNegotiation):
    """`format` is ours here, not REST framework's."""

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


CREATED = OpenApiExample("Created", {"id": ID}, response_only=True, status_codes=["201"])
ASKED = [
    *(
        OpenApiExample(
            kernel.label,
            {**({} if name == DEFAULT_KERNEL else {"kernel": name}), **kernel.example},
            request_only=True,
        )
        for name, kernel in KERNELS.items()
    ),
    CREATED,
]


class CalculationList(generics.ListCreateAPIView):
    serializer_class = ListedSerializer
    filterset_class = CalculationFilter
    pagination_class = NumberedPages
    query_parameters = ()

    def get_queryset(self) -> CalculationQuerySet:
        listed = Calculation.objects.visible_to(self.request.user).only(*ListedSerializer.Meta.fields)
        return listed.newest()

    @extend_schema(
        operation_id="calculation_list",
        examples=[OpenApiExample("Calculation", LISTED, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        """List calculations, ten a page.

        Admin and staff see all, an owner those that they asked for.
        """
        return self.list(request)

    @extend_schema(
        operation_id="calculation_create",
        request=PolymorphicProxySerializer(
            component_name="AskedCalculation",
            serializers=list(SERIALIZERS.values()),
            resource_type_field_name=None,
        ),
        responses={201: CreatedSerializer},
        examples=ASKED,
    )
    def post(self, request: Request) -> Response:
        """Ask for a calculation.

        It waits in a queue, and runs in the order asked for. Without `kernel` it is one of an oil well.
        """
        calculation = queue_calculation(calculation_from(request.data, request.user))
        return Response({"id": calculation.pk}, status=201)


class CalculationDetail(APIView):
    query_parameters = ("fields", "format")
    content_negotiation_class = AnyFormat
    conflicts = "A file of rows was asked for, and there are none."

    @extend_schema(
        operation_id="calculation_read",
        responses=DetailSerializer,
        parameters=[
            OpenApiParameter(
                "fields", str, description=f"More of it, with commas between: {', '.join(OPTIONAL)}."
            ),
            OpenApiParameter(
                "format", str, enum=["json", "csv"], description="The rows alone as a CSV file."
            ),
        ],
        examples=[
            OpenApiExample(
                "Finished",
                {name: LISTED[name] for name in ("id", "started_at", "status")} | {"result": [ROW]},
            )
        ],
    )
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """One calculation, with its rows once it is finished.

        `fields` asks for more, `format=csv` for a file of the rows, which is 409 before there are any.
        """
        fields, is_csv = asked_fields(request), wants_csv(request)
        calculation = visible(request, pk)
        if is_csv:
            return csv_file(calculation)
        now = timezone.now()
        body = {"id": str(calculation.pk), "started_at": stamp(calculation.started_at)}
        body |= {"status": calculation.status, "result": None}
        body |= {name: OPTIONAL[name](calculation, now) for name in fields}
        return with_rows(calculation, body) if calculation.status == Status.FINISHED else Response(body)


def asked_fields(request: Request) -> list[str]:
    names = [name for name in request.query_params.get("fields", "").split(",") if name]
    unknown = [name for name in names if name not in OPTIONAL and name not in ALWAYS]
    if unknown:
        known = ", ".join(OPTIONAL)
        raise ValidationError(
            {"fields": [f"Unknown field {name!r}; there are: {known}." for name in unknown]}
        )
    return [name for name in names if name in OPTIONAL]


def wants_csv(request: Request) -> bool:
    name = request.query_params.get("format", "json")
    if name not in ("json", "csv"):
        raise ValidationError({"format": "Must be json or csv."})
    return name == "csv"


def visible(request: Request, pk: UUID) -> Calculation:
    return get_object_or_404(Calculation.objects.visible_to(request.user), pk=pk)


def with_rows(calculation: Calculation, body: dict[str, Any]) -> HttpResponseBase:
    """The body with the stored rows in place of its result; those of a large one are streamed."""
    head, _, tail = stored_rows.encode(body).decode().partition('"result":null')

    def parts() -> Any:
        yield f'{head}"result":['
        for number, payload in enumerate(stored_rows.payloads(calculation)):
            yield f",{payload}" if number else payload
        yield f"]{tail}"

    if calculation.row_count <= stored_rows.BLOCK_ROWS:
        return HttpResponse("".join(parts()), content_type="application/json")
    return StreamingHttpResponse(parts(), content_type="application/json")


def csv_file(calculation: Calculation) -> HttpResponseBase:
    if calculation.status != Status.FINISHED or calculation.kernel not in KERNELS:
        raise Conflict(f"It is {calculation.status}: there are no rows.")
    names = [column.name for column in KERNELS[calculation.kernel].columns]
    lines = csv_rows.lines(names, stored_rows.all_rows(calculation))
    headers = {"Content-Disposition": f'attachment; filename="{calculation.kernel}-{calculation.pk}.csv"'}
    options = {"content_type": "text/csv; charset=utf-8", "headers": headers}
    if calculation.row_count <= stored_rows.BLOCK_ROWS:
        return HttpResponse("".join(lines), **options)
    return StreamingHttpResponse(lines, **options)


class StateSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    status = serializers.CharField()


class CalculationCancel(APIView):
    query_parameters = ()
    conflicts = "It is over."

    @extend_schema(
        operation_id="calculation_cancel",
        request=None,
        responses={202: StateSerializer},
        examples=[
            OpenApiExample(
                "Cancelled", {"id": ID, "status": "cancelled"}, response_only=True, status_codes=["202"]
            )
        ],
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel a calculation.

        A queued one ends at once, the work on a running one within two seconds. One that is over is 409.
        """
        calculation = visible(request, pk)
        if not runs.cancel(calculation):
            calculation.refresh_from_db(fields=["status"])
            if calculation.status != Status.CANCELLED:
                raise Conflict(f"It is {calculation.status} already.")
        return Response({"id": calculation.pk, "status": Status.CANCELLED}, status=202)


class CalculationRerun(APIView):
    query_parameters = ()
    conflicts = "Its kernel is no more."

    @extend_schema(
        operation_id="calculation_rerun", request=None, responses={201: CreatedSerializer}, examples=[CREATED]
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Run a calculation again.

        A new one with the same kernel, parameters and seed, and so with the same table.
        """
        calculation = queue_calculation(repeated_calculation(visible(request, pk), request.user))
        return Response({"id": calculation.pk}, status=201)
