"""Corrections: make and lift exclusions, which leave readings out of statistics for a stated reason.

Readings themselves never change. An exclusion is a rule that also covers late readings of its period. Making
or lifting one makes results stale and is noted in the change log in the same transaction.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from devices import limits, storage
from devices.models import Device, Exclusion
from devices.storage import change_log
from devices.timeline.periods import Period
from devices.timeline.spans import Span

MICROSECOND = timedelta(microseconds=1)


class NoSuchReading(ValueError):
    """No stored reading has this timestamp and these values."""


class Extent(NamedTuple):
    """The readings of a half-open period, or with `values` only those with exactly these values."""

    start_time: datetime
    end_time: datetime
    values: list[float] | None = None


def of_reading(device: Device, time: datetime, values: list[float]) -> Extent:
    """The extent of one reading, and of all that equal it in timestamp and values. Raises NoSuchReading."""
    try:
        end = time + MICROSECOND
    except OverflowError as error:
        raise NoSuchReading("There is no such reading.") from error
    if not storage.current().has(device.pk, time, values):
        raise NoSuchReading("There is no such reading.")
    return Extent(time, end, values)


@transaction.atomic
def make(device: Device, extent: Extent, *, reason: str, by: str, now: datetime) -> Exclusion:
    """Exclude readings; `by` is the login of the person who does it. Raises LimitReached."""
    limits.require_room_for_exclusion(device)
    exclusion = Exclusion(device=device, **extent._asdict(), reason=reason, made_by=by, made_at=now)
    exclusion.save(force_insert=True)
    note(exclusion)
    return exclusion


@transaction.atomic
def lift(exclusion: Exclusion, *, by: str, now: datetime) -> bool:
    """Lift the exclusion; return False if it was lifted already. `by` is a login."""
    in_force = Exclusion.objects.in_force().filter(pk=exclusion.pk)
    if in_force.update(lifted_by=by, lifted_at=now) == 0:
        return False
    note(exclusion)
    return True


def note(exclusion: Exclusion) -> None:
    """Note that results and segments of the exclusion's period are no longer valid."""
    period = Period(exclusion.start_time, exclusion.end_time)
    change_log.note_change(Span.of(exclusion.device_id, period))
