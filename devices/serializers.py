import math
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from devices import exclusions
from devices.exclusions import Extent, NoSuchReading
from devices.models import Channel, Device, DeviceKey, DeviceProfile, Exclusion, known_zone
from devices.storage.interface import StoredReading
from devices.timeline.periods import BadStamp, parse_stamp
from users.models import User
from users.serializers import Stamp, StrictFields, Text, TrueOrFalse, WholeNumber

EXAMPLE_DEVICE = {
    "id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10",
    "user_id": 7,
    "name": "Pump 3",
    "profile": "xyz",
    "external_id": None,
    "time_zone": "UTC",
    "active": True,
    "created_at": "2026-11-21T09:30:00Z",
    "channels": [
        {"name": name, "unit": "", "kind": "gauge", "minimum": None, "maximum": None} for name in "xyz"
    ],
    "last_reading": {"timestamp": "2026-11-21T09:31:00Z", "x": 1.0, "y": 2.0, "z": 3.0},
    "online": True,
}


class ChannelSerializer(serializers.ModelSerializer):
    class Meta:
        model = Channel
        fields = ("name", "unit", "kind", "minimum", "maximum")


class OwnerField(serializers.Field):
    """A user's id; one that the asker may not see is 404, as an unknown one is."""

    def to_internal_value(self, data: Any) -> User:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Must be a whole number.")
        user = User.objects.visible_to(self.context["request"].user).filter(pk=data).first()
        if user is None:
            raise Http404("There is no such user.")
        return user

    def to_representation(self, user: User) -> int:
        return user.pk


@extend_schema_serializer(
    examples=[
        OpenApiExample("New", {"user_id": 7, "name": "Pump 3", "profile": "xyz"}, request_only=True),
        OpenApiExample("Device", EXAMPLE_DEVICE, response_only=True, status_codes=["200"]),
        OpenApiExample(
            "Registered",
            EXAMPLE_DEVICE | {"last_reading": None, "online": False, "key": "pld_77c1e0ab.…"},
            response_only=True,
            status_codes=["201"],
        ),
    ]
)
class DeviceSerializer(StrictFields, serializers.ModelSerializer):
    """The context's `latest` maps a device's integer id to its last reading."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    user_id = extend_schema_field(OpenApiTypes.INT)(OwnerField)(source="owner")
    name = Text(max_length=200, required=False, allow_blank=True)
    profile = serializers.SlugRelatedField(
        slug_field="name", queryset=DeviceProfile.objects.all(), required=False
    )
    external_id = Text(max_length=255, required=False, allow_null=True)
    time_zone = Text(max_length=64, required=False, validators=[known_zone])
    active = TrueOrFalse(source="is_active", required=False)
    channels = ChannelSerializer(many=True, read_only=True)
    last_reading = serializers.SerializerMethodField()
    online = serializers.SerializerMethodField()

    class Meta:
        model = Device
        fields = (
            "id",
            "user_id",
            "name",
            "profile",
            "external_id",
            "time_zone",
            "active",
            "created_at",
            "channels",
            "last_reading",
            "online",
        )
        read_only_fields = ("created_at",)
        validators = ()

    def get_last_reading(self, device: Device) -> dict[str, Any] | None:
        reading = self.context["latest"].get(device.pk)
        return reading_body(reading, device) if reading else None

    def get_online(self, device: Device) -> bool:
        return is_online(self.context["latest"].get(device.pk))

    def validate(self, fields: dict) -> dict:
        device = self.instance
        owner = fields.get("owner", device and device.owner)
        external_id = fields.get("external_id", device and device.external_id)
        others = Device.objects.exclude(pk=device.pk) if device else Device.objects
        if external_id and others.filter(owner=owner, external_id=external_id).exists():
            raise serializers.ValidationError(
                {"external_id": "The owner has a device with this external id."}
            )
        if device and fields.get("profile", device.profile) != device.profile:
            raise serializers.ValidationError({"profile": "A device keeps its profile; register another."})
        return fields

    def create(self, fields: dict) -> Device:
        fields.setdefault("profile", DeviceProfile.objects.filter(name="xyz").first())
        return Device.objects.create(**fields)


@extend_schema_serializer(
    examples=[
        OpenApiExample("Rotate", {"overlap_seconds": 3600}, request_only=True),
        OpenApiExample(
            "Key",
            {
                "prefix": "pld_77c1e0ab",
                "created_at": "2026-11-21T09:30:00Z",
                "expires_at": None,
                "revoked_at": None,
                "last_used_at": None,
            },
            response_only=True,
        ),
    ]
)
class DeviceKeySerializer(StrictFields, serializers.ModelSerializer):
    overlap_seconds = WholeNumber(
        min_value=0,
        max_value=30 * 86400,
        default=86400,
        write_only=True,
        help_text="How long older keys stay valid.",
    )

    class Meta:
        model = DeviceKey
        fields = ("prefix", "created_at", "expires_at", "revoked_at", "last_used_at", "overlap_seconds")
        read_only_fields = ("prefix", "created_at", "expires_at", "revoked_at", "last_used_at")


class ZonedStamp(Text):
    """ISO 8601; one without an offset is read in the zone of the context's `device`."""

    def to_internal_value(self, data: Any) -> datetime:
        return zoned_stamp(super().to_internal_value(data), self.context["device"])

    def to_representation(self, time: datetime) -> str:
        return stamp_text(time)


def zoned_stamp(data: Any, device: Device) -> datetime:
    if not isinstance(data, str):
        raise serializers.ValidationError("Must be a string.")
    try:
        return parse_stamp(data, device.zone)[0]
    except BadStamp as error:
        raise serializers.ValidationError(str(error)) from error


@extend_schema_field(OpenApiTypes.OBJECT)
class ReadingField(serializers.Field):
    """One stored reading of the context's `device`: `timestamp` and a number for each channel."""

    def to_internal_value(self, data: Any) -> Extent:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object.")
        device = self.context["device"]
        names = [channel.name for channel in device.channels]
        errors = dict.fromkeys(sorted(set(data) - {"timestamp", *names}), "Unknown field.")
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
    """Whether it is a number that a double can hold."""
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


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Period",
            {name: EXAMPLE_EXCLUSION[name] for name in ("start", "end", "reason")},
            request_only=True,
        ),
        OpenApiExample(
            "Single reading",
            {
                "reading": {"timestamp": "2026-11-20T08:00:00Z", "x": 1.0, "y": 2.0, "z": 3e9},
                "reason": "Spike",
            },
            request_only=True,
        ),
        OpenApiExample("Exclusion", EXAMPLE_EXCLUSION, response_only=True, status_codes=["200", "201"]),
    ]
)
class ExclusionSerializer(StrictFields, serializers.ModelSerializer):
    """In: `start` and `end`, or `reading`. The context's `device` is the one that it is of."""

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
        bounds = [fields.get(name) for name in ("start_time", "end_time")]
        if fields.get("reading"):
            if any(bounds):
                raise serializers.ValidationError({"reading": "Name a reading or a period, not both."})
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


def reading_body(reading: StoredReading, device: Device) -> dict[str, Any]:
    """A reading as the outside sees it: its stamp and a number for each channel."""
    names = (channel.name for channel in device.channels)
    return {"timestamp": stamp_text(reading.time)} | dict(zip(names, reading.values, strict=True))


def stamp_text(time: datetime) -> str:
    return Stamp().to_representation(time)


def listed_reading(reading: StoredReading, device: Device) -> dict[str, UUID | Any]:
    return {"device_id": device.uuid} | reading_body(reading, device)


def is_online(reading: StoredReading | None) -> bool:
    if reading is None:
        return False
    return (timezone.now() - reading.time).total_seconds() < settings.DEVICE_ONLINE_SECONDS
