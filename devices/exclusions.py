"""Corrections: readings that statistics leave out, for a reason that is kept, until that is taken back.

A reading itself never changes. An exclusion is a rule: late readings of its period are left out as well.
Making and lifting one changes what results are about, and is noted as such in the same transaction.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from devices import storage
from devices.models import Device, Exclusion
from devices.storage import change_log
from devices.timeline.periods import Period
from devices.timeline.spans import Span

MICROSECOND = timedelta(microseconds=1)


class NoSuchReading(ValueError):
    """Nothing stored has this stamp and these values."""


class Extent(NamedTuple):
    """What is left out: all of the half-open period, or with `values` only what has exactly these."""

    start_time: datetime
    end_time: datetime
    values: list[float] | None = None


def of_reading(device: Device, time: datetime, values: list[float]) -> Extent:
    """Raises NoSuchReading. Readings equal in stamp and values cannot be told apart: it is of all of them."""
    try:
        end = time + MICROSECOND
    except OverflowError as error:
        raise NoSuchReading("There is no such reading.") from error
    if not storage.current().has(device.pk, time, values):
        raise NoSuchReading("There is no such reading.")
    return Extent(time, end, values)


@transaction.atomic
def make(device: Device, extent: Extent, *, reason: str, by: str, now: datetime) -> Exclusion:
    """`by` is a login."""
    exclusion = Exclusion(device=device, **extent._asdict(), reason=reason, made_by=by, made_at=now)
    exclusion.save(force_insert=True)
    note(exclusion)
    return exclusion


@transaction.atomic
def lift(exclusion: Exclusion, *, by: str, now: datetime) -> bool:
    """Whether this call lifted it; who comes second changes nothing."""
    in_force = Exclusion.objects.in_force().filter(pk=exclusion.pk)
    if in_force.update(lifted_by=by, lifted_at=now) == 0:
        return False
    note(exclusion)
    return True


def note(exclusion: Exclusion) -> None:
    """No result, and no segment, about its period holds any longer."""
    period = Period(exclusion.start_time, exclusion.end_time)
    change_log.note_change(Span.of(exclusion.device_id, period))
