"""Stamps and periods as the outside writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

# Date, or date and time, with or without an offset; what `fromisoformat` takes beyond that is nobody's stamp.
STAMP = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:[Zz]|[+-]\d{2}(?::?[0-5]\d)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Period:
    """Half open, `start <= t < end`; None is open: from the first reading, up to now."""

    start: datetime | None = None
    end: datetime | None = None


class BadStamp(ValueError):
    """The text is not a point in time; the message says what is expected."""


class BadPeriod(ValueError):
    """`field` names the bound that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_stamp(text: str, zone: tzinfo) -> tuple[datetime, bool]:
    """The stamp in UTC, to the microsecond, and whether `zone` had to be assumed. Raises BadStamp."""
    if not STAMP.fullmatch(text):
        raise BadStamp("Must be an ISO 8601 date and time, such as 2026-11-21T09:30:00Z.")
    try:
        # Python 3.11 knows no small z.
        stamp = datetime.fromisoformat(text.upper())
        assumed = stamp.tzinfo is None
        return (stamp.replace(tzinfo=zone) if assumed else stamp).astimezone(UTC), assumed
    except (ValueError, OverflowError) as error:
        raise BadStamp(f"Not a date and time: {str(error).rstrip('.')}.") from error


def parse_period(query: Mapping[str, str], zone: tzinfo) -> Period:
    """`start` and `end` of a request, each optional; naive ones in `zone`. Raises BadPeriod."""
    bounds = {name: parse_bound(name, query.get(name), zone) for name in ("start", "end")}
    period = Period(**bounds)
    if period.start and period.end and period.start >= period.end:
        raise BadPeriod("start", "Must be before end.")
    return period


def parse_bound(name: str, text: object, zone: tzinfo) -> datetime | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise BadPeriod(name, "Must be a string.")
    # In a query string a bare + of an offset arrives as a space.
    try:
        return parse_stamp(re.sub(r" (\d{2}:?\d{2})$", r"+\1", text) if "T" in text else text, zone)[0]
    except BadStamp as error:
        raise BadPeriod(name, str(error)) from error
