from datetime import tzinfo
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from devices.periods import BadPeriod, Period, parse_period
from users.models import User


class PeriodForm(forms.Form):
    """A period as people type it: both bounds optional, in the device's time zone."""

    start = forms.CharField(required=False, widget=forms.DateTimeInput({"type": "datetime-local", "step": 1}))
    end = forms.CharField(required=False, widget=forms.DateTimeInput({"type": "datetime-local", "step": 1}))

    def __init__(self, *args: Any, zone: tzinfo, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone

    def clean(self) -> dict[str, Any]:
        fields = super().clean()
        asked = {name: fields[name] for name in ("start", "end") if fields.get(name)}
        try:
            fields["period"] = parse_period(asked, self.zone)
        except BadPeriod as error:
            raise ValidationError({error.field: str(error)}) from error
        return fields

    @property
    def period(self) -> Period:
        return self.cleaned_data["period"]


class FleetForm(PeriodForm):
    """A period, and whose devices."""

    user = forms.ModelChoiceField(User.objects.none(), label="Devices of", empty_label=None)

    field_order = ("user", "start", "end")

    def __init__(self, *args: Any, asker: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].queryset = User.objects.visible_to(asker).filter(devices__isnull=False).distinct()
