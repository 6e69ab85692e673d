"""Template filters for numbers and timestamps; charts/chart_text.js repeats two for legends."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from django import template
from django.utils.html import format_html

register = template.Library()

# Digits after the first READABLE_DIGITS are shown muted, never dropped: people check and copy them.
READABLE_DIGITS = 6
NOTHING = "\N{EM DASH}"
# Seconds, unit, and the number of units in the next larger one.
SPANS = ((86400, "d", 10**9), (3600, "h", 24), (60, "min", 60), (1, "s", 60))
AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@register.filter
def number(value: float | Literal[""] | None) -> str:
    """Format a double as the shortest decimal that reads back as the same double.

    The style sheet aligns decimal points by `data-places`, the number of digits before the point.
    """
    if value is None or value == "":
        return NOTHING
    text = exact(value)
    whole = re.findall(r"-?\d+", text)[0]
    cut = len(whole) + readable_length(whole, text[len(whole) :])
    return format_html(
        '<data class="number" value="{}" data-places="{}">{}<span class="tail">{}</span></data>',
        text,
        len(whole.lstrip("-")),
        text[:cut],
        text[cut:],
    )


def exact(value: float) -> str:
    """`repr` as JavaScript writes it: 1 for 1.0, 1e-7 for 1e-07."""
    return re.sub(r"e([+-])0", r"e\1", repr(value)).removesuffix(".0")


def readable_length(whole: str, rest: str) -> int:
    """The number of characters of `rest`, decimals with their point or an exponent, that are not muted."""
    digits = whole.lstrip("-")
    if "e" in rest:
        return len(rest)
    if digits == "0":
        return len(rest) - len(rest.lstrip(".0")) + READABLE_DIGITS
    return max(0, READABLE_DIGITS - len(digits)) + 1


@register.filter
def stamp(time: datetime, zone: tzinfo) -> str:
    """Format a time in `zone` to the microsecond; the offset tells apart an hour that occurs twice."""
    return time_element(time, in_zone(time, zone), zone)


@register.filter
def moment(time: datetime, zone: tzinfo) -> str:
    """Format a time to the second, with the microseconds in the tooltip; not for measurements."""
    return time_element(time, in_zone(time, zone).replace(microsecond=0), zone)


def time_element(time: datetime, shown: datetime, zone: tzinfo) -> str:
    machine = time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    date, clock, offset = stamp_parts(shown)
    # Pages in UTC say so once; in other zones each timestamp has its offset.
    suffix = "" if str(zone) == "UTC" else format_html(' <span class="offset">{}</span>', offset)
    return format_html('<time datetime="{0}" title="{0}">{1} {2}{3}</time>', machine, date, clock, suffix)


def in_zone(time: datetime, zone: tzinfo) -> datetime:
    try:
        return time.astimezone(zone)
    except OverflowError:  # within hours of year 1 or 9999
        return time.astimezone(UTC)


def stamp_parts(time: datetime) -> tuple[str, str, str]:
    """Split a time into date, time of day and offset."""
    date, rest = time.isoformat().split("T")
    clock, sign, offset = re.split("([+-])", rest, maxsplit=1)
    return date, clock, sign + offset


@register.filter
def age(time: datetime, now: datetime) -> str:
    """The age of a time in the largest unit that fits, rounded down."""
    return duration(now - time)


@register.filter
def span(seconds: float | None) -> str:
    """Format a duration in its two largest units; below ten seconds to a tenth."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    parts = [(total // size % limit, unit) for size, unit, limit in SPANS]
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def duration(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    size, unit = next(((size, unit) for size, unit in AGES if seconds >= size), AGES[-1])
    return f"{seconds // size} {unit}"
