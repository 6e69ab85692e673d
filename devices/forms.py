import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from devices.exclusions import Extent
from devices.exclusions.serializers import ExclusionSerializer
from devices.models import Device


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
