from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from devices import limits
from devices.models import (
    Channel,
    Device,
    DeviceKey,
    DeviceProfile,
    without_controls,
)
from devices.models.profiles import LONGEST_INTERVAL_SECONDS, SHORTEST_INTERVAL_SECONDS
from devices.rhythm.habits import state_of
from devices.rhythm.state import State
from devices.storage.interface import StoredReading
from users.models import User
from users.serializers import Number, Stamp, StrictFields, Text, TrueOrFalse, WholeNumber, component
from users.zones import known_zone

EXAMPLE_DEVICE = {
    "id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10",
    "user_id": 7,
    "name": "Pump 3",
    "profile": "xyz",
    "external_id": None,
    "time_zone": "UTC",
    "expected_interval_seconds": None,
    "active": True,
    "created_at": "2026-11-21T09:30:00Z",
    "channels": [
        {"name": name, "unit": "", "kind": "gauge", "minimum": None, "maximum": None, "decimals": None}
        for name in "xyz"
    ],
    "last_reading": {"timestamp": "2026-11-21T09:31:00Z", "x": 1.0, "y": 2.0, "z": 3.0},
    "online": True,
    "state": "on_time",
}


# As `devices.timeline.periods` reads it, but for days that a month lacks and instants beyond the year 9999.
STAMP_TEXT = {
    "type": "string",
    "pattern": "^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,9})?)?"
    "([Zz]|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?$",
}


# Of one line: `without_controls` refuses these categories of characters.
LINE_PATTERN = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029]+$"


@extend_schema_field({"type": "string", "maxLength": 200, "pattern": LINE_PATTERN})
class DeviceName(Text):
    """A name in one line."""


class ChannelSerializer(serializers.ModelSerializer):
    """One value of a reading."""

    class Meta:
        model = Channel
        fields = ("name", "unit", "kind", "minimum", "maximum", "decimals")


@extend_schema_field({"type": "integer", "minimum": 0})
class OwnerField(serializers.Field):
    """A user's id. Raises Http404 for a user whom the requester may not see, as for an unknown one."""

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
            EXAMPLE_DEVICE | {"last_reading": None, "online": False, "state": "new", "key": "pld_77c1e0ab.…"},
            response_only=True,
            status_codes=["201"],
        ),
    ]
)
class DeviceSerializer(StrictFields, serializers.ModelSerializer):
    """A sender of readings, with its channels and its last reading."""

    # Needs the context's `latest` and `habits`, which map a device's integer id to its last reading and to
    # what `devices.rhythm.habits` knows of it.
    id = serializers.UUIDField(source="uuid", read_only=True)
    user_id = OwnerField(source="owner", help_text="The owner; 404 for one whom you may not see.")
    name = DeviceName(max_length=200, required=False, allow_blank=True, validators=[without_controls])
    profile = serializers.SlugRelatedField(
        slug_field="name", queryset=DeviceProfile.objects.all(), required=False
    )
    external_id = Text(max_length=255, required=False, allow_null=True)
    time_zone = Text(max_length=64, required=False, validators=[known_zone])
    expected_interval_seconds = Number(
        min_value=SHORTEST_INTERVAL_SECONDS,
        max_value=LONGEST_INTERVAL_SECONDS,
        allow_null=True,
        required=False,
        help_text="Interval of readings, for `state` and coverage. "
        "Null: the profile's, else the median interval.",
    )
    active = TrueOrFalse(source="is_active", required=False)
    revoke_keys = TrueOrFalse(
        write_only=True,
        required=False,
        help_text="In a change: end all keys of the device, which a former owner may still have.",
    )
    channels = ChannelSerializer(many=True, read_only=True)
    last_reading = serializers.SerializerMethodField()
    online = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField(
        help_text="By the device's own interval: `new` without readings, `late` once the next reading is "
        "overdue, `silent` after several; `disabled` if it is not active."
    )

    class Meta:
        model = Device
        fields: tuple[str, ...] = (
            "id",
            "user_id",
            "name",
            "profile",
            "external_id",
            "time_zone",
            "expected_interval_seconds",
            "active",
            "revoke_keys",
            "created_at",
            "channels",
            "last_reading",
            "online",
            "state",
        )
        read_only_fields = ("created_at",)
        validators = ()

    @extend_schema_field({"anyOf": [component("Reading"), {"type": "null"}]})
    def get_last_reading(self, device: Device) -> dict[str, Any] | None:
        reading = self.context["latest"].get(device.pk)
        return reading_body(reading, device) if reading else None

    def get_online(self, device: Device) -> bool:
        return is_online(self.context["latest"].get(device.pk))

    @extend_schema_field(serializers.ChoiceField(list(State)))
    def get_state(self, device: Device) -> str:
        now = timezone.now()
        return state_of(device, self.context["latest"].get(device.pk), self.context["habits"], now)

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
            raise serializers.ValidationError(
                {"profile": "A device's profile can't change; register a new device."}
            )
        return fields

    def create(self, fields: dict) -> Device:
        limits.require_room_for_devices(fields["owner"].pk)
        fields.setdefault("profile", DeviceProfile.objects.filter(name="xyz").first())
        fields.pop("revoke_keys", None)
        return Device.objects.create(**fields)

    def update(self, device: Device, fields: dict) -> Device:
        if fields.get("owner", device.owner) != device.owner:
            limits.require_room_for_devices(fields["owner"].pk)
        if fields.pop("revoke_keys", False):
            device.revoke_keys(timezone.now())
        return super().update(device, fields)


class RegisteredDeviceSerializer(DeviceSerializer):
    """A new device, with its first key."""

    key = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="Shown this once. Null for a token without the scope `ingest`: it may not use one.",
    )

    class Meta(DeviceSerializer.Meta):
        fields = (*DeviceSerializer.Meta.fields, "key")


EXAMPLE_KEY = {
    "prefix": "pld_77c1e0ab",
    "created_at": "2026-11-21T09:30:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}


@extend_schema_serializer(
    examples=[
        OpenApiExample("Rotate", {"overlap_seconds": 3600}, request_only=True),
        OpenApiExample("Key", EXAMPLE_KEY, response_only=True),
    ]
)
class DeviceKeySerializer(StrictFields, serializers.ModelSerializer):
    """A device's key, without its secret."""

    overlap_seconds = WholeNumber(
        min_value=0,
        max_value=30 * 86400,
        default=86400,
        write_only=True,
        help_text="How long older keys stay valid.",
    )

    class Meta:
        model = DeviceKey
        fields: tuple[str, ...] = (
            "prefix",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "overlap_seconds",
        )
        read_only_fields = ("prefix", "created_at", "expires_at", "revoked_at", "last_used_at")


@extend_schema_serializer(
    examples=[
        OpenApiExample("Rotated", EXAMPLE_KEY | {"key": "pld_77c1e0ab.…"}, response_only=True),
    ]
)
class NewDeviceKeySerializer(DeviceKeySerializer):
    """A new key of a device."""

    key = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(DeviceKeySerializer.Meta):
        fields = (*DeviceKeySerializer.Meta.fields, "key")


def reading_body(reading: StoredReading, device: Device) -> dict[str, Any]:
    """A reading as the API shows it: `timestamp` and a number for each channel."""
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
