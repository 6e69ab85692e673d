from typing import Any

from django.core.validators import RegexValidator, validate_slug
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from devices import profiles
from devices.models import (
    Channel,
    DeviceProfile,
)
from devices.models.profiles import (
    LONGEST_INTERVAL_SECONDS,
    MOST_DECIMALS,
    RESERVED_NAMES,
    SHORTEST_INTERVAL_SECONDS,
    not_reserved,
)
from users.serializers import Number, StrictFields, Text, TrueOrFalse, WholeNumber

MAX_CHANNELS = 1000
NAME_LENGTH = 50
NAME = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9_]*\Z", "Must be a letter, and then letters, digits and underscores."
)
DOUBLED = "Another channel has this name."
PUMP = {
    "name": "pump",
    "description": "Temperature and energy of a pump.",
    "allows_future": False,
    "expected_interval_seconds": 60.0,
    "channels": [
        {
            "name": "temperature",
            "unit": "°C",
            "kind": "gauge",
            "minimum": -40.0,
            "maximum": 150.0,
            "decimals": 2,
        },
        {
            "name": "energy",
            "unit": "kWh",
            "kind": "counter",
            "minimum": 0.0,
            "maximum": None,
            "decimals": None,
        },
    ],
}


@extend_schema_field(
    {
        "type": "string",
        "maxLength": NAME_LENGTH,
        "pattern": "^[A-Za-z][A-Za-z0-9_]*$",
        "not": {"enum": sorted(RESERVED_NAMES)},
    }
)
class NewChannelName(Text):
    """A name that no key of a reading or a result has; unique in its profile."""


class NewChannelSerializer(StrictFields):
    """One value of a reading; its place in the list is its place in stored readings."""

    name = NewChannelName(max_length=NAME_LENGTH, validators=[NAME, not_reserved])
    unit = Text(max_length=20, allow_blank=True, default="")
    kind = serializers.ChoiceField(Channel.Kind.choices, default=Channel.Kind.GAUGE)
    minimum = Number(allow_null=True, default=None, help_text="Smaller values are refused.")
    maximum = Number(
        allow_null=True, default=None, help_text="Larger values are refused. Not below `minimum`."
    )
    decimals = WholeNumber(
        min_value=0,
        max_value=MOST_DECIMALS,
        allow_null=True,
        default=None,
        help_text="Digits after the point that pages show. Null: as many as the newest readings have.",
    )

    def validate(self, fields: dict) -> dict:
        low, high = fields["minimum"], fields["maximum"]
        if low is not None and high is not None and low > high:
            raise serializers.ValidationError({"minimum": "Must not exceed the maximum."})
        return fields


class ChannelsSchema(OpenApiSerializerFieldExtension):
    target_class = "devices.profiles.serializers.ChannelsField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        channel = auto_schema.resolve_serializer(NewChannelSerializer(), direction).ref
        return {"type": "array", "items": channel, "minItems": 1, "maxItems": MAX_CHANNELS}


class ChannelsField(serializers.Field):
    """All channels of a profile, in order. In a change, too, each of them is whole: `partial` ends here."""

    def to_internal_value(self, data: Any) -> list[Channel]:
        options: dict[str, Any] = {"allow_empty": False, "max_length": MAX_CHANNELS}
        inner = NewChannelSerializer(data=data, many=True, **options)
        if not inner.is_valid():
            faults: Any = inner.errors
            # Faults of the items by their index, or of the list as a whole.
            raise serializers.ValidationError(faults.get("body", faults))
        names = [channel["name"] for channel in inner.validated_data]
        doubled = [{"name": DOUBLED} if name in names[:i] else {} for i, name in enumerate(names)]
        if any(doubled):
            raise serializers.ValidationError(doubled)
        return [Channel(**channel) for channel in inner.validated_data]

    def to_representation(self, channels: Any) -> Any:
        return NewChannelSerializer(channels.all(), many=True).data


@extend_schema_serializer(
    examples=[
        OpenApiExample("New", PUMP, request_only=True),
        OpenApiExample("Profile", PUMP | {"built_in": False, "in_use": True}, response_only=True),
    ]
)
class ProfileSerializer(StrictFields):
    """A kind of device."""

    name = Text(max_length=50, validators=[validate_slug])
    description = Text(max_length=200, allow_blank=True, required=False)
    allows_future = TrueOrFalse(required=False, help_text="Accept timestamps over 5 minutes ahead.")
    expected_interval_seconds = Number(
        min_value=SHORTEST_INTERVAL_SECONDS,
        max_value=LONGEST_INTERVAL_SECONDS,
        allow_null=True,
        required=False,
        help_text="Interval of readings, for coverage. Null: each device's median interval.",
    )
    channels = ChannelsField()
    built_in = serializers.SerializerMethodField()
    in_use = serializers.BooleanField(read_only=True, help_text="It has devices: its channels are fixed.")

    def get_built_in(self, profile: DeviceProfile) -> bool:
        return profiles.is_built_in(profile)

    def validate_name(self, name: str) -> str:
        others = (
            DeviceProfile.objects.exclude(pk=self.instance.pk) if self.instance else DeviceProfile.objects
        )
        if others.filter(name=name).exists():
            raise serializers.ValidationError("There is a profile of this name.")
        return name
