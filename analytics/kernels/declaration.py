"""What a kernel says of itself: all that validation, OpenAPI, form and table are made from."""

import datetime
import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from django import forms
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.models import Channel, Device
from devices.timeline.periods import BadStamp, parse_stamp
from users.serializers import Text, WholeNumber

MAX_ROWS = 100_000
# More devices than these are no choice in a form, but an id that is typed.
MOST_CHOICES = 500
# Of a channel's name.
MOST_LETTERS = 50
REQUIRED: Any = object()
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

Values = Mapping[str, Any]
Row = tuple[Any, ...]
# Called with how much of the work is done, and how much there is. Raises once nobody waits for the result.
Progress = Callable[[int, int], None]


class InvalidParameters(Exception):
    """Parameters that cannot be computed with; `errors` has a message by the parameter's name."""

    def __init__(self, errors: dict[str, str]) -> None:
        # As it was called: so it can be pickled on its way from a worker's process to the worker.
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "; ".join(f"{name}: {message}" for name, message in self.errors.items())


class NoResult(Exception):
    """What `run` raises where the data that it needs give no result: an outcome, which the message explains,
    and no fault."""


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
    """An ISO 8601 stamp; one without an offset is of UTC."""

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


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """An input by its name. Left out it takes the default, which may be a function without arguments."""

    name: str
    label: str
    unit: str = ""
    help: str = ""
    default: Any = REQUIRED

    def api_field(self) -> serializers.Field:
        """What takes the value as JSON, and writes it so."""
        options = {} if self.default is REQUIRED else {"required": False, "default": self.default}
        return self.make_api_field(label=self.label, help_text=self.described, **options)

    def form_field(self, asker: Any) -> forms.Field:
        """What takes the value as people type it, and hands on what `api_field` takes."""
        label = f"{self.label}, {self.unit}" if self.unit else self.label
        is_required = self.default is REQUIRED
        return self.make_form_field(asker=asker, label=label, help_text=self.help, required=is_required)

    def shown(self, stored: Any, asker: Any) -> Any:
        """A stored value as a page has it for somebody."""
        return stored

    @property
    def shown_default(self) -> Any:
        """What a form starts with; None for what must be given, or is taken when it is asked for."""
        return None if self.default is REQUIRED or callable(self.default) else self.default

    @property
    def described(self) -> str:
        return f"{self.label}{f' ({self.unit})' if self.unit else ''}. {self.help}".strip()

    @abstractmethod
    def make_api_field(self, **options: Any) -> serializers.Field:
        """What takes the value from JSON."""

    @abstractmethod
    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        """What takes the value from a form."""


@dataclass(frozen=True, kw_only=True)
class DayParameter(Parameter):
    def make_api_field(self, **options: Any) -> serializers.Field:
        return DayField(**options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        # Text to Django: the API's field judges it.
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

    def make_api_field(self, **options: Any) -> serializers.Field:
        return NumberField(min_value=self.minimum, max_value=self.maximum, **options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        widget = forms.NumberInput({"step": "any"})
        return forms.FloatField(min_value=self.minimum, max_value=self.maximum, widget=widget, **options)


@dataclass(frozen=True, kw_only=True)
class DeviceId(Parameter):
    """A device by its id. Whether the asker may see it is for the kernel's `check`."""

    def make_api_field(self, **options: Any) -> serializers.Field:
        return IdField(**options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        devices = list(Device.objects.visible_to(asker).with_channels()[: MOST_CHOICES + 1])
        if len(devices) > MOST_CHOICES:
            return forms.CharField(**options)
        labels = [f"{device}: {', '.join(channel.name for channel in device.channels)}" for device in devices]
        ids = [str(device.uuid) for device in devices]
        names = [[channel.name for channel in device.channels] for device in devices]
        # By these a script offers the chosen device's channels only.
        widget = forms.Select({"data-channels-of": json.dumps(dict(zip(ids, names, strict=True)))})
        return forms.ChoiceField(choices=list(zip(ids, labels, strict=True)), widget=widget, **options)

    def shown(self, stored: Any, asker: Any) -> Any:
        device = Device.objects.visible_to(asker).filter(uuid=stored).first()
        return stored if device is None else str(device)


@dataclass(frozen=True, kw_only=True)
class ChannelName(Parameter):
    """A channel of a device by its name. Whether the device has it is for the kernel's `check`."""

    def make_api_field(self, **options: Any) -> serializers.Field:
        return Text(max_length=MOST_LETTERS, **options)

    def make_form_field(self, *, asker: Any, **options: Any) -> forms.Field:
        of_devices = Channel.objects.filter(profile__devices__in=Device.objects.visible_to(asker))
        found = of_devices.order_by("name").values_list("name", flat=True).distinct()
        names = list(found[: MOST_CHOICES + 1])
        if len(names) > MOST_CHOICES:
            return forms.CharField(max_length=MOST_LETTERS, **options)
        # Chosen on purpose: the first by name need not be one of the first device's.
        choices = [("", "Choose a channel"), *((name, name) for name in names)]
        return forms.ChoiceField(choices=choices, widget=forms.Select({"data-channel": True}), **options)


@dataclass(frozen=True)
class Column:
    """Of the result. The first column is what a chart is drawn over: a date or a moment.

    `draw` is how a chart shows a number: `area` and `line` on the left axis, `line-right` on the right one,
    `low` and `high` as the edges of a band.
    """

    name: str
    label: str
    kind: Literal["date", "moment", "number"] = "number"
    unit: str = ""
    draw: Literal["area", "line", "line-right", "low", "high"] = "line"

    @property
    def heading(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label


@dataclass(frozen=True)
class Invariant:
    """What each row keeps to; `holds` gets a row's values by column name."""

    label: str
    holds: Callable[[Values], bool]


def no_units(parameters: Values) -> dict[str, str]:
    return {}


def nothing_to_refuse(parameters: Values, asker: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """`run` yields rows in the order of the columns: dates and moments as ISO 8601 text, finite numbers.

    The same parameters, generator and library versions must give the same rows. `check` raises Refused for
    what no parameter can tell alone, or for what `asker`, a user, may not see; it is asked when a calculation
    is asked for, and again before it runs.
    """

    name: str
    label: str
    description: str
    version: str
    parameters: Sequence[Parameter]
    columns: Sequence[Column]
    invariants: Sequence[Invariant]
    run: Callable[[Values, np.random.Generator, Progress], Iterator[Row]]
    example: Values
    check: Callable[[Values, Any], None] = nothing_to_refuse
    # By column name what depends on the parameters, as they are stored.
    units: Callable[[Values], Mapping[str, str]] = no_units
    libraries: Sequence[str] = field(default=("numpy",))

    def columns_of(self, stored: Values) -> list[Column]:
        """The columns of a run with these parameters."""
        units = self.units(stored)
        return [replace(column, unit=units.get(column.name, column.unit)) for column in self.columns]

    def read(self, stored: Values) -> dict[str, Any]:
        """Parameters from the JSON that `written` made of them."""
        fields = {parameter.name: parameter.api_field() for parameter in self.parameters}
        return {name: fields[name].run_validation(value) for name, value in stored.items()}

    def written(self, parameters: Values) -> dict[str, Any]:
        """Parameters as JSON."""
        fields = {parameter.name: parameter.api_field() for parameter in self.parameters}
        return {name: fields[name].to_representation(value) for name, value in parameters.items()}
