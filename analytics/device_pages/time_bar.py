"""The time bar of a device's page: what the address asks for, and the addresses that its controls lead to."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from devices import statistics
from devices.models import Device
from devices.timeline.periods import BadPeriod, Period
from devices.timeline.time_ranges import FIRST, TimeRange, fixed, local_text, parse_time_range, shifted
from users.models import User

# `from`, `to` and label of the quick ranges.
QUICK = (
    ("now-1h", "now", "1 h"),
    ("now-24h", "now", "24 h"),
    ("today", "now", "Today"),
    ("yesterday", "today", "Yesterday"),
    ("now-7d", "now", "7 d"),
    ("now-30d", "now", "30 d"),
    ("first", "now", "All"),
)
ZONES = (("", "The device’s zone"), ("mine", "My zone"), ("utc", "UTC"))
WEEK = timedelta(days=7)
COMPARISONS = (
    ("", "Nothing"),
    ("before", "The period before"),
    ("week", "The same days of last week"),
    ("device", "Another device"),
)


@dataclass(frozen=True, slots=True)
class ComparedStretch:
    """Another device, or another period, beside what is shown; `shift` leads from it to what is shown."""

    device: Device
    period: Period
    shift: timedelta
    label: str


@dataclass(frozen=True, slots=True)
class TimeBar:
    """What the address of the page asks for. Without a range the page follows the latest readings."""

    query: Mapping[str, str]
    range: TimeRange | None
    zone: tzinfo
    now: datetime
    errors: Mapping[str, str]
    comparison: ComparedStretch | None

    def address(self, **changes: str) -> str:
        """The query of this page with some changes; empty parameters are left out."""
        names = ("from", "to", "zone", "compare", "with")
        fields = {name: self.query.get(name, "") for name in names} | changes
        return "?" + urlencode({name: value for name, value in fields.items() if value})

    def of_range(self, found: TimeRange | None) -> str:
        start, end = (found.start_text, found.end_text) if found else ("", "")
        return self.address(**{"from": start, "to": end})

    @property
    def live(self) -> str:
        return self.of_range(None)

    @property
    def quick(self) -> list[tuple[str, str, bool]]:
        """Label, address, and whether it is shown now."""
        now = (self.range.start_text, self.range.end_text) if self.range else None
        return [
            (label, self.address(**{"from": start, "to": end}), (start, end) == now)
            for start, end, label in QUICK
        ]

    @property
    def earlier(self) -> str | None:
        return self.moved(-1)

    @property
    def later(self) -> str | None:
        """None at the present: there are no readings to come."""
        end = self.range.period.end if self.range else None
        return self.moved(1) if end and end < self.now else None

    def moved(self, lengths: int) -> str | None:
        found = shifted(self.range.period, lengths) if self.range else None
        return self.of_range(found) if found else None

    @property
    def fixed(self) -> str:
        """The address of what is shown now, which stays the same as time passes."""
        period = self.range.period if self.range else Period()
        return (
            self.of_range(fixed(period.start or FIRST, period.end or self.now)) if self.range else self.live
        )

    @property
    def start_input(self) -> str:
        return self.input_text(self.range.period.start if self.range else None)

    @property
    def end_input(self) -> str:
        return self.input_text(self.range.period.end if self.range else None)

    def input_text(self, time: datetime | None) -> str:
        return local_text(time, self.zone) if time else ""


def read_time_bar(query: Mapping[str, str], device: Device, viewer: User, now: datetime) -> TimeBar:
    """Read the address of a device's page. What cannot be read is left out and stands in `errors`."""
    errors: dict[str, str] = {}
    zone = chosen_zone(query.get("zone", ""), device)
    found = None
    try:
        found = parse_time_range(query, zone, now)
    except BadPeriod as error:
        errors[error.field] = str(error)
    comparison = None
    if found is not None and query.get("compare"):
        try:
            start = found.period.start or statistics.first_reading_time([device.pk]) or now
            comparison = read_comparison(query, device, viewer, start, found.period.end or now)
        except BadComparison as error:
            errors["compare"] = str(error)
    return TimeBar(query, found, zone, now, errors, comparison)


def chosen_zone(name: str, device: Device) -> tzinfo:
    return {"utc": UTC, "mine": timezone.get_current_timezone()}.get(name, device.zone)


class BadComparison(ValueError):
    """The address asks for a comparison that is none; the message says why."""


def read_comparison(
    query: Mapping[str, str], device: Device, viewer: User, start: datetime, end: datetime
) -> ComparedStretch:
    """What `compare` and `with` name, for the period shown. Raises BadComparison."""
    kind = query["compare"]
    if kind == "device":
        other = other_device(query.get("with", ""), viewer)
        return ComparedStretch(other, Period(start, end), timedelta(), str(other))
    if kind not in ("before", "week"):
        raise BadComparison("Must be before, week or device.")
    shift = end - start if kind == "before" else WEEK
    if kind == "week" and end - start > WEEK:
        raise BadComparison("The period is longer than a week.")
    if start - FIRST < shift:
        raise BadComparison("There is no time before this period.")
    label = "the period before" if kind == "before" else "a week earlier"
    return ComparedStretch(device, Period(start - shift, end - shift), shift, label)


def other_device(text: str, viewer: User) -> Device:
    """The device with this id, external id or name among those that the viewer sees. Raises BadComparison."""
    text = text.strip()
    named = Q(external_id=text) | Q(name=text)
    with suppress(ValueError):
        named |= Q(uuid=UUID(text))
    if not text:
        raise BadComparison("Name the other device.")
    found = list(Device.objects.visible_to(viewer).with_channels().filter(named)[:2])
    if not found:
        raise BadComparison(f"There is no device named “{text}”.")
    if len(found) > 1:
        raise BadComparison(f"Several devices are named “{text}”: give the id of one.")
    return found[0]
