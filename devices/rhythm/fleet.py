"""The states of very many devices at once: two queries, and arrays instead of objects.

A list filtered by state asks for all devices that somebody may see. They get the states that
`habits.state_of` gives each of them, except that what is learnt of a device is not taken from the cache.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from devices import storage
from devices.models import DeviceQuerySet
from devices.rhythm.habits import READINGS, UNKNOWN_INTERVAL_SECONDS
from devices.rhythm.state import State, state_after
from devices.storage.interface import DevicesAndTimes
from devices.timeline.instants import (
    MICROSECONDS_PER_SECOND,
    PgMicroseconds,
    PgTimes,
    unix_microseconds,
    unix_to_pg,
)


class Rhythm(NamedTuple):
    newest: PgMicroseconds
    # None if readings of one time teach no interval.
    interval_seconds: float | None


def devices_in_state(devices: DeviceQuerySet, state: State, now: datetime) -> DeviceQuerySet:
    """Those of the devices that are in this state."""
    if state == State.DISABLED:
        return devices.filter(is_active=False)
    interval = Coalesce(F("expected_interval_seconds"), F("profile__expected_interval_seconds"))
    active = devices.filter(is_active=True).order_by()
    declared: dict[int, float | None] = dict(active.values_list("pk", interval))
    rhythms = rhythms_of(declared)
    if state == State.NEW:
        return of_ids(devices, declared.keys() - rhythms.keys())
    moment = unix_to_pg(unix_microseconds(now))
    return of_ids(
        devices, [pk for pk, found in rhythms.items() if found_state(found, declared[pk], moment) == state]
    )


def found_state(rhythm: Rhythm, declared_seconds: float | None, now: PgMicroseconds) -> State:
    interval = declared_seconds or rhythm.interval_seconds or UNKNOWN_INTERVAL_SECONDS
    return state_after((now - rhythm.newest) / MICROSECONDS_PER_SECOND, interval)


def of_ids(devices: DeviceQuerySet, ids: Iterable[int]) -> DeviceQuerySet:
    # One parameter, where a plain `in` has one for each id.
    return devices.filter(pk__in=RawSQL("SELECT unnest(%s::int[])", [sorted(ids)]))


def rhythms_of(declared: dict[int, float | None]) -> dict[int, Rhythm]:
    """Rhythms of devices that have readings. An interval is learnt only where none is declared."""
    known = [pk for pk, seconds in declared.items() if seconds is not None]
    unknown = [pk for pk, seconds in declared.items() if seconds is None]
    current = storage.current()
    return learnt(current.newest_times(known, 1)) | learnt(current.newest_times(unknown, READINGS))


def learnt(readings: DevicesAndTimes) -> dict[int, Rhythm]:
    """The newest time and the median interval of each device of these readings."""
    devices, times = readings
    if not len(devices):
        return {}
    order = np.lexsort((times, devices))
    devices, times = devices[order], PgTimes(times[order])
    is_last = np.append(devices[1:] != devices[:-1], True)
    medians = median_gaps(devices, times)
    newest = zip(devices[is_last].tolist(), times[is_last].tolist(), strict=True)
    return {pk: Rhythm(PgMicroseconds(time), medians.get(pk)) for pk, time in newest}


def median_gaps(devices: npt.NDArray[np.int64], times: PgTimes) -> dict[int, float]:
    """The median, in seconds, of the intervals between a device's different times; both arrays are sorted."""
    gaps = np.diff(times)
    is_gap = (devices[1:] == devices[:-1]) & (gaps > 0)
    owners, gaps = devices[1:][is_gap], gaps[is_gap]
    gaps = gaps[np.lexsort((gaps, owners))]
    ids, starts, counts = np.unique(owners, return_index=True, return_counts=True)
    # Of an odd number both are the same.
    below, above = gaps[starts + (counts - 1) // 2], gaps[starts + counts // 2]
    medians = (below + above) / 2 / MICROSECONDS_PER_SECOND
    return dict(zip(ids.tolist(), medians.tolist(), strict=True))
