"""Data of a device's chart: minimum, mean and maximum of each channel in columns over a period."""

from datetime import datetime
from typing import Any

from analytics.analyses.compute import utc_text
from devices import statistics
from devices.models import Device
from devices.timeline.instants import from_pg_microseconds
from devices.timeline.periods import Period


def series_body(device: Device, period: Period, points: int, now: datetime) -> dict[str, Any]:
    """{device_id, start, end, points, starts, ends: [stamp], count: [int], channels: {CHANNEL: {min, mean,
    max: [float]}}} of the columns that have readings, in order.

    `starts` and `ends` are the stamps of a column's first and last reading. Open bounds are the first reading
    and `now`.
    """
    start = period.start or statistics.first_reading_time([device.pk])
    end = period.end or now
    names = [channel.name for channel in device.channels]
    body = {
        "device_id": str(device.uuid),
        "start": utc_text(start),
        "end": utc_text(end),
        "points": points,
    }
    if start is None or start >= end:
        nothing: dict[str, list[float]] = {"min": [], "mean": [], "max": []}
        return body | {"starts": [], "ends": [], "count": [], "channels": dict.fromkeys(names, nothing)}
    series = statistics.chart_series(device, Period(start, end), points)
    return body | {
        "starts": [utc_text(from_pg_microseconds(time)) for time in series.starts.tolist()],
        "ends": [utc_text(from_pg_microseconds(time)) for time in series.ends.tolist()],
        "count": series.counts.tolist(),
        "channels": {
            name: {
                "min": series.lows[place].tolist(),
                "mean": series.means[place].tolist(),
                "max": series.highs[place].tolist(),
            }
            for place, name in enumerate(names)
        },
    }
