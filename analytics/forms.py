from datetime import datetime, timedelta, tzinfo
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from devices.periods import BadPeriod, Period, parse_period
from users.models import User

HOUR = timedelta(hours=1)
# Seconds up to now; 0 is everything.
QUICK_PERIODS = (
    (1 * HOUR, "Last hour"),
    (24 * HOUR, "Last 24 hours"),
    (7 * 24 * HOUR, "7 days"),
    (30 * 24 * HOUR, "30 days"),
    (0 * HOUR, "All readings"),
)


def bound_field(label: str) -> forms.CharField:
    # Text to Django: `parse_period` reads it, as it does for the API.
    picker = forms.DateTimeInput({"type": "datetime-local", "step": 1})
    return forms.CharField(required=False, label=label, widget=picker)


class PeriodForm(forms.Form):
    """A period as people type it: both bounds optional, in `zone`. Or by a button, up to now."""

    start = bound_field("From")
    end = bound_field("To, not included")
    last = forms.TypedChoiceField(
        choices=[(int(span.total_seconds()), label) for span, label in QUICK_PERIODS],
        coerce=int,
        empty_value=None,
        required=False,
    )

    def __init__(self, *args: Any, zone: tzinfo, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        self.now = now

    def clean(self) -> dict[str, Any]:
        fields = super().clean()
        seconds = fields.get("last")
        if seconds is not None:
            start = self.now.replace(microsecond=0) - timedelta(seconds=seconds)
            fields["period"] = Period(start) if seconds else Period()
            return fields
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

    user = forms.ModelChoiceField(User.objects.none(), label="All devices of", empty_label=None)

    field_order = ("user", "start", "end")

    def __init__(self, *args: Any, asker: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].queryset = User.objects.visible_to(asker).filter(devices__isnull=False).distinct()
