import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError

from devices.exclusions import Extent
from devices.exclusions.serializers import ExclusionSerializer
from devices.files import importer
from devices.files.formats import CannotImport
from devices.files.importer import ImportJob
from devices.models import Device
from users.models import User


class ImportForm(forms.Form):
    """An uploaded file of readings."""

    file = forms.FileField()
    format = forms.ChoiceField(
        choices=[("", "By file extension"), ("csv", "CSV"), ("ndjson", "NDJSON")], required=False
    )
    precision = forms.ChoiceField(
        label="Timestamps that are numbers count",
        choices=[("s", "seconds"), ("ms", "milliseconds"), ("us", "microseconds"), ("ns", "nanoseconds")],
        required=False,
    )
    device = forms.UUIDField(label="Id of the device", required=False)
    owner = forms.CharField(label="Login of the sensors’ owner", required=False)
    dry_run = forms.BooleanField(required=False)
    partial = forms.BooleanField(required=False)

    def clean_device(self) -> Device | None:
        uuid: UUID | None = self.cleaned_data["device"]
        try:
            return importer.find_device(uuid) if uuid else None
        except CannotImport as error:
            raise ValidationError(str(error)) from error

    def clean_owner(self) -> User | None:
        login = self.cleaned_data["owner"]
        try:
            return importer.find_owner(login) if login else None
        except CannotImport as error:
            raise ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        super().clean()
        fields = self.cleaned_data
        if fields.get("device") and fields.get("owner"):
            raise ValidationError("Give the device or the owner, not both.")
        return fields

    @property
    def job(self) -> ImportJob:
        """The import to run. Raises CannotImport if the file's extension does not tell its format."""
        fields = self.cleaned_data
        file = fields["file"]
        format_name = fields["format"] or importer.guess_format(file.name)
        path = Path(file.temporary_file_path())
        unit = fields["precision"] or "s"
        return ImportJob(path, file.name, format_name, fields["device"], fields["owner"], unit)


def bound_field(label: str, *, required: bool = False) -> forms.CharField:
    # A text field: `parse_stamp` reads it, as in the API.
    picker = forms.DateTimeInput({"type": "datetime-local", "step": 1})
    return forms.CharField(required=required, label=label, widget=picker)


class ExclusionForm(forms.Form):
    """A period in the device's time zone, or one reading as JSON; the API's serializer validates both."""

    start = bound_field("From")
    end = bound_field("To, not included")
    reading = forms.CharField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(max_length=500)

    def __init__(self, *args: Any, device: Device, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device

    def clean_reading(self) -> Any:
        text = self.cleaned_data["reading"]
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise ValidationError("Not a reading.") from error

    def clean(self) -> dict[str, Any]:
        super().clean()
        fields = self.cleaned_data
        if self.errors:
            return fields
        given = {name: value for name, value in fields.items() if value not in ("", None)}
        serializer = ExclusionSerializer(data=given, context={"device": self.device})
        if serializer.is_valid():
            return fields | {"extent": serializer.extent}
        for name, faults in serializer.errors.items():
            self.add_error(name, faults if isinstance(faults, list) else "Not a reading of this device.")
        return fields

    @property
    def extent(self) -> Extent:
        return self.cleaned_data["extent"]
