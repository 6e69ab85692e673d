"""What charts draw: a period in columns, each with minimum, mean and maximum."""

from datetime import datetime
from typing import Any

from analytics.analyses.compute import utc_text
from devices import statistics
from devices.models import Device
from devices.timeline.instants import from_pg_microseconds
from devices.timeline.periods import Period


def series_body(device: Device, period: Period, points: int, now: datetime) -> dict[str, Any]:
    """{device_id, start, end, points, starts, ends: [stamp], count: [int], channels: {CHANNEL: {min, mean,
    max: [float]}}}: the columns that have readings, in order, by the stamps of their first and last one.

    Open bounds are the first reading and `now`.
    """
    period = Period(period.start or statistics.first_reading_time([device.pk]), period.end or now)
    names = [channel.name for channel in device.channels]
    body = {
        "device_id": str(device.uuid),
        "start": utc_text(period.start),
        "end": utc_text(period.end),
        "points": points,
    }
    if period.start is None or period.start >= period.end:
        nothing = {"min": [], "mean": [], "max": []}
        return body | {"starts": [], "ends": [], "count": [], "channels": dict.fromkeys(names, nothing)}
    found = statistics.chart_series(device, period, points)
    return body | {
        "starts": [utc_text(from_pg_microseconds(time)) for time in found.starts.tolist()],
        "ends": [utc_text(from_pg_microseconds(time)) for time in found.ends.tolist()],
        "count": found.counts.tolist(),
        "channels": {
            name: {
                "min": found.lows[place].tolist(),
                "mean": found.means[place].tolist(),
                "max": found.highs[place].tolist(),
            }
            for place, name in enumerate(names)
        },
    }
