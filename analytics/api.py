from collections.abc import Mapping
from datetime import tzinfo
from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.asking import ask_for_analysis
from analytics.models import Analysis, Status
from devices.api import visible_device
from devices.models import Device
from devices.periods import BadPeriod, Period, parse_period
from users.models import Scope, User

CELERY_STATUS = {
    Status.QUEUED: "PENDING",
    Status.RUNNING: "STARTED",
    Status.FINISHED: "SUCCESS",
    Status.FAILED: "FAILURE",
    Status.CANCELLED: "REVOKED",
}
TASK = {"task_id": "5f1a0f9e-7f6e-4f0a-8f43-2a2f0a3c9b11", "status": "PENDING", "result": None, "error": None}
SUMMARY = {"count": 4, "min": 1.0, "max": 4.0, "sum": 10.0, "avg": 2.5, "median": 2.5}
RESULT = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-21T09:30:00Z", "x": SUMMARY}


class TaskSerializer(serializers.Serializer):
    """What the outside knows of a run."""

    task_id = serializers.UUIDField(source="pk")
    status = serializers.SerializerMethodField()
    progress = serializers.IntegerField(help_text="Percent.")
    result = serializers.JSONField(allow_null=True)
    error = serializers.SerializerMethodField()

    def get_status(self, run: Analysis) -> str:
        return CELERY_STATUS[run.status]

    def get_error(self, run: Analysis) -> str | None:
        return run.error or None


class PeriodSerializer(serializers.Serializer):
    start = serializers.DateTimeField(required=False, allow_null=True)
    end = serializers.DateTimeField(required=False, allow_null=True)


ASK = {
    "request": PeriodSerializer,
    "responses": {202: TaskSerializer},
    "parameters": [
        OpenApiParameter("start", OpenApiTypes.DATETIME, description="From the first reading if left out."),
        OpenApiParameter("end", OpenApiTypes.DATETIME, description="Up to now if left out; half open."),
    ],
    "examples": [
        OpenApiExample("Period", {"start": "2026-11-01T00:00:00Z"}, request_only=True),
        OpenApiExample("Queued", TASK | {"progress": 0}, response_only=True, status_codes=["202"]),
    ],
}


class AskView(APIView):
    """GET and POST ask alike: the period stands in the query, or in the body of a POST."""

    query_parameters = ("start", "end")
    # Asking changes nothing that its asker could not read.
    scope = Scope.READ

    def ask(self, request: Request, target: Device | User, zone: tzinfo) -> Response:
        asked = request.query_params.dict() | body_period(request)
        analysis = ask_for_analysis(
            target, asked_period(asked, zone), asked_by=request.user, now=timezone.now()
        )
        return Response(TaskSerializer(analysis).data, status=202)


class DeviceAnalysis(AskView):
    @extend_schema(operation_id="device_analysis_ask", **{**ASK, "request": None})
    def get(self, request: Request, uuid: UUID) -> Response:
        """Ask for statistics of a device.

        Of each channel min, max, count, sum, median and avg, all exact. Asking again for the same period of
        unchanged data gives the same task. Naive bounds are read in the device's time zone.
        """
        device = visible_device(request, uuid)
        return self.ask(request, device, device.zone)

    @extend_schema(operation_id="device_analysis_post", **ASK)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Ask for statistics of a device, the period in the body."""
        return self.get(request, uuid)


class UserAnalysis(AskView):
    @extend_schema(operation_id="user_analysis_ask", **{**ASK, "request": None})
    def get(self, request: Request, pk: int) -> Response:
        """Ask for statistics of all devices of a user.

        `aggregate` pools every reading of all devices, `devices` has each on its own.
        """
        user = get_object_or_404(User.objects.visible_to(request.user), pk=pk)
        return self.ask(request, user, timezone.get_default_timezone())

    @extend_schema(operation_id="user_analysis_post", **ASK)
    def post(self, request: Request, pk: int) -> Response:
        """Ask for statistics of all devices of a user, the period in the body."""
        return self.get(request, pk)


class TaskDetail(APIView):
    query_parameters = ()

    @extend_schema(
        operation_id="task_read",
        responses=TaskSerializer,
        examples=[OpenApiExample("Done", TASK | {"status": "SUCCESS", "progress": 100, "result": RESULT})],
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Status and result of a task."""
        run = get_object_or_404(Analysis.objects.visible_to(request.user).with_target(), pk=pk)
        return Response(TaskSerializer(run).data)


def body_period(request: Request) -> dict[str, Any]:
    """`start` and `end` from a JSON body, if there is one; other keys are refused."""
    body = request.data if request.method == "POST" else {}
    if not isinstance(body, dict):
        raise ValidationError("Must be an object.")
    unknown = sorted(set(body) - {"start", "end"})
    if unknown:
        raise ValidationError(dict.fromkeys(unknown, "Unknown field."))
    return {name: value for name, value in body.items() if value is not None}


def asked_period(asked: Mapping[str, Any], zone: tzinfo) -> Period:
    try:
        return parse_period(asked, zone)
    except BadPeriod as error:
        raise ValidationError({error.field: str(error)}) from error
