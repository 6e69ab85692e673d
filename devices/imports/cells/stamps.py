"""Stamps as people write them: ISO 8601, day or month first, or numbers counted from an epoch."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction

import numpy as np

from devices.ingestion.batch_stamps import has_form, parse_batch_texts, since_1970
from devices.timeline.instants import (
    MICROSECONDS_PER_SECOND,
    UnixMicroseconds,
    UnixTimes,
    from_unix_microseconds,
    unix_microseconds,
)
from devices.timeline.periods import BadStamp, parse_stamp
from devices.timeline.unix_time import PRECISIONS, parse_number

ORDERS = {
    "year": "Year first, 2026-12-31",
    "day": "Day first, 31.12.2026",
    "month": "Month first, 12/31/2026",
}
EXCEL = "excel"
UNITS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    EXCEL: "Excel’s days since 1900",
}
# Excel's day 60 is the 29th of February 1900, which never was: from then on days count from here.
EXCEL_EPOCH = datetime(1899, 12, 30)
CLOCK = (
    r"(?:(?:[T ]|, ?)\s*(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<offset>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
YEAR_FIRST = re.compile(
    r"(?P<year>[0-9]{4})(?P<mark>[-/.])(?P<a>[0-9]{1,2})(?P=mark)(?P<b>[0-9]{1,2})" + CLOCK
)
YEAR_LAST = re.compile(
    r"(?P<a>[0-9]{1,2})(?P<mark>[-/.])(?P<b>[0-9]{1,2})(?P=mark)(?P<year>[0-9]{4}|[0-9]{2})" + CLOCK
)
# As ISO 8601 writes it without marks; eight digits alone are a number.
COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})[T ]([0-9]{2})([0-9]{2})([0-9]{2})?(Z?)")
NUMBER = re.compile(r"(-?[0-9]{1,25})(?:[.,]([0-9]{1,12}))?")
# Numbers below are in the unit: seconds reach the year 5138, Excel's days the years 1954 to 2119.
SIZES = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
EXCEL_DAYS = range(20_000, 80_000)
# Two digits of a year: up to 68 of this century, as POSIX has it.
CENTURY_ENDS = 68
# Before 1972 zones had offsets with seconds: then each stamp is converted alone.
ROUND_OFFSETS = unix_microseconds(datetime(1972, 1, 1, tzinfo=UTC))
MINUTE = 60 * MICROSECONDS_PER_SECOND
LONGEST = 64


def parse(text: str, order: str, unit: str, zone: tzinfo) -> tuple[UnixMicroseconds, bool]:
    """Return microseconds since 1970, and whether `zone` was assumed. Raises BadStamp."""
    cell = text.strip()
    if not cell:
        raise BadStamp("Is empty.")
    number = NUMBER.fullmatch(cell)
    if number is not None:
        return from_number(Fraction(f"{number[1]}.{number[2] or 0}"), unit, zone)
    time, is_naive = parse_stamp(as_iso(cell, order), zone)
    return unix_microseconds(time), is_naive


def from_number(number: Fraction, unit: str, zone: tzinfo) -> tuple[UnixMicroseconds, bool]:
    if unit != EXCEL:
        return parse_number(number, PRECISIONS[unit]), False
    try:
        # Excel shows milliseconds; a double of days holds no more.
        local = EXCEL_EPOCH + timedelta(milliseconds=round(number * 86_400_000))
        return unix_microseconds(local.replace(tzinfo=zone).astimezone(UTC)), True
    except OverflowError as error:
        raise BadStamp("Not a date and time: the year must be 1 to 9999.") from error


def as_iso(cell: str, order: str) -> str:
    """Rewrite a date, with or without a time, as ISO 8601. Raises BadStamp."""
    compact = COMPACT.fullmatch(cell)
    if compact is not None:
        year, month, day, hour, minute, second, end = compact.groups()
        return f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}{end}"
    found = YEAR_FIRST.fullmatch(cell) or (None if order == "year" else YEAR_LAST.fullmatch(cell))
    if found is None or len(cell) > LONGEST:
        raise BadStamp(f"Is not a date and time. Expected: {ORDERS[order]}, and a time such as 14:05.")
    month, day = (found["b"], found["a"]) if is_day_first(found, order) else (found["a"], found["b"])
    return f"{full_year(found['year'])}-{month:0>2}-{day:0>2}{clock_of(found)}"


def is_day_first(found: re.Match[str], order: str) -> bool:
    return order == "day" and found.re is YEAR_LAST


def full_year(text: str) -> str:
    if len(text) == 4:
        return text
    return f"20{text}" if int(text) <= CENTURY_ENDS else f"19{text}"


def clock_of(found: re.Match[str]) -> str:
    """Write the time of day and the offset as ISO 8601 has them. Raises BadStamp."""
    if found["hour"] is None:
        return ""
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            raise BadStamp("Not a date and time: an hour of AM or PM is 1 to 12.")
        hour = hour % 12 + (12 if found["half"] in "pP" else 0)
    fraction = f".{found['fraction']}" if found["fraction"] else ""
    offset = "Z" if found["offset"] in ("UTC", "GMT") else found["offset"] or ""
    return f"T{hour:02}:{found['minute']}:{found['second'] or '00'}{fraction}{offset}"


# --- A column at once


def parse_usual(texts: Sequence[str], order: str, zone: tzinfo) -> tuple[UnixTimes, bool] | None:
    """Read a column whose stamps all have one usual form, at a tenth of the cost; else None."""
    if not texts or len(texts[0]) < len("0000-00-00 00:00"):
        return None
    if texts[0][-1] == "Z" or texts[0][-6:-5] in ("+", "-"):
        times = parse_batch_texts(texts)
        return None if times is None else (times, False)
    local = local_times(texts, order)
    return None if local is None or local.min() < ROUND_OFFSETS else (to_utc(local, zone), True)


def local_times(texts: Sequence[str], order: str) -> UnixTimes | None:
    """Read stamps without offsets as microseconds since 1970 on the clock of their own zone."""
    length, joined = len(texts[0]), "".join(texts)
    if set(map(len, texts)) != {length} or not joined.isascii() or length > len("0000-00-00 00:00:00.000000"):
        return None
    table = np.frombuffer(joined.encode(), np.uint8).reshape(-1, length).copy()
    if table[0, 4] not in b"-/." and order != "year":
        year, first, second = table[:, 6:10].copy(), table[:, 0:2].copy(), table[:, 3:5].copy()
        marks = table[:, [2, 5]].copy()
        month, day = (second, first) if order == "day" else (first, second)
        for place, part in ((0, year), (5, month), (8, day)):
            table[:, place : place + part.shape[1]] = part
        table[:, [4, 7]] = marks
    if not ((table[:, 4] == table[:, 7]).all() and np.isin(table[:, 4], list(b"-/.")).all()):
        return None
    table[:, [4, 7]] = ord("-")
    table[:, 10] = np.where(table[:, 10] == ord(" "), ord("T"), table[:, 10])
    if length not in (16, 19, *range(21, 27)) or not has_form(table, ISO_FORM):
        return None
    times = since_1970(table)
    return None if times is None else UnixTimes(times)


ISO_FORM = np.frombuffer(b"0000-00-00T00:00:00.000000", np.uint8)


def to_utc(local: UnixTimes, zone: tzinfo) -> UnixTimes:
    """Subtract the zone's offsets, each asked for once a minute of the local clock."""
    minutes, places = np.unique(local // MINUTE, return_inverse=True)
    offsets = [
        (from_unix_microseconds(UnixMicroseconds(minute * MINUTE)).replace(tzinfo=zone).utcoffset())
        for minute in minutes.tolist()
    ]
    behind = [0 if offset is None else offset // timedelta(microseconds=1) for offset in offsets]
    return UnixTimes(local - np.array(behind, np.int64)[places])


# --- Guesses


def is_stamp(text: str) -> bool:
    """Tell whether the text is a date, with or without a time, in any order; numbers are none."""
    cell = text.strip()
    return any(form.fullmatch(cell) for form in (YEAR_FIRST, YEAR_LAST, COMPACT))


def guess_order(texts: Iterable[str]) -> tuple[str, bool]:
    """Guess which of day and month comes first; also tell whether both were possible."""
    found = [match for text in texts if (match := YEAR_LAST.fullmatch(text.strip()))]
    if not found:
        return "year", False
    if any(int(match["a"]) > 12 for match in found):
        return "day", False
    if any(int(match["b"]) > 12 for match in found):
        return "month", False
    if any(match["half"] for match in found):
        return "month", True
    # Who writes dots writes the day first.
    return "day", found[0]["mark"] != "."


def guess_unit(texts: Iterable[str]) -> str:
    """Guess the unit of stamps that are numbers by their size."""
    numbers = sorted(abs(int(match[1])) for text in texts if (match := NUMBER.fullmatch(text.strip())))
    if not numbers:
        return "s"
    middle = numbers[len(numbers) // 2]
    if middle in EXCEL_DAYS:
        return EXCEL
    return next((unit for limit, unit in SIZES if middle < limit), "ns")
