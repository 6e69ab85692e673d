"""What the page of the trail may be asked for, from its address."""

import re
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from users.account.addresses import valid_address
from users.trail.kinds import ACTIONS, FOR_ADMINS, KINDS
from users.trail.models import EntryPlace, EntryQuerySet

PREFIX = re.compile(r"pl[a-z]_[0-9a-f]{8}")
THING = re.compile(r"\w+:(\d{1,18}|[0-9a-f-]{36})")
POSITION = re.compile(r"(\d{1,16})-(\d{1,18})")
FIRST_YEAR, END_YEAR = 2000, 2200
MICROSECONDS = 1_000_000


class TrailForm(forms.Form):
    who = forms.CharField(
        required=False,
        max_length=150,
        label="Who",
        widget=forms.TextInput({"placeholder": "Login, token or address"}),
    )
    action = forms.ChoiceField(
        choices=[("", "Anything"), *ACTIONS.items()], required=False, label="What happened"
    )
    # Its choices follow from the reader.
    kind = forms.ChoiceField()
    thing = forms.CharField(
        required=False,
        max_length=255,
        label="Which",
        widget=forms.TextInput({"placeholder": "Begin of its name"}),
    )
    start = forms.DateField(required=False, label="From", widget=forms.DateInput({"type": "date"}))
    end = forms.DateField(required=False, label="To, not included", widget=forms.DateInput({"type": "date"}))

    def __init__(self, data: Any, *, is_admin: bool) -> None:
        super().__init__(data)
        kinds = [(name, kind.label) for name, kind in KINDS.items() if is_admin or name not in FOR_ADMINS]
        self.fields["kind"] = forms.ChoiceField(choices=[("", "Any"), *kinds], required=False)

    def clean(self) -> dict[str, Any]:
        fields = super().clean() or {}
        start, end = fields.get("start"), fields.get("end")
        for name, day in (("start", start), ("end", end)):
            if day and not FIRST_YEAR <= day.year < END_YEAR:
                raise ValidationError({name: f"Must lie between {FIRST_YEAR} and {END_YEAR}."})
        if start and end and start >= end:
            raise ValidationError({"end": "Must be later than the first day."})
        return fields

    def narrow(self, entries: EntryQuerySet) -> EntryQuerySet:
        """Return the entries that the form asks for; it must be valid."""
        fields = self.cleaned_data
        if fields["who"]:
            entries = entries.filter(by(fields["who"]))
        if fields["thing"]:
            is_exact = THING.fullmatch(fields["thing"])
            is_named = Q(label__istartswith=fields["thing"])
            entries = entries.about(fields["thing"]) if is_exact else entries.filter(is_named)
        for name in ("kind", "action"):
            if fields[name]:
                entries = entries.filter(**{name: fields[name]})
        # Days begin in the viewer's time zone.
        if fields["start"]:
            entries = entries.filter(at__gte=midnight(fields["start"]))
        return entries.filter(at__lt=midnight(fields["end"])) if fields["end"] else entries


def by(who: str) -> Q:
    """Select by address, by the prefix of a credential (what it did, and what became of it), or by login."""
    if address := valid_address(who):
        return Q(address=address)
    if PREFIX.fullmatch(who):
        return Q(credential=who) | Q(label__iexact=who)
    return Q(actor__iexact=who)


def midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime.combine(day, datetime.min.time()))


def position_text(position: EntryPlace) -> str:
    at, pk = position
    since = at - datetime.fromtimestamp(0, UTC)
    return f"{(since.days * 86400 + since.seconds) * MICROSECONDS + since.microseconds}-{pk}"


def parse_position(text: str) -> EntryPlace | None:
    """Read what `position_text` wrote; None for anything else."""
    found = POSITION.fullmatch(text)
    if found is None:
        return None
    seconds, microseconds = divmod(int(found[1]), MICROSECONDS)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return EntryPlace(at, int(found[2]))
