"""The API of calculations: list, request, read, cancel, repeat."""

from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import runs
from analytics.calculations.listing import CalculationFilter, NumberedPages
from analytics.calculations.representation import (
    ALWAYS,
    OPTIONAL,
    CreatedSerializer,
    DetailSerializer,
    ListedSerializer,
    StateSerializer,
    csv_response,
    detail_response,
)
from analytics.calculations.request import (
    KernelGone,
    calculation_from,
    queue_calculation,
    repeated_calculation,
)
from analytics.calculations.serializers import DEFAULT_KERNEL, SERIALIZERS
from analytics.kernels import KERNELS
from analytics.models import Calculation, CalculationQuerySet, Status
from analytics.turns import RESULTS_TOO_LARGE, TOO_MANY_RUNS
from devices.api import DONE_EXAMPLE
from users.api_errors import Conflict

ID = "3c5a0f9e-7f6e-4f0a-8f43-2a2f0a3c9b11"
LISTED = {"id": ID, "name": "Well 7", "started_at": "2026-11-21T09:30:00Z", "status": "finished"}
ROW = {"date": "2026-01-01", "liquid": 41.25, "oil": 36.5, "water": 4.75, "wct": 0.1151515151515151}
ANY_FIELD = f"({'|'.join((*OPTIONAL, *ALWAYS))})?"
FIELDS = f"^{ANY_FIELD}(,{ANY_FIELD})*$"
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
    conflicts = {"POST": RESULTS_TOO_LARGE}
    too_many = {"POST": TOO_MANY_RUNS}

    def get_queryset(self) -> CalculationQuerySet:
        listed = Calculation.objects.visible_to(self.request.user).only(*ListedSerializer.Meta.fields)
        return listed.newest()

    @extend_schema(
        operation_id="calculation_list",
        examples=[OpenApiExample("Calculation", LISTED, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        """List calculations, ten a page.

        Admin and staff see all, an owner those that they requested.
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
        """Request a calculation.

        Calculations wait in a queue. People take turns, and the runs of each go in the order of their
        requests. The default of `kernel` is the oil well.
        """
        calculation = queue_calculation(calculation_from(request.data, request.user))
        return Response({"id": calculation.pk}, status=201)


class AnyFormat(DefaultContentNegotiation):
    """Leaves the parameter `format` to the view; REST framework would take it for its own."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class CalculationDetail(APIView):
    query_parameters = ("fields", "format")
    delete_parameters = ()
    content_negotiation_class = AnyFormat
    conflicts = {
        "GET": "A CSV file was requested, and there are no rows.",
        "DELETE": "It is not over: cancel it first.",
    }

    @extend_schema(
        operation_id="calculation_read",
        responses={(200, "application/json"): DetailSerializer, (200, "text/csv"): OpenApiTypes.STR},
        parameters=[
            OpenApiParameter(
                "fields",
                {"type": "string", "pattern": FIELDS},
                description=f"Further fields, separated by commas: {', '.join(OPTIONAL)}.",
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
        """Read one calculation, with its rows once it is finished.

        `fields` adds further fields. `format=csv` answers with a file of the rows, and with 409 before there
        are any.
        """
        fields, is_csv = optional_fields(request), wants_csv(request)
        calculation = visible_calculation(request, pk)
        if not is_csv:
            return detail_response(calculation, fields, timezone.now())
        if calculation.status != Status.FINISHED:
            raise Conflict(f"It is {calculation.status}: there are no rows.")
        return csv_response(calculation)

    @extend_schema(operation_id="calculation_delete", responses={204: None}, examples=DONE_EXAMPLE)
    def delete(self, request: Request, pk: UUID) -> Response:
        """Delete a calculation that is over, with its rows.

        One that is not over is 409: cancel it first. Runs that repeat it stay.
        """
        calculation = visible_calculation(request, pk)
        if not runs.discard(Calculation.objects.filter(pk=pk)):
            calculation = visible_calculation(request, pk)
            raise Conflict(f"It is {calculation.status}: cancel it first.")
        return Response(status=204)


def visible_calculation(request: Request, pk: UUID) -> Calculation:
    return get_object_or_404(Calculation.objects.visible_to(request.user), pk=pk)


def optional_fields(request: Request) -> list[str]:
    names = [name for name in request.query_params.get("fields", "").split(",") if name]
    unknown = [name for name in names if name not in OPTIONAL and name not in ALWAYS]
    if unknown:
        known = ", ".join(OPTIONAL)
        raise ValidationError(
            {"fields": [f"Unknown field {name!r}; the fields are: {known}." for name in unknown]}
        )
    return [name for name in names if name in OPTIONAL]


def wants_csv(request: Request) -> bool:
    name = request.query_params.get("format", "json")
    if name not in ("json", "csv"):
        raise ValidationError({"format": "Must be json or csv."})
    return name == "csv"


class CalculationCancel(APIView):
    query_parameters = ()
    conflicts = {"POST": "It is over."}

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

        A queued one ends at once, a running one within two seconds. One that is over is 409.
        """
        calculation = visible_calculation(request, pk)
        if not runs.cancel(calculation):
            calculation.refresh_from_db(fields=["status"])
            if calculation.status != Status.CANCELLED:
                raise Conflict(f"It is {calculation.status} already.")
        return Response({"id": calculation.pk, "status": Status.CANCELLED}, status=202)


class CalculationRerun(APIView):
    query_parameters = ()
    conflicts = {"POST": f"Its kernel no longer exists. {RESULTS_TOO_LARGE}"}
    too_many = {"POST": TOO_MANY_RUNS}

    @extend_schema(
        operation_id="calculation_rerun", request=None, responses={201: CreatedSerializer}, examples=[CREATED]
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Run a calculation again.

        Queues a new one with the same kernel, parameters and seed, which gives the same table.
        """
        try:
            copy = repeated_calculation(visible_calculation(request, pk), request.user)
        except KernelGone as error:
            raise Conflict(str(error)) from error
        calculation = queue_calculation(copy)
        return Response({"id": calculation.pk}, status=201)
