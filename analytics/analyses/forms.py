from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from analytics.analyses.question import BUCKETS, BadQuestion, Question, parse_question
from devices.forms import bound_field
from devices.timeline.periods import BadPeriod, Period
from users.models import User

HOUR = timedelta(hours=1)
# Length up to now; 0 stands for all readings.
QUICK_PERIODS = (
    (1 * HOUR, "Last hour"),
    (24 * HOUR, "Last 24 hours"),
    (7 * 24 * HOUR, "7 days"),
    (30 * 24 * HOUR, "30 days"),
    (0 * HOUR, "All readings"),
)


class QuestionForm(forms.Form):
    """A question as people type it, with bounds in `zone`; `last` is a button for a period up to now."""

    start = bound_field("From")
    end = bound_field("To, not included")
    percentiles = forms.CharField(required=False, widget=forms.TextInput({"placeholder": "5, 25, 75, 95"}))
    bucket = forms.ChoiceField(
        choices=[("", "None"), *((bucket, f"By the {bucket}") for bucket in BUCKETS)],
        required=False,
        label="Buckets",
    )
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
        super().clean()
        fields = self.cleaned_data
        names = ["percentiles", "bucket"]
        names += ["start", "end"] if fields.get("last") is None else []
        try:
            asked = {name: fields[name] for name in names if fields.get(name)}
            fields["question"] = parse_question(asked, self.zone)
        except (BadPeriod, BadQuestion) as error:
            raise ValidationError({error.field: str(error)}) from error
        if fields.get("last"):
            start = self.now.replace(microsecond=0) - timedelta(seconds=fields["last"])
            fields["question"] = replace(fields["question"], period=Period(start))
        return fields

    @property
    def question(self) -> Question:
        return self.cleaned_data["question"]


class FleetForm(QuestionForm):
    user = forms.ModelChoiceField(User.objects.none(), label="All devices of", empty_label=None)

    field_order = ("user", "start", "end", "percentiles", "bucket")

    def __init__(self, *args: Any, asker: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.users = User.objects.visible_to(asker).filter(devices__isnull=False).distinct()
        cast(forms.ModelChoiceField, self.fields["user"]).queryset = self.users
