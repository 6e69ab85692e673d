"""Time ranges as an address writes them: `from=now-24h&to=now`, `from=yesterday&to=today`, or two stamps.

A range that names `now`, `today` or `yesterday` moves as time passes; one of two stamps stands still.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from devices.timeline.periods import BadPeriod, Period, parse_bound

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
BEFORE_NOW = re.compile(r"now-(\d{1,5})([smhdw])", re.ASCII)
DAYS = {"today": 0, "yesterday": -1}
# Open bounds: `first` is the first reading.
OPEN = ("", "first")
# The oldest and the newest moment of a reading, and so of a range.
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
FORMS = "Must be now, now-24h, today, yesterday, first or a date and time, such as 2026-11-21T09:30."


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A period and how the address writes it. Half open; an empty start and `first` are the first reading."""

    start_text: str
    end_text: str
    period: Period

    @property
    def moves(self) -> bool:
        return any(is_moving(text) for text in (self.start_text, self.end_text))

    @property
    def query(self) -> dict[str, str]:
        """The parameters that `parse_time_range` reads."""
        return {"from": self.start_text, "to": self.end_text}


def parse_time_range(query: Mapping[str, str], zone: tzinfo, now: datetime) -> TimeRange | None:
    """Read `from` and `to`; None if neither is there. Days begin, and stamps without offset are, in `zone`.

    Raises BadPeriod, whose field is `from` or `to`.
    """
    texts = {name: query.get(name, "").strip() for name in ("from", "to")}
    if not any(texts.values()):
        return None
    start, end = (moment(name, text, zone, now) for name, text in texts.items())
    if (start or FIRST) >= (end or LAST):
        raise BadPeriod("from", "Must be before to.")
    return TimeRange(texts["from"], texts["to"], Period(start, end))


def moment(name: str, text: str, zone: tzinfo, now: datetime) -> datetime | None:
    """The moment that a bound names; None for an empty one. Raises BadPeriod."""
    if text in OPEN:
        return None
    if text == "now":
        return now
    if text in DAYS:
        return midnight(now, zone, DAYS[text])
    if found := BEFORE_NOW.fullmatch(text):
        return now - timedelta(seconds=int(found[1]) * SECONDS[found[2]])
    if not text[0].isdigit():
        raise BadPeriod(name, FORMS)
    return parse_bound(name, text, zone)


def midnight(now: datetime, zone: tzinfo, days: int) -> datetime:
    """The beginning of the day so many days after today's."""
    date = now.astimezone(zone).date() + timedelta(days=days)
    return datetime.combine(date, time(), zone).astimezone(UTC)


def is_moving(text: str) -> bool:
    return text.startswith("now") or text in DAYS


def shifted(period: Period, lengths: int) -> TimeRange | None:
    """The period moved by so many of its lengths; None if a bound is open or would leave the calendar."""
    if period.start is None or period.end is None:
        return None
    step = lengths * (period.end - period.start)
    if not (FIRST - period.start <= step <= LAST - period.end):
        return None
    return fixed(period.start + step, period.end + step)


def fixed(start: datetime, end: datetime) -> TimeRange:
    """A range that stands still."""
    return TimeRange(stamp_text(start), stamp_text(end), Period(start, end))


def local_text(time: datetime, zone: tzinfo) -> str:
    """As <input type="datetime-local"> has it, rounded down to the second."""
    try:
        local = time.astimezone(zone)
    except OverflowError:
        # In the zone it is a moment before the first year or after the last one.
        local = datetime.min if time.year < LAST.year else datetime.max
    return local.replace(tzinfo=None).isoformat(timespec="seconds")


def stamp_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
