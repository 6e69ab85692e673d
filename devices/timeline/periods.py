"""Time stamps and periods as requests and readings write them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

# A date, or a date and time, with or without an offset. `fromisoformat` takes more, such as week dates, which
# no device means.
STAMP = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d{2}(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
# In a query string the bare + of an offset arrives as a space.
OFFSET_AFTER_SPACE = re.compile(r" (\d{2}:?\d{2})$")


@dataclass(frozen=True, slots=True)
class Period:
    """Half open, `start <= t < end`. None is an open bound: from the first reading, up to now."""

    start: datetime | None = None
    end: datetime | None = None


class BadStamp(ValueError):
    """The text is no instant; the message names the expected form."""


class BadPeriod(ValueError):
    """A bound of the period is wrong; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_stamp(text: str, zone: tzinfo) -> tuple[datetime, bool]:
    """Return the instant in UTC, to the microsecond, and whether `zone` was assumed. Raises BadStamp."""
    if not STAMP.fullmatch(text):
        raise BadStamp("Must be an ISO 8601 date and time, such as 2026-11-21T09:30:00Z.")
    try:
        # Python 3.11 reads no lower-case z.
        stamp = datetime.fromisoformat(text.upper())
        assumed = stamp.tzinfo is None
        return (stamp.replace(tzinfo=zone) if assumed else stamp).astimezone(UTC), assumed
    except (ValueError, OverflowError) as error:
        raise BadStamp(f"Not a date and time: {str(error).rstrip('.')}.") from error


def parse_period(query: Mapping[str, object], zone: tzinfo) -> Period:
    """Read the optional `start` and `end` of a request; naive ones are in `zone`. Raises BadPeriod."""
    period = Period(
        start=parse_bound("start", query.get("start"), zone), end=parse_bound("end", query.get("end"), zone)
    )
    if period.start and period.end and period.start >= period.end:
        raise BadPeriod("start", "Must be before end.")
    return period


def parse_bound(name: str, text: object, zone: tzinfo) -> datetime | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise BadPeriod(name, "Must be a string.")
    if "T" in text:
        text = OFFSET_AFTER_SPACE.sub(r"+\1", text)
    try:
        return parse_stamp(text, zone)[0]
    except BadStamp as error:
        raise BadPeriod(name, str(error)) from error
