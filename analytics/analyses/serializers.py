from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from analytics.analyses.filters import CELERY_STATUS, STATUS_OF_WORD
from analytics.analyses.staleness import is_stale
from analytics.models import Analysis
from users.serializers import Stamp, StrictFields, component

TASK = {
    "task_id": "5f1a0f9e-7f6e-4f0a-8f43-2a2f0a3c9b11",
    "status": "PENDING",
    "result": None,
    "error": None,
    "expires_at": None,
}
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
LISTED = {
    "task_id": TASK["task_id"],
    "status": "SUCCESS",
    "progress": 100,
    "error": None,
    "device_id": RESULT["device_id"],
    "user_id": None,
    "start": "2026-11-20T00:00:00Z",
    "end": "2026-11-21T00:00:00Z",
    "percentiles": "5,95",
    "bucket": "day",
    "time_zone": "Europe/Berlin",
    "asked_at": "2026-11-21T09:30:00Z",
    "started_at": "2026-11-21T09:30:01Z",
    "finished_at": "2026-11-21T09:30:02Z",
    "expires_at": None,
}


class TaskStateSerializer(serializers.Serializer):
    """An analysis without its result."""

    task_id = serializers.UUIDField(source="pk")
    status = serializers.SerializerMethodField()
    progress = serializers.IntegerField(help_text="Percent.")
    error = serializers.SerializerMethodField()
    expires_at = Stamp(
        allow_null=True, help_text="When it will be deleted, see RESULT_DAYS; null if never or not over."
    )
    stale = serializers.SerializerMethodField(
        help_text="Readings of the period were added, deleted or excluded since: request it again."
    )

    @extend_schema_field({"type": "string", "enum": list(STATUS_OF_WORD)})
    def get_status(self, run: Analysis) -> str:
        return CELERY_STATUS[run.status]

    def get_error(self, run: Analysis) -> str | None:
        return run.error or None

    def get_stale(self, run: Analysis) -> bool:
        return is_stale(run, timezone.now())


class TaskSerializer(TaskStateSerializer):
    """An analysis as the API answers it; if its result may be large, `answer` does so instead."""

    result = serializers.SerializerMethodField()

    @extend_schema_field(
        {
            "anyOf": [component("DeviceResult"), component("UserResult"), {"type": "null"}],
            "description": "Null until the status is SUCCESS.",
        }
    )
    def get_result(self, run: Analysis) -> dict[str, Any] | None:
        return run.result


@extend_schema_serializer(examples=[OpenApiExample("Task", LISTED, response_only=True)])
class ListedTaskSerializer(StrictFields, serializers.ModelSerializer):
    """An analysis in a list: its question and its state, without its result, which may be large."""

    task_id = serializers.UUIDField(source="pk")
    status = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    device_id = serializers.SerializerMethodField(help_text="Null for an analysis of all devices of a user.")
    user_id = serializers.IntegerField(allow_null=True)
    expires_at = Stamp(allow_null=True)

    class Meta:
        model = Analysis
        fields = tuple(LISTED)

    @extend_schema_field({"type": "string", "enum": list(STATUS_OF_WORD)})
    def get_status(self, run: Analysis) -> str:
        return CELERY_STATUS[run.status]

    def get_error(self, run: Analysis) -> str | None:
        return run.error or None

    def get_device_id(self, run: Analysis) -> UUID | None:
        return run.device.uuid if run.device else None
