"""The API of analyses: request, read and cancel; and the series of a device's chart."""

from datetime import tzinfo
from typing import Any
from uuid import UUID

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import runs
from analytics.analyses.question import BUCKETS, MOST_PERCENTILES, OPTIONS, BadQuestion, parse_question
from analytics.analyses.request import TargetErased, request_analysis
from analytics.analyses.series import series_body
from analytics.analyses.staleness import is_stale
from analytics.models import Analysis, Status
from devices.authentication import visible_device
from devices.models import Device
from devices.timeline.periods import BadPeriod, parse_period
from users.api_errors import Conflict
from users.models import Scope, User
from users.permissions import signed_in

CELERY_STATUS: dict[str, str] = {
    Status.QUEUED: "PENDING",
    Status.RUNNING: "STARTED",
    Status.FINISHED: "SUCCESS",
    Status.FAILED: "FAILURE",
    Status.CANCELLED: "REVOKED",
}
TASK = {"task_id": "5f1a0f9e-7f6e-4f0a-8f43-2a2f0a3c9b11", "status": "PENDING", "result": None, "error": None}
SUMMARY = {"count": 4, "min": 1.0, "max": 4.0, "sum": 10.0, "avg": 2.5, "median": 2.5}
RESULT = {
    "device_id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10",
    "start": "2026-11-20T00:00:00Z",
    "end": "2026-11-21T00:00:00Z",
    "first": "2026-11-20T08:00:00Z",
    "last": "2026-11-20T08:04:00Z",
    "excluded": 1,
    "rows_read": 5,
    "segments_used": 0,
    "coverage": {
        "expected_seconds": 60.0,
        "percent": 0.28,
        "gaps": 2,
        "longest_gap": {
            "start": "2026-11-20T08:04:00Z",
            "end": "2026-11-21T00:00:00Z",
            "seconds": 57360.0,
        },
    },
    "x": SUMMARY | {"percentiles": {"5": 1.15, "95": 3.85}},
    "buckets": [
        {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z", "seconds": 86400.0, "x": SUMMARY}
    ],
}
SERIES = {
    "device_id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10",
    "start": "2026-11-20T00:00:00Z",
    "end": "2026-11-21T00:00:00Z",
    "points": 2,
    "starts": ["2026-11-20T00:00:00Z", "2026-11-20T12:00:00Z"],
    "ends": ["2026-11-20T11:59:00Z", "2026-11-20T23:59:00Z"],
    "count": [720, 719],
    "channels": {"x": {"min": [1.0, 0.5], "max": [4.0, 4.5], "mean": [2.5, 2.25]}},
}
POINTS = 1000
MOST_POINTS = 5000


class TaskSerializer(serializers.Serializer):
    """An analysis as the API answers it."""

    task_id = serializers.UUIDField(source="pk")
    status = serializers.SerializerMethodField()
    progress = serializers.IntegerField(help_text="Percent.")
    result = serializers.JSONField(allow_null=True)
    error = serializers.SerializerMethodField()
    stale = serializers.SerializerMethodField(
        help_text="Readings of the period were added, deleted or excluded since: request it again."
    )

    def get_status(self, run: Analysis) -> str:
        return CELERY_STATUS[run.status]

    def get_error(self, run: Analysis) -> str | None:
        return run.error or None

    def get_stale(self, run: Analysis) -> bool:
        return is_stale(run, timezone.now())


class QuestionSerializer(serializers.Serializer):
    """For the schema alone: `parse_question` reads the body."""

    start = serializers.DateTimeField(required=False, allow_null=True)
    end = serializers.DateTimeField(required=False, allow_null=True)
    percentiles = serializers.ListField(
        child=serializers.FloatField(min_value=0, max_value=100), max_length=MOST_PERCENTILES, required=False
    )
    bucket = serializers.ChoiceField(tuple(BUCKETS), required=False)
    time_zone = serializers.CharField(required=False)


ASK: dict[str, Any] = {
    "request": QuestionSerializer,
    "responses": {202: TaskSerializer},
    "parameters": [
        OpenApiParameter("start", OpenApiTypes.DATETIME, description="Default: the first reading."),
        OpenApiParameter("end", OpenApiTypes.DATETIME, description="Not included. Default: now."),
        OpenApiParameter(
            "percentiles", str, description="Up to 20 from 0 to 100, separated by commas: 5,25,99.9."
        ),
        OpenApiParameter(
            "bucket", str, enum=list(BUCKETS), description="Statistics for each bucket; up to 10,000 buckets."
        ),
        OpenApiParameter(
            "time_zone",
            str,
            description="IANA zone of the buckets. Default: the device's; for a user, the portal's.",
        ),
    ],
    "examples": [
        OpenApiExample("Period", {"start": "2026-11-01T00:00:00Z"}, request_only=True),
        OpenApiExample(
            "Days", {"percentiles": [5, 95], "bucket": "day", "time_zone": "Europe/Berlin"}, request_only=True
        ),
        OpenApiExample(
            "Queued", TASK | {"progress": 0, "stale": False}, response_only=True, status_codes=["202"]
        ),
    ],
}


class AskView(APIView):
    """GET and POST do the same; a POST may have the question in its body."""

    query_parameters = OPTIONS
    # A request changes nothing that its token could not read.
    scope = Scope.READ

    def ask(self, request: Request, target: Device | User, zone: tzinfo) -> Response:
        try:
            question = parse_question(request.query_params.dict() | body_question(request), zone)
            analysis = request_analysis(target, question, asked_by=signed_in(request), now=timezone.now())
        except (BadPeriod, BadQuestion) as error:
            raise ValidationError({error.field: str(error)}) from error
        except TargetErased as error:
            raise Http404 from error
        return Response(TaskSerializer(analysis).data, status=202)


class DeviceAnalysis(AskView):
    @extend_schema(operation_id="device_analysis_ask", **{**ASK, "request": None})
    def get(self, request: Request, uuid: UUID) -> Response:
        """Request statistics of a device.

        The result has exact min, max, count, sum, median and avg of each channel, and percentiles and buckets
        if requested. The same question about unchanged data gets the same task. Bounds without an offset are
        in the device's time zone.
        """
        device = visible_device(request, uuid)
        return self.ask(request, device, device.zone)

    @extend_schema(operation_id="device_analysis_post", **ASK)
    def post(self, request: Request, uuid: UUID) -> Response:
        """Request statistics of a device, with the question in the body."""
        return self.get(request, uuid)


class UserAnalysis(AskView):
    @extend_schema(operation_id="user_analysis_ask", **{**ASK, "request": None})
    def get(self, request: Request, pk: int) -> Response:
        """Request statistics of all devices of a user.

        `aggregate` and `buckets` pool all readings of all devices. `devices` has the statistics of each
        device, `details` its first and last reading, excluded readings and coverage.
        """
        user = get_object_or_404(User.objects.visible_to(request.user), pk=pk)
        return self.ask(request, user, timezone.get_default_timezone())

    @extend_schema(operation_id="user_analysis_post", **ASK)
    def post(self, request: Request, pk: int) -> Response:
        """Request statistics of all devices of a user, with the question in the body."""
        return self.get(request, pk)


class DeviceSeries(APIView):
    query_parameters = ("start", "end", "points")

    @extend_schema(
        operation_id="device_series",
        parameters=[
            OpenApiParameter("start", OpenApiTypes.DATETIME, description="Default: the first reading."),
            OpenApiParameter("end", OpenApiTypes.DATETIME, description="Not included. Default: now."),
            OpenApiParameter(
                "points",
                int,
                description=f"Number of columns of equal width, 1 to {MOST_POINTS}. Default: {POINTS}.",
            ),
        ],
        responses={200: OpenApiTypes.OBJECT},
        examples=[OpenApiExample("Series", SERIES)],
    )
    def get(self, request: Request, uuid: UUID) -> Response:
        """Read minimum, mean and maximum of a device's channels over time, for a chart.

        The period is divided into `points` columns. Only columns with readings are listed: `starts` and
        `ends` are the stamps of a column's first and last reading, `count` their number, and `channels` the
        figures, all in the same order. Excluded readings are left out.
        """
        device = visible_device(request, uuid)
        try:
            period = parse_period(request.query_params, device.zone)
        except BadPeriod as error:
            raise ValidationError({error.field: str(error)}) from error
        return Response(series_body(device, period, parse_points(request), timezone.now()))


class TaskDetail(APIView):
    query_parameters = ()

    @extend_schema(
        operation_id="task_read",
        responses=TaskSerializer,
        examples=[
            OpenApiExample(
                "Done", TASK | {"status": "SUCCESS", "progress": 100, "stale": False, "result": RESULT}
            )
        ],
    )
    def get(self, request: Request, pk: UUID) -> Response:
        """Read the status and the result of a task.

        `stale` becomes true when readings of its period are added late, deleted or excluded, and, for a
        period without an end, when new readings arrive. The result remains; the same question then gets a new
        task.
        """
        visible = Analysis.objects.visible_to(request.user).select_related("task_result")
        return Response(TaskSerializer(get_object_or_404(visible, pk=pk)).data)


class TaskCancel(APIView):
    query_parameters = ()
    conflicts = {"POST": "It is over."}

    @extend_schema(
        operation_id="task_cancel",
        request=None,
        responses={202: TaskSerializer},
        examples=[
            OpenApiExample(
                "Cancelled",
                TASK | {"status": "REVOKED", "progress": 0, "stale": False},
                response_only=True,
                status_codes=["202"],
            )
        ],
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel a task.

        A queued one ends at once, a running one within two seconds. One that is over is 409. The same
        question gets a new task afterwards.
        """
        visible = Analysis.objects.visible_to(request.user).select_related("task_result")
        run = get_object_or_404(visible, pk=pk)
        is_cancelled = runs.cancel(run)
        run.refresh_from_db(fields=["status"])
        if not is_cancelled and run.status != Status.CANCELLED:
            raise Conflict(f"It is {CELERY_STATUS[run.status]} already.")
        return Response(TaskSerializer(run).data, status=202)


def parse_points(request: Request) -> int:
    text = request.query_params.get("points", str(POINTS))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MOST_POINTS):
        raise ValidationError({"points": f"Must be a whole number from 1 to {MOST_POINTS}."})
    return int(text)


def body_question(request: Request) -> dict[str, Any]:
    """The question in a JSON body, if there is one. Raises ValidationError for unknown keys."""
    body = request.data if request.method == "POST" else {}
    if not isinstance(body, dict):
        raise ValidationError("Must be an object.")
    unknown = sorted(set(body) - set(OPTIONS))
    if unknown:
        raise ValidationError(dict.fromkeys(unknown, "Unknown field."))
    return {name: value for name, value in body.items() if value is not None}
