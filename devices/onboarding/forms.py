"""Forms that add a device and a profile. The API's serializer checks profiles: pages have the same rules."""

import math
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from rest_framework import serializers

from devices import profiles
from devices.models import Channel, Device, DeviceProfile, known_zone, zone_names
from devices.profiles.api import call_or_refuse, split
from devices.profiles.serializers import MAX_CHANNELS, ProfileSerializer
from users.models import User


class NewDeviceForm(forms.Form):
    """A device to be added. Owners add devices of their own; staff name the owner by login.

    The page brings the `uuid`: a form that is sent twice adds one device.
    """

    uuid = forms.UUIDField(widget=forms.HiddenInput)
    name = forms.CharField(max_length=200)
    profile = forms.ModelChoiceField(
        DeviceProfile.objects.prefetch_related("channels"),
        to_field_name="name",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what its readings contain."},
    )
    time_zone = forms.CharField(max_length=64, validators=[known_zone])
    owner = forms.CharField(max_length=150)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.initial.update(uuid=uuid.uuid4(), owner=user.login, time_zone="UTC")
        if not user.is_staff:
            del self.fields["owner"]

    @property
    def profiles(self) -> Iterable[DeviceProfile]:
        choices: Any = self.fields["profile"]
        return choices.queryset

    @property
    def zones(self) -> list[str]:
        return sorted(zone_names())

    def clean_owner(self) -> User:
        try:
            return User.objects.get_by_natural_key(self.cleaned_data["owner"])
        except User.DoesNotExist as error:
            raise ValidationError("There is no user with this login.") from error

    def add(self) -> tuple[Device, bool]:
        """Add the device. False with a device that an earlier sending of this form has added."""
        fields = {"owner": self.user} | self.cleaned_data
        return Device.objects.get_or_create(uuid=fields.pop("uuid"), defaults=fields)


class NewKeyForm(forms.Form):
    """How long the keys until now stay valid beside a new one."""

    overlap_seconds = forms.TypedChoiceField(
        label="Other keys stop working",
        coerce=int,
        initial=86400,
        choices=[(86400, "in a day"), (7 * 86400, "in a week"), (0, "at once")],
    )

    @property
    def overlap(self) -> timedelta:
        return timedelta(seconds=self.cleaned_data["overlap_seconds"])


@dataclass
class ChannelRow:
    """A row of the table of channels, as typed."""

    name: str = ""
    unit: str = ""
    kind: str = Channel.Kind.GAUGE
    minimum: str = ""
    maximum: str = ""
    decimals: str = ""
    errors: dict[str, Sequence[str]] = field(default_factory=dict, repr=False)

    @property
    def is_empty(self) -> bool:
        return not (self.name or self.unit or self.minimum or self.maximum or self.decimals)

    @property
    def as_channel(self) -> dict[str, Any]:
        """The channel as the API takes it; what is no number stays a text, which the API names as a fault."""
        cells = {name: getattr(self, name) for name in COLUMNS}
        return cells | {name: number_of(cells[name]) for name in NUMBERS}


WHOLE = re.compile(r"-?[0-9]{1,15}")
# A new column of the table is a field of ChannelRow and a cell of _channel_row.html.
COLUMNS = [name for name in ChannelRow.__dataclass_fields__ if name != "errors"]
NUMBERS = ("minimum", "maximum", "decimals")
NO_CHANNEL = "Name at least one channel."


def number_of(text: str) -> float | str | None:
    if not text:
        return None
    try:
        number = int(text) if WHOLE.fullmatch(text) else float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def rows_of(sent: QueryDict) -> list[ChannelRow]:
    """The rows in the order in which the page had them: a moved row needs no number of its own."""
    columns = [sent.getlist(f"channel_{name}") for name in COLUMNS]
    cells: list[list[Any]] = [[text.strip() for text in row] for row in zip_longest(*columns, fillvalue="")]
    return [ChannelRow(*row) for row in cells[:MAX_CHANNELS]]


def rearrange(rows: list[ChannelRow], action: str) -> list[ChannelRow]:
    """Do what a button of the table says: `add`, or `up`, `down` or `remove` with a row, such as `up-2`."""
    verb, _, text = action.partition("-")
    place = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else len(rows)
    if verb == "add" and len(rows) < MAX_CHANNELS:
        return [*rows, ChannelRow()]
    if place >= len(rows):
        return rows
    others = [*rows[:place], *rows[place + 1 :]]
    if verb == "remove":
        return others or [ChannelRow()]
    to = {"up": max(place - 1, 0), "down": place + 1}.get(verb, place)
    return [*others[:to], rows[place], *others[to:]]


class NewProfileForm(forms.Form):
    """A profile to be added: its own fields, and `rows` of channels."""

    name = forms.SlugField(max_length=50, widget=forms.TextInput({"placeholder": "pump"}))
    description = forms.CharField(max_length=200, required=False)
    expected_interval_seconds = forms.FloatField(
        label="Seconds between readings",
        required=False,
        widget=forms.NumberInput({"step": "any", "placeholder": "each device’s own"}),
    )
    allows_future = forms.BooleanField(required=False)

    def __init__(self, *args: Any, rows: list[ChannelRow], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows = rows

    def clean(self) -> dict[str, Any]:
        fields = super().clean() or {}
        if self.errors:
            return fields
        rows = [row for row in self.rows if not row.is_empty]
        serializer = ProfileSerializer(data=fields | {"channels": [row.as_channel for row in rows]})
        if serializer.is_valid():
            return serializer.validated_data
        for name, faults in serializer.errors.items():
            if name == "channels":
                self.note_faults(rows, faults)
            else:
                self.add_error(name, list(map(str, faults)))
        return fields

    def note_faults(self, rows: list[ChannelRow], faults: Any) -> None:
        """Give each row its faults: the serializer has them by index, or as a list of all rows."""
        by_index = faults.items() if isinstance(faults, dict) else enumerate(faults)
        for index, of_row in by_index:
            if isinstance(of_row, dict):
                listed = {
                    name: [fault] if isinstance(fault, str) else fault for name, fault in of_row.items()
                }
                rows[int(index)].errors = listed
        self.add_error(None, "Correct the channels." if rows else NO_CHANNEL)

    def save(self) -> DeviceProfile | None:
        """Add the profile; None if its name has just been taken."""
        fields, channels = split(self.cleaned_data)
        try:
            return call_or_refuse(lambda: profiles.create(fields, channels or []))
        except serializers.ValidationError:
            self.add_error("name", "There is a profile of this name.")
            return None
