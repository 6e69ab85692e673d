from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from analytics.activity.events.intake import is_text
from devices.timeline.periods import BadPeriod, Period, parse_period
from users.models import User

# Days up to and including today; 0 is everything.
QUICK_PERIODS = ((7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "A year"), (0, "Everything"))


def date_field(label: str) -> forms.CharField:
    # A text field: `parse_period` reads it, as it does for the API.
    return forms.CharField(required=False, label=label, widget=forms.DateInput({"type": "date"}))


class ActivityForm(forms.Form):
    """A person, by default the asker, and a period in days of the portal's zone."""

    login = forms.CharField(required=False, max_length=150, strip=False)
    start = date_field("From")
    end = date_field("To, not included")
    last = forms.TypedChoiceField(choices=QUICK_PERIODS, coerce=int, empty_value=None, required=False)

    def __init__(self, data: Any, *, asker: User, now: datetime) -> None:
        super().__init__(data)
        self.asker = asker
        self.today = timezone.localdate(now, timezone.get_default_timezone())

    @property
    def is_about_another(self) -> bool:
        return self.data.get("login", "") not in ("", self.asker.login)

    def clean_login(self) -> str:
        login = self.cleaned_data["login"] or self.asker.login
        users = User.objects.visible_to(self.asker)
        person = users.filter(login=login).first() if is_text(login) else None
        if person is None:
            raise ValidationError("There is no such user.")
        self.person: User = person
        return login

    def clean(self) -> dict[str, Any]:
        super().clean()
        fields = self.cleaned_data
        days = fields.get("last")
        if days is None:
            self.bounds = {name: fields[name] for name in ("start", "end") if fields.get(name)}
        else:
            self.bounds = {"start": self.days_ago(days - 1)} if days else {}
            # The date fields show the period that the button stands for.
            self.data = {**dict(self.data.items()), "start": "", "end": "", **self.bounds}
        try:
            self.period: Period = parse_period(self.bounds, timezone.get_default_timezone())
        except BadPeriod as error:
            raise ValidationError({error.field: str(error)}) from error
        return fields

    def days_ago(self, days: int) -> str:
        return date.isoformat(self.today - timedelta(days=days))
