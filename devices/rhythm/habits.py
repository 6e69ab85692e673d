"""What the newest readings of a device teach: its interval, and the decimals of its channels.

One query teaches any number of devices, and Redis keeps what was learnt for some minutes.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Annotated, Any, NamedTuple

import msgspec
from django.conf import settings
from msgspec import Meta

from devices import storage
from devices.models import Device
from devices.notation.numbers import MOST_LEARNT_DECIMALS, learnt_decimals
from devices.rhythm.state import State, device_state
from devices.storage.interface import StoredReading
from devices.timeline.instants import MICROSECOND, MICROSECONDS_PER_SECOND
from users.redis_cache import recall_many, remember_many

READINGS = 20
KEPT_SECONDS = 300
UNKNOWN_INTERVAL_SECONDS = float(settings.DEVICE_ONLINE_SECONDS)
MOST_READ = 1000
# Of readings from the year 1 to the year 9999.
LONGEST_SECONDS = 1e12


class Habits(NamedTuple):
    """`decimals` has one item for each channel, in order; None stands for six significant digits."""

    interval_seconds: float
    decimals: list[int | None]


class Learnt(NamedTuple):
    interval_seconds: Annotated[float, Meta(gt=0, le=LONGEST_SECONDS)] | None
    decimals: list[Annotated[int, Meta(ge=0, le=MOST_LEARNT_DECIMALS)] | None]


def habits_of(devices: Iterable[Device]) -> dict[int, Habits]:
    """Habits by the devices' primary keys: what is declared, else what the readings teach.

    Readings of at most MOST_READ devices are read; of the others only what is declared or cached is known.
    """
    listed = list(devices)
    learnt = recalled_or_learnt([device.pk for device in listed if has_undeclared_habits(device)])
    return {device.pk: known_habits(device, learnt.get(device.pk)) for device in listed}


def state_of(
    device: Device, newest: StoredReading | None, known: Mapping[int, Habits], now: datetime
) -> State:
    """The device's state; `known` are habits by primary key, of a device without readings not needed."""
    habits = known.get(device.pk)
    return device_state(
        is_active=device.is_active,
        newest=newest and newest.time,
        interval_seconds=habits.interval_seconds if habits else UNKNOWN_INTERVAL_SECONDS,
        now=now,
    )


def has_undeclared_habits(device: Device) -> bool:
    return device.declared_interval_seconds is None or any(
        channel.decimals is None for channel in device.channels
    )


def known_habits(device: Device, learnt: Learnt | None) -> Habits:
    channels = device.channels
    decimals = learnt.decimals if learnt and len(learnt.decimals) == len(channels) else [None] * len(channels)
    return Habits(
        device.declared_interval_seconds
        or (learnt and learnt.interval_seconds)
        # Of a single reading no interval is known.
        or UNKNOWN_INTERVAL_SECONDS,
        [
            own if channel.decimals is None else channel.decimals
            for channel, own in zip(channels, decimals, strict=True)
        ],
    )


def recalled_or_learnt(device_ids: Sequence[int]) -> dict[int, Learnt]:
    known = recall_many([cache_key(device_id) for device_id in device_ids])
    remembered = {device_id: as_learnt(known.get(cache_key(device_id))) for device_id in device_ids}
    found = {device_id: learnt for device_id, learnt in remembered.items() if learnt is not None}
    missing = [device_id for device_id in device_ids if device_id not in found][:MOST_READ]
    readings = storage.current().newest(missing, READINGS) if missing else {}
    fresh = {device_id: learn(rows) for device_id, rows in readings.items()}
    # A device's first readings may change what is known of it: it is learnt anew each time.
    kept = {cache_key(device_id): fresh[device_id] for device_id in fresh if is_full(readings[device_id])}
    remember_many(kept, KEPT_SECONDS)
    return found | fresh


def as_learnt(value: Any) -> Learnt | None:
    """The cached value; None if it is none, or written by somebody else."""
    try:
        return msgspec.convert(value, Learnt)
    except msgspec.ValidationError:
        return None


def cache_key(device_id: int) -> str:
    return f"habits-{device_id}"


def is_full(readings: Sequence[StoredReading]) -> bool:
    return len(readings) == READINGS


def learn(readings: Sequence[StoredReading]) -> Learnt:
    columns = zip(*(reading.values for reading in readings), strict=True)
    return Learnt(
        median_interval_seconds([reading.time for reading in readings]), [learnt_decimals(c) for c in columns]
    )


def median_interval_seconds(times: Iterable[datetime]) -> float | None:
    """The median of the intervals between different times; None of fewer than two."""
    intervals = [(later - earlier) // MICROSECOND for earlier, later in pairwise(sorted(set(times)))]
    return median(intervals) / MICROSECONDS_PER_SECOND if intervals else None
