"""The API of analyses: request them; and read the series of a device's chart."""

from datetime import tzinfo
from typing import Any
from uuid import UUID

from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_celery_results.models import TaskResult
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.analyses.answer import task_answer
from analytics.analyses.question import BUCKETS, MOST_PERCENTILES, OPTIONS, BadQuestion, parse_question
from analytics.analyses.request import TargetErased, request_analysis
from analytics.analyses.serializers import TASK, TaskSerializer
from analytics.analyses.series import series_body
from analytics.turns import RESULTS_TOO_LARGE, TOO_MANY_RUNS
from devices.authentication import visible_device
from devices.models import Device
from devices.timeline.periods import BadPeriod, parse_period
from users.authentication import refuse_links
from users.models import Scope, User
from users.permissions import only_reads, signed_in
from users.serializers import component

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
# Of a device with many channels, all of them together: each point has three figures of each channel.
MOST_POINTS_OF_CHANNELS = 50 * MOST_POINTS


PERCENT = r" *(100(\.0{1,10})?|0?[0-9]{1,2}(\.[0-9]{1,10})?) *"
PERCENTILES = {
    "type": "string",
    "pattern": f"^{PERCENT}(,{PERCENT}){{0,{MOST_PERCENTILES - 1}}}$",
}
LISTED_PERCENTILES = {
    "type": ["array", "null"],
    "items": {"type": "number", "format": "double", "minimum": 0, "maximum": 100},
    "maxItems": MOST_PERCENTILES,
}


@extend_schema_field({"anyOf": [LISTED_PERCENTILES, PERCENTILES]})
class PercentilesField(serializers.Field):
    pass


class QuestionSerializer(serializers.Serializer):
    """For the schema alone: `parse_question` reads the body."""

    start = serializers.DateTimeField(required=False, allow_null=True)
    end = serializers.DateTimeField(required=False, allow_null=True, help_text="After `start`, not included.")
    percentiles = PercentilesField(
        required=False, allow_null=True, help_text="With at most ten digits after the point."
    )
    bucket = serializers.ChoiceField(tuple(BUCKETS), required=False, allow_null=True)
    time_zone = serializers.CharField(
        required=False, allow_null=True, help_text="IANA zone of the buckets, only with `bucket`."
    )


ASK: dict[str, Any] = {
    "request": QuestionSerializer,
    "responses": {202: TaskSerializer},
    "parameters": [
        OpenApiParameter("start", OpenApiTypes.DATETIME, description="Default: the first reading."),
        OpenApiParameter(
            "end", OpenApiTypes.DATETIME, description="After `start`, not included. Default: now."
        ),
        OpenApiParameter(
            "percentiles",
            PERCENTILES,
            description=f"Up to {MOST_PERCENTILES} from 0 to 100, separated by commas: 5,25,99.9.",
        ),
        OpenApiParameter(
            "bucket", str, enum=list(BUCKETS), description="Statistics for each bucket; up to 10,000 buckets."
        ),
        OpenApiParameter(
            "time_zone",
            str,
            description="IANA zone of the buckets, only with `bucket`. Default: the device's; for a user, "
            "the portal's.",
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
    conflicts = dict.fromkeys(("GET", "POST"), RESULTS_TOO_LARGE)
    too_many = dict.fromkeys(("GET", "POST"), TOO_MANY_RUNS)
    # A request changes nothing that its token could not read, and is bounded for itself: `only_reads`.
    scope = Scope.READ

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_links(request)

    def ask(self, request: Request, target: Device | User, zone: tzinfo) -> HttpResponseBase:
        try:
            question = parse_question(request.query_params.dict() | body_question(request), zone)
            analysis = request_analysis(
                target,
                question,
                asked_by=signed_in(request),
                now=timezone.now(),
                only_reads=only_reads(request),
            )
            return task_answer(analysis, 202)
        except (BadPeriod, BadQuestion) as error:
            raise ValidationError({error.field: str(error)}) from error
        except (TargetErased, TaskResult.DoesNotExist) as error:
            raise Http404 from error


class DeviceAnalysis(AskView):
    @extend_schema(operation_id="device_analysis_ask", **{**ASK, "request": None})
    def get(self, request: Request, uuid: UUID) -> HttpResponseBase:
        """Request statistics of a device.

        The result has exact min, max, count, sum, median and avg of each channel, and percentiles and buckets
        if requested. The same question about unchanged data gets the same task. Bounds without an offset are
        in the device's time zone.
        """
        device = visible_device(request, uuid)
        return self.ask(request, device, device.zone)

    @extend_schema(operation_id="device_analysis_post", **ASK)
    def post(self, request: Request, uuid: UUID) -> HttpResponseBase:
        """Request statistics of a device, with the question in the body."""
        return self.get(request, uuid)


class UserAnalysis(AskView):
    @extend_schema(operation_id="user_analysis_ask", **{**ASK, "request": None})
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """Request statistics of all devices of a user.

        `aggregate` and `buckets` pool all readings of all devices. `devices` has the statistics of each
        device, `details` its first and last reading, excluded readings and coverage.
        """
        user = get_object_or_404(User.objects.visible_to(request.user), pk=pk)
        return self.ask(request, user, timezone.get_default_timezone())

    @extend_schema(operation_id="user_analysis_post", **ASK)
    def post(self, request: Request, pk: int) -> HttpResponseBase:
        """Request statistics of all devices of a user, with the question in the body."""
        return self.get(request, pk)


class DeviceSeries(APIView):
    query_parameters = ("start", "end", "points")

    @extend_schema(
        operation_id="device_series",
        parameters=[
            OpenApiParameter("start", OpenApiTypes.DATETIME, description="Default: the first reading."),
            OpenApiParameter(
                "end", OpenApiTypes.DATETIME, description="After `start`, not included. Default: now."
            ),
            OpenApiParameter(
                "points",
                {"type": "integer", "minimum": 1, "maximum": MOST_POINTS},
                description=f"Number of columns of equal width. Default: {POINTS}. Of a device with more "
                "than 50 channels they may be fewer; `points` of the answer says how many.",
            ),
        ],
        responses={200: component("Series")},
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
        points = min(parse_points(request), MOST_POINTS_OF_CHANNELS // max(1, len(device.channels)))
        return Response(series_body(device, period, points, timezone.now()))


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
