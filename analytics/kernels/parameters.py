"""The kinds of parameters that a kernel can declare. Each makes its field of the API and of the form."""

import datetime
import json
import re
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from django import forms
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.models import Channel, Device
from devices.timeline.periods import BadStamp, parse_stamp
from users.serializers import Text, WholeNumber

# A form offers at most this many devices or channels; beyond, their id or name is typed.
MOST_CHOICES = 500
CHANNEL_NAME_LENGTH = 50
TEXT_LENGTH = 200
REQUIRED: Any = object()
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


# --- Fields of the API


class DayField(serializers.DateField):
    """YYYY-MM-DD; REST framework's own field takes 2026-1-2 as well."""

    def to_internal_value(self, value: Any) -> datetime.date:
        if not isinstance(value, str) or not DAY.fullmatch(value):
            self.fail("invalid", format="YYYY-MM-DD")
        try:
            return datetime.date.fromisoformat(value)
        except ValueError as error:
            raise serializers.ValidationError(f"No such day: {error}.") from error


class MomentField(serializers.DateTimeField):
    """An ISO 8601 stamp; without an offset it is in UTC."""

    def to_internal_value(self, value: Any) -> datetime.datetime:
        if not isinstance(value, str):
            raise serializers.ValidationError("Must be a string.")
        try:
            return parse_stamp(value, datetime.UTC)[0]
        except BadStamp as error:
            raise serializers.ValidationError(str(error)) from error

    def to_representation(self, value: datetime.datetime) -> str:
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


class IdField(serializers.UUIDField):
    """A UUID as text; REST framework's own field takes whole numbers as well."""

    def to_internal_value(self, value: Any) -> uuid.UUID:
        if not isinstance(value, str):
            self.fail("invalid", value=value)
        return super().to_internal_value(value)


@extend_schema_field({"type": "number"})
class NumberField(serializers.FloatField):
    """A JSON number; REST framework's own field takes texts and booleans as well."""

    def to_internal_value(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail("invalid")
        try:
            return float(value)
        except OverflowError:
            self.fail("invalid")


# --- Parameters


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """An input by its name. `default` may be a function without arguments; without one, it is required."""

    name: str
    label: str
    unit: str = ""
    help: str = ""
    default: Any = REQUIRED

    def api_field(self) -> serializers.Field:
        """A field that reads the value from JSON and writes it as JSON."""
        options = {} if self.default is REQUIRED else {"required": False, "default": self.default}
        return self.make_api_field(label=self.label, help_text=self.described, **options)

    def form_field(self, asker: Any) -> forms.Field:
        """A field that people fill in; it returns a value that `api_field` reads."""
        label = f"{self.label}, {self.unit}" if self.unit else self.label
        is_required = self.default is REQUIRED
        return self.make_form_field(asker=asker, label=label, help_text=self.help, required=is_required)

    def shown(self, stored: Any, viewer: Any) -> Any:
        """The stored value as a page shows it to the viewer, a user."""
        return stored

    @property
    def shown_default(self) -> Any:
        """Initial value of the form; None if the parameter is required or its default is a function."""
        return None if self.default is REQUIRED or callable(self.default) else self.default

    @property
    def is_fixed(self) -> bool:
        """It has one possible value: a form need not ask for it."""
        return False

    @property
    def described(self) -> str:
        return f"{self.label}{f' ({self.unit})' if self.unit else ''}. {self.help}".strip()

    @abstractmethod
    def make_api_field(self, **options: Any) -> serializers.Field: ...

    @abstractmethod
    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field: ...


@dataclass(frozen=True, kw_only=True)
class DayParameter(Parameter):
    def make_api_field(self, **options: Any) -> serializers.Field:
        return DayField(**options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        # A CharField: the API's field validates the text.
        return forms.CharField(widget=forms.DateInput({"type": "date"}), **options)


@dataclass(frozen=True, kw_only=True)
class MomentParameter(Parameter):
    def make_api_field(self, **options: Any) -> serializers.Field:
        return MomentField(**options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        return forms.CharField(**options)


@dataclass(frozen=True, kw_only=True)
class WholeParameter(Parameter):
    minimum: int
    maximum: int

    def make_api_field(self, **options: Any) -> serializers.Field:
        return WholeNumber(min_value=self.minimum, max_value=self.maximum, **options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        return forms.IntegerField(min_value=self.minimum, max_value=self.maximum, **options)


@dataclass(frozen=True, kw_only=True)
class NumberParameter(Parameter):
    minimum: float
    maximum: float

    @property
    def is_fixed(self) -> bool:
        return self.minimum == self.maximum and self.default is not REQUIRED

    def make_api_field(self, **options: Any) -> serializers.Field:
        return NumberField(min_value=self.minimum, max_value=self.maximum, **options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        widget = forms.NumberInput({"step": "any"})
        return forms.FloatField(min_value=self.minimum, max_value=self.maximum, widget=widget, **options)


@dataclass(frozen=True, kw_only=True)
class TextParameter(Parameter):
    def make_api_field(self, **options: Any) -> serializers.Field:
        return Text(max_length=TEXT_LENGTH, **options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        return forms.CharField(max_length=TEXT_LENGTH, **options)


@dataclass(frozen=True, kw_only=True)
class DeviceId(Parameter):
    """A device by its id. The kernel's `check` decides whether the asker may see it."""

    def make_api_field(self, **options: Any) -> serializers.Field:
        return IdField(**options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        devices = list(Device.objects.visible_to(asker).with_channels()[: MOST_CHOICES + 1])
        if len(devices) > MOST_CHOICES:
            return forms.CharField(**options)
        channels = {str(device.uuid): [channel.name for channel in device.channels] for device in devices}
        choices = [
            (str(device.uuid), f"{device}: {', '.join(channels[str(device.uuid)])}") for device in devices
        ]
        # calculations/device_channels.js offers the chosen device's channels only.
        widget = forms.Select({"data-channels-of": json.dumps(channels)})
        return forms.ChoiceField(choices=choices, widget=widget, **options)

    def shown(self, stored: Any, viewer: Any) -> Any:
        device = Device.objects.visible_to(viewer).filter(uuid=stored).first()
        return stored if device is None else str(device)


@dataclass(frozen=True, kw_only=True)
class ChannelName(Parameter):
    """A channel of a device by its name. The kernel's `check` decides whether the device has it."""

    def make_api_field(self, **options: Any) -> serializers.Field:
        return Text(max_length=CHANNEL_NAME_LENGTH, **options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        visible = Channel.objects.filter(profile__devices__in=Device.objects.visible_to(asker))
        distinct = visible.order_by("name").values_list("name", flat=True).distinct()
        names = list(distinct[: MOST_CHOICES + 1])
        if len(names) > MOST_CHOICES:
            return forms.CharField(max_length=CHANNEL_NAME_LENGTH, **options)
        # No preselection: the first name need not be a channel of the first device.
        choices = [("", "Choose a channel"), *((name, name) for name in names)]
        return forms.ChoiceField(choices=choices, widget=forms.Select({"data-channel": True}), **options)
