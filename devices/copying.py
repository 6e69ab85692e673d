"""Readings from one storage to another, by device and day; each day is compared before and after.

A day is the same on both sides if it has as many readings, and the sum of a hash of each, of its stamp and
values to the last bit, is the same. Days that are the same are left alone: killed at any point, or run again
because readings have come in meanwhile, it copies only what differs.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from devices import store
from devices.models import Device
from devices.spans import START, Span
from devices.storage import Day, Rows, Storage

DAY = 86_400_000_000
# Days before 2000, from which spans count.
DAYS_BEFORE = (START.date() - START.date().replace(year=1970)).days
# Readings that are carried at a time.
READINGS_AT_ONCE = 200_000
NOTHING = Day(0, 0)

# Called with what is going on, and how much of how much is done.
Tell = Callable[[str, int, int], None]


class Difference(NamedTuple):
    """A device's day, in days since 1970, that is not the same on both sides."""

    device: Device
    day: int
    source: Day
    target: Day

    @property
    def span(self) -> Span:
        start = (self.day - DAYS_BEFORE) * DAY
        return Span(self.device.pk, start, start + DAY)


def differences(source: Storage, target: Storage, device: Device) -> list[Difference]:
    """The days of a device that are not the same, in order."""
    before, after = source.days(device.pk), target.days(device.pk)
    days = ((day, before.get(day, NOTHING), after.get(day, NOTHING)) for day in sorted({*before, *after}))
    return [Difference(device, day, ours, theirs) for day, ours, theirs in days if ours != theirs]


def compare(source: Storage, target: Storage, devices: Sequence[Device], tell: Tell) -> list[Difference]:
    found = []
    for number, device in enumerate(devices, start=1):
        found += differences(source, target, device)
        tell("Comparing", number, len(devices))
    return found


def copy(
    source: Storage, target: Storage, devices: Sequence[Device], tell: Tell, *, is_live: bool
) -> list[Difference]:
    """Bring every day that differs; returns those that differ still.

    `is_live`: the target is what the portal writes to already. Then nothing there is deleted, and what it has
    more than the source is no difference: it has come since.
    """
    found = compare(source, target, devices, tell)
    total, done = sum(one.source.count for one in found), 0
    if not is_live:
        target.remove([one.span for one in found if not one.source.count])
    for difference in found:
        copy_day(source, target, difference, is_live=is_live)
        done += difference.source.count
        tell("Copying", done, max(total, 1))
    touched = {difference.device.pk: difference.device for difference in found}
    left = compare(source, target, list(touched.values()), tell)
    return [difference for difference in left if not (is_live and has_all(source, target, difference))]


def copy_day(source: Storage, target: Storage, difference: Difference, *, is_live: bool) -> None:
    for piece in pieces(difference) if difference.source.count else ():
        rows = source.rows_of(piece)
        if difference.target.count:
            missing, surplus = compared(rows, target.rows_of(piece))
            if surplus and not is_live:
                target.remove([piece])
            else:
                rows = missing
        if rows.payload:
            target.take_over(rows)


def has_all(source: Storage, target: Storage, difference: Difference) -> bool:
    """Whether the target has at least what the source has."""
    return not any(
        compared(source.rows_of(piece), target.rows_of(piece))[0].payload for piece in pieces(difference)
    )


def pieces(difference: Difference) -> list[Span]:
    """Of the day, of as many readings as may be carried at a time, if they come evenly."""
    span = difference.span
    number = -(-max(difference.source.count, difference.target.count) // READINGS_AT_ONCE)
    bounds = [span.start + DAY * i // number for i in range(number + 1)]
    return [Span(span.device_id, start, end) for start, end in pairwise(bounds)]


def compared(source: Rows, target: Rows) -> tuple[Rows, int]:
    """What the source has more often than the target, and how many the target has more often."""
    ours, theirs = counted(source), counted(target)
    missing = b"".join((ours - theirs).elements())
    times = store.senders(missing)[1] + store.PG_EPOCH if missing else np.empty(0, np.int64)
    return Rows(missing, times), (theirs - ours).total()


def counted(rows: Rows) -> Counter[bytes]:
    """Each row, and how often it is there."""
    tables = store.tables(rows.payload)
    return Counter(row.tobytes() for table in tables for row in table)
