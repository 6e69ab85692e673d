"""The job behind an analysis: readings from the store in, a result of plain JSON out."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from analytics.models import Analysis
from analytics.statistics import Summary, summarize
from devices import store
from devices.models import Device
from devices.periods import Period

Report = Callable[[int], None]
Values = dict[tuple[str, str], np.ndarray]


def compute(analysis: Analysis, now: datetime, report: Report) -> dict:
    """The result; `report` is called with the percentage done. Open bounds end at `now`.

    Of a device: {device_id, start, end, CHANNEL: summary}. Of a user: {user_id, start, end, aggregate:
    {CHANNEL: summary}, devices: {DEVICE ID: {CHANNEL: summary}}}, where the aggregate pools all readings.
    """
    period = analysis.period(now)
    if analysis.device is not None:
        values = channel_values(analysis.device, period)
        return {
            "device_id": str(analysis.device.uuid),
            **bounds([analysis.device], period),
            **summaries(values),
        }
    devices = list(analysis.user.devices.with_channels())
    pooled: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    each = {}
    for done, device in enumerate(devices, start=1):
        values = channel_values(device, period)
        each[str(device.uuid)] = summaries(values)
        for channel, numbers in values.items():
            pooled[channel].append(numbers)
        report(90 * done // len(devices))
    return {
        "user_id": analysis.user.pk,
        **bounds(devices, period),
        "aggregate": summaries({channel: np.concatenate(parts) for channel, parts in pooled.items()}),
        "devices": each,
    }


def channel_values(device: Device, period: Period) -> Values:
    """The device's numbers by (channel, unit)."""
    channels = device.channels
    rows = store.values(device.pk, period, len(channels))
    return {(channel.name, channel.unit): row for channel, row in zip(channels, rows, strict=True)}


def summaries(values: Values) -> dict[str, Summary]:
    """By channel name. Where devices measure a channel of one name in several units, the unit is added:
    numbers of different units are never pooled."""
    names = [name for name, _ in values]
    return {
        name if names.count(name) == 1 else f"{name} ({unit or 'no unit'})": summarize(numbers)
        for (name, unit), numbers in values.items()
    }


def bounds(devices: list[Device], period: Period) -> dict[str, str | None]:
    """The bounds used: no start means the first reading, which may not exist."""
    start = period.start or store.first_time([device.pk for device in devices])
    return {"start": stamp(start), "end": stamp(period.end)}


def stamp(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z") if time else None


def reading_count(result: dict) -> int:
    """How many readings went into a result."""
    parts = result["devices"].values() if "devices" in result else [result]
    return sum(max((s["count"] for s in part.values() if isinstance(s, dict)), default=0) for part in parts)
