"""Copies readings from one storage to another, by device and day; each day is verified before and after.

A day is the same on both sides if the number of its readings and the sum of their hashes are, see
`Storage.days`. Days that are the same are left alone. So a copy that was killed, or is repeated because
readings came in meanwhile, copies only what differs.
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
from devices.timeline.instants import PgMicroseconds, UnixTimes, pg_to_unix, unix_day_start
from devices.timeline.spans import Span

# Readings in memory at a time, and in one insert.
READINGS_AT_ONCE = 200_000
NO_READINGS = DayChecksum(0, 0)

# Called with the current activity, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]


class Difference(NamedTuple):
    """A device's day that is not the same on both sides; `day` counts from 1970-01-01."""

    device: Device
    day: int
    source: DayChecksum
    target: DayChecksum

    @property
    def span(self) -> Span:
        return Span(self.device.pk, unix_day_start(self.day), unix_day_start(self.day + 1))


class Surplus(Enum):
    """The treatment of readings that only the target has."""

    DIFFERS = "reported as a difference"
    DELETED = "deleted"
    # The portal already writes to the target.
    NEW = "no difference"


def copy(
    source: Storage, target: Storage, devices: Sequence[Device], tell: Tell, surplus: Surplus
) -> list[Difference]:
    """Copy the days that differ; returns those that still differ afterwards."""
    found = compare(source, target, devices, tell)
    may_delete = surplus is Surplus.DELETED
    if may_delete:
        target.remove([day.span for day in found if not day.source.count])
    batch = InsertBatch(target)
    total, done = sum(day.source.count for day in found), 0
    for stretch in stretches(found):
        for piece in pieces(stretch):
            batch.add(missing(source, target, stretch, piece, may_delete=may_delete))
        done += stretch.readings
        tell("Copying", done, total)
    batch.insert()
    touched = {day.device.pk: day.device for day in found}
    left = compare(source, target, list(touched.values()), tell)
    if surplus is Surplus.NEW:
        return [day for day in left if not has_all(source, target, day)]
    return left


# --- Comparing days


def compare(source: Storage, target: Storage, devices: Sequence[Device], tell: Tell) -> list[Difference]:
    found = []
    for number, device in enumerate(devices, start=1):
        found += differences(source, target, device)
        tell("Comparing", number, len(devices))
    return found


def differences(source: Storage, target: Storage, device: Device) -> list[Difference]:
    """Return the days of a device that are not the same, in order."""
    ours, theirs = source.days(device.pk), target.days(device.pk)
    days = (
        Difference(device, day, ours.get(day, NO_READINGS), theirs.get(day, NO_READINGS))
        for day in sorted({*ours, *theirs})
    )
    return [day for day in days if day.source != day.target]


def has_all(source: Storage, target: Storage, day: Difference) -> bool:
    """Tell whether the target has at least the readings that the source has."""
    readings = max(day.source.count, day.target.count)
    return not any(
        subtract(source.rows_of(piece), target.rows_of(piece))[0].payload
        for piece in pieces(Stretch(day.span, readings, is_new=False))
    )


# --- Carrying days in few, bounded steps


class Stretch(NamedTuple):
    """Days that follow each other and are new to the target, or one day that the target has in part."""

    span: Span
    readings: int
    is_new: bool


def stretches(found: Iterable[Difference]) -> Iterator[Stretch]:
    """Join days, which are in order, into stretches; days without readings in the source are left out."""
    last: Stretch | None = None
    for day in found:
        if not day.source.count:
            continue
        this = Stretch(day.span, day.source.count, is_new=not day.target.count)
        if last is not None and can_join(last, this):
            span = last.span._replace(end=this.span.end)
            last = Stretch(span, last.readings + this.readings, is_new=True)
            continue
        if last is not None:
            yield last
        last = this
    if last is not None:
        yield last


def can_join(last: Stretch, this: Stretch) -> bool:
    follows = (last.span.device_id, last.span.end) == (this.span.device_id, this.span.start)
    return follows and last.is_new and this.is_new and last.readings + this.readings <= READINGS_AT_ONCE


def pieces(stretch: Stretch) -> list[Span]:
    """Split a stretch into spans of READINGS_AT_ONCE readings, if these are evenly distributed."""
    device_id, start, end = stretch.span
    number = -(-stretch.readings // READINGS_AT_ONCE)
    bounds = [PgMicroseconds(start + (end - start) * i // number) for i in range(number + 1)]
    return [Span(device_id, first, last) for first, last in pairwise(bounds)]


def missing(source: Storage, target: Storage, stretch: Stretch, piece: Span, *, may_delete: bool) -> Rows:
    """Return the rows of the piece that the target lacks.

    If the target has a surplus that may be deleted, all of the piece is deleted there, and is missing.
    """
    rows = source.rows_of(piece)
    if stretch.is_new:
        return rows
    lacking, surplus = subtract(rows, target.rows_of(piece))
    if not may_delete or not surplus:
        return lacking
    target.remove([piece])
    return rows


class InsertBatch:
    """Collects rows for few large inserts, even if each device and day has few readings."""

    def __init__(self, target: Storage) -> None:
        self.target = target
        self.rows: list[Rows] = []
        self.readings = 0

    def add(self, rows: Rows) -> None:
        self.rows.append(rows)
        self.readings += len(rows.times)
        if self.readings >= READINGS_AT_ONCE:
            self.insert()

    def insert(self) -> None:
        if self.readings:
            times = UnixTimes(np.concatenate([rows.times for rows in self.rows]))
            payload = b"".join(rows.payload for rows in self.rows)
            self.target.take_over(Rows(payload, times))
        self.rows, self.readings = [], 0


# --- Comparing rows


def subtract(source: Rows, target: Rows) -> tuple[Rows, int]:
    """Return the rows that the source has more often, and how many rows the target has more often."""
    ours, theirs = row_counts(source), row_counts(target)
    lacking = b"".join((ours - theirs).elements())
    if not lacking:
        return Rows(b"", ()), (theirs - ours).total()
    times = pg_to_unix(row_codec.devices_and_times(lacking)[1])
    return Rows(lacking, times), (theirs - ours).total()


def row_counts(rows: Rows) -> Counter[bytes]:
    tables = row_codec.split_by_width(rows.payload)
    return Counter(row.tobytes() for table in tables for row in table)
