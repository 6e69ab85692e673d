"""Readings from one storage to another, by device and day; each day is compared before and after.

A day is the same on both sides if it has as many readings, and the sum of a hash of each, of its stamp and
values to the last bit, is the same. Days that are the same are left alone: killed at any point, or run again
because readings have come in meanwhile, it copies only what differs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from devices.models import Device
from devices.storage import row_codec
from devices.storage.interface import DayChecksum, Rows, Storage
from devices.timeline.instants import PG_EPOCH, PG_EPOCH_IN_UNIX
from devices.timeline.spans import Span

DAY = 86_400_000_000
# Days before 2000, from which spans count.
DAYS_BEFORE = (PG_EPOCH.date() - PG_EPOCH.date().replace(year=1970)).days
# Readings that are carried at a time.
READINGS_AT_ONCE = 200_000
NOTHING = DayChecksum(0, 0)

# Called with what is going on, and how much of how much is done.
Tell = Callable[[str, int, int], None]


class Difference(NamedTuple):
    """A device's day, in days since 1970, that is not the same on both sides."""

    device: Device
    day: int
    source: DayChecksum
    target: DayChecksum

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


class Surplus(Enum):
    """What becomes of what only the target has."""

    DIFFERS = "it is told"
    DELETED = "it is deleted"
    # The portal writes there already.
    NEW = "it is no difference"


def copy(
    source: Storage, target: Storage, devices: Sequence[Device], tell: Tell, surplus: Surplus
) -> list[Difference]:
    """Bring every day that differs; returns those that differ still."""
    found = compare(source, target, devices, tell)
    may_delete = surplus is Surplus.DELETED
    if may_delete:
        target.remove([one.span for one in found if not one.source.count])
    carrier = Carrier(target)
    total, done = sum(one.source.count for one in found), 0
    for stretch in stretches(found):
        for piece in pieces(stretch):
            carrier.add(missing(source, target, stretch, piece, may_delete=may_delete))
        done += stretch.readings
        tell("Copying", done, total)
    carrier.unload()
    touched = {difference.device.pk: difference.device for difference in found}
    left = compare(source, target, list(touched.values()), tell)
    return [
        difference
        for difference in left
        if not (surplus is Surplus.NEW and has_all(source, target, difference))
    ]


class Stretch(NamedTuple):
    """Days that follow each other, of which the source has so many readings; or one that is there in part."""

    span: Span
    readings: int
    is_new: bool


def stretches(found: Iterable[Difference]) -> Iterator[Stretch]:
    """Of the days, in order, of which the source has anything."""
    last: Stretch | None = None
    for one in found:
        if not one.source.count:
            continue
        this = Stretch(one.span, one.source.count, is_new=not one.target.count)
        if last is not None and is_one(last, this):
            span = last.span._replace(end=this.span.end)
            last = Stretch(span, last.readings + this.readings, is_new=True)
            continue
        if last is not None:
            yield last
        last = this
    if last is not None:
        yield last


def is_one(last: Stretch, this: Stretch) -> bool:
    follows = (last.span.device_id, last.span.end) == (this.span.device_id, this.span.start)
    return follows and last.is_new and this.is_new and last.readings + this.readings <= READINGS_AT_ONCE


def missing(source: Storage, target: Storage, stretch: Stretch, piece: Span, *, may_delete: bool) -> Rows:
    """What the target is to get of it, where all of it is deleted first if that has more."""
    rows = source.rows_of(piece)
    if stretch.is_new:
        return rows
    new, surplus = compared(rows, target.rows_of(piece))
    if not may_delete or not surplus:
        return new
    target.remove([piece])
    return rows


class Carrier:
    """Few large inserts, however little there is of a device and a day."""

    def __init__(self, target: Storage) -> None:
        self.target = target
        self.load: list[Rows] = []
        self.readings = 0

    def add(self, rows: Rows) -> None:
        self.load.append(rows)
        self.readings += len(rows.times)
        if self.readings >= READINGS_AT_ONCE:
            self.unload()

    def unload(self) -> None:
        if self.readings:
            times = np.concatenate([rows.times for rows in self.load])
            payload = b"".join(rows.payload for rows in self.load)
            self.target.take_over(Rows(payload, times))
        self.load, self.readings = [], 0


def has_all(source: Storage, target: Storage, difference: Difference) -> bool:
    """Whether the target has at least what the source has."""
    readings = max(difference.source.count, difference.target.count)
    return not any(
        compared(source.rows_of(piece), target.rows_of(piece))[0].payload
        for piece in pieces(Stretch(difference.span, readings, is_new=False))
    )


def pieces(stretch: Stretch) -> list[Span]:
    """Of as many readings as may be carried at a time, if they come evenly."""
    device_id, start, end = stretch.span
    number = -(-stretch.readings // READINGS_AT_ONCE)
    bounds = [start + (end - start) * i // number for i in range(number + 1)]
    return [Span(device_id, first, last) for first, last in pairwise(bounds)]


def compared(source: Rows, target: Rows) -> tuple[Rows, int]:
    """What the source has more often than the target, and how many the target has more often."""
    ours, theirs = counted(source), counted(target)
    missing = b"".join((ours - theirs).elements())
    times = row_codec.devices_and_times(missing)[1] + PG_EPOCH_IN_UNIX if missing else np.empty(0, np.int64)
    return Rows(missing, times), (theirs - ours).total()


def counted(rows: Rows) -> Counter[bytes]:
    """Each row, and how often it is there."""
    tables = row_codec.split_by_width(rows.payload)
    return Counter(row.tobytes() for table in tables for row in table)
