import math
from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from devices import exclusions
from devices.exclusions import Extent, NoSuchReading
from devices.models import Device, Exclusion
from devices.serializers import EXAMPLE_DEVICE, reading_body, stamp_text
from devices.storage.interface import StoredReading
from devices.timeline.periods import BadStamp, parse_stamp
from users.serializers import StrictFields, Text, component


class ZonedStamp(Text):
    """An ISO 8601 timestamp; without an offset it is read in the time zone of the context's `device`."""

    def to_internal_value(self, data: Any) -> Any:  # a datetime, where Text has a str
        return zoned_stamp(super().to_internal_value(data), self.context["device"])

    def to_representation(self, value: Any) -> str:
        return stamp_text(value)


class ExclusionSchema(OpenApiSerializerExtension):
    """Answers have the `reading` of their `to_representation`."""

    target_class = "devices.exclusions.serializers.ExclusionSerializer"

    def map_serializer(self, auto_schema: Any, direction: str) -> dict:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        if direction == "response":
            schema["properties"]["reading"] = {"anyOf": [component("Reading"), {"type": "null"}]}
            schema["required"] = sorted([*schema["required"], "reading"])
        return schema


def zoned_stamp(data: Any, device: Device) -> datetime:
    if not isinstance(data, str):
        raise serializers.ValidationError("Must be a string.")
    try:
        return parse_stamp(data, device.zone)[0]
    except BadStamp as error:
        raise serializers.ValidationError(str(error)) from error


@extend_schema_field(component("StampedReading"))
class ReadingField(serializers.Field):
    """A stored reading of the context's `device`: `timestamp` and a number for each channel."""

    def to_internal_value(self, data: Any) -> Extent:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object.")
        device = self.context["device"]
        names = [channel.name for channel in device.channels]
        errors: dict[str, Any] = dict.fromkeys(sorted(set(data) - {"timestamp", *names}), "Unknown field.")
        errors |= {name: "Must be a finite number." for name in names if not is_finite(data.get(name))}
        try:
            time = zoned_stamp(data.get("timestamp"), device)
        except serializers.ValidationError as error:
            errors["timestamp"] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        try:
            return exclusions.of_reading(device, time, [float(data[name]) for name in names])
        except NoSuchReading as error:
            raise serializers.ValidationError(str(error)) from error


def is_finite(data: Any) -> bool:
    """Return True for a number that a double can hold."""
    try:
        return isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)
    except OverflowError:
        return False


EXAMPLE_EXCLUSION = {
    "id": 12,
    "device_id": EXAMPLE_DEVICE["id"],
    "start": "2026-11-20T08:00:00Z",
    "end": "2026-11-20T09:30:00Z",
    "reading": None,
    "reason": "Sensor was being cleaned",
    "active": True,
    "made_by": "ada",
    "made_at": "2026-11-21T09:30:00Z",
    "lifted_by": None,
    "lifted_at": None,
}


PERIOD_EXAMPLE = {name: EXAMPLE_EXCLUSION[name] for name in ("start", "end", "reason")}
READING_EXAMPLE = {
    "reading": {"timestamp": "2026-11-20T08:00:00Z", "x": 1.0, "y": 2.0, "z": 3e9},
    "reason": "Spike",
}


@extend_schema_serializer(
    examples=[OpenApiExample("Exclusion", EXAMPLE_EXCLUSION, response_only=True, status_codes=["200", "201"])]
)
class ExclusionSerializer(StrictFields, serializers.ModelSerializer):
    """Readings that statistics leave out: those of a period, or those that equal `reading`."""

    # Needs the context's `device`.
    device_id = serializers.SerializerMethodField()
    start = ZonedStamp(source="start_time", required=False)
    end = ZonedStamp(source="end_time", required=False)
    reading = ReadingField(required=False, allow_null=True, write_only=True)
    reason = Text(max_length=500)
    active = serializers.BooleanField(source="is_in_force", read_only=True)
    lifted_by = serializers.SerializerMethodField()

    class Meta:
        model = Exclusion
        fields = tuple(EXAMPLE_EXCLUSION)
        read_only_fields = ("made_by", "made_at", "lifted_at")

    def get_device_id(self, exclusion: Exclusion) -> UUID:
        return self.context["device"].uuid

    def get_lifted_by(self, exclusion: Exclusion) -> str | None:
        return exclusion.lifted_by or None

    def to_representation(self, exclusion: Exclusion) -> dict[str, Any]:
        body = super().to_representation(exclusion)
        values = exclusion.values
        reading = values and StoredReading(exclusion.device_id, exclusion.start_time, values, "")
        return body | {"reading": reading and reading_body(reading, self.context["device"])}

    def validate(self, fields: dict) -> dict:
        bounds: list[Any] = [fields.get(name) for name in ("start_time", "end_time")]
        if fields.get("reading"):
            if any(bounds):
                raise serializers.ValidationError({"reading": "Give a reading or a period, not both."})
            return fields
        missing = [name for name, bound in zip(("start", "end"), bounds, strict=True) if bound is None]
        if missing:
            raise serializers.ValidationError(dict.fromkeys(missing, "This field is required."))
        if bounds[0] >= bounds[1]:
            raise serializers.ValidationError({"start": "Must be before end."})
        return fields | {"reading": Extent(*bounds)}

    @property
    def extent(self) -> Extent:
        return self.validated_data["reading"]
