"""Texts of moments and durations. pages/relative_times.js writes the same relative times."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

# Seconds, unit, and the number of units in the next larger one.
SPANS = ((86400, "d", 10**9), (3600, "h", 24), (60, "min", 60), (1, "s", 60))
JUST_NOW_SECONDS = 2


def moment_text(time: datetime, zone: tzinfo, *, to_microsecond: bool = False) -> tuple[str, str]:
    """Date and time of day to the second, and the offset, which tells apart an hour that occurs twice."""
    shown = in_zone(time, zone)
    date, rest = (shown if to_microsecond else shown.replace(microsecond=0)).isoformat().split("T")
    clock, sign, offset = re.split("([+-])", rest, maxsplit=1)
    return f"{date} {clock}", sign + offset


def in_zone(time: datetime, zone: tzinfo) -> datetime:
    try:
        return time.astimezone(zone)
    except OverflowError:  # within hours of year 1 or 9999
        return time.astimezone(UTC)


def iso_text(time: datetime) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def relative_text(time: datetime, now: datetime) -> str:
    """“3 min ago” or “in 3 min”, in the largest unit that fits, rounded down."""
    seconds = (now - time).total_seconds()
    if abs(seconds) < JUST_NOW_SECONDS:
        return "just now"
    text = duration_text(abs(seconds))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration_text(seconds: float) -> str:
    """A duration in the largest unit that fits, rounded down."""
    whole = max(0, int(seconds))
    size, unit = next(((size, unit) for size, unit, _ in SPANS if whole >= size), (1, "s"))
    return f"{whole // size} {unit}"


def two_units_text(duration: timedelta) -> str:
    """A duration in its two largest units; below ten seconds to a tenth."""
    seconds = duration.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    parts = [(total // size % limit, unit) for size, unit, limit in SPANS]
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
